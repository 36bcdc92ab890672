"""Writes what was predicted for a split: a folder ``evaluation/<split>`` that `sbench table` reads.

<learner>.csv, <learner>.json     its predictions and its scores
utterances.json                   how many utterances were used, which were left out, what training heard of them, how
                                  long they are, and of which epochs the weights are
"""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.corpora.base import Corpus, Utterance
from bench.accuracy.corpora.reference import absolute_spec
from bench.accuracy.evaluation.metrics import Summary, summarise, without_utterance
from bench.accuracy.evaluation.predictions import Predictions, read_predictions, write_predictions
from bench.accuracy.inputs.recordings import lengths_of
from bench.files import write_atomically
from bench.speech import SAMPLE_RATE
from mixers.support.errors import UserError

# What each split shares with training, for its utterances.json.
Checks = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, kw_only=True)
class SplitStarted:
    """The prediction of a split begins.

    Attributes:
        split: Its name.
        used: The number of utterances that are predicted.
        left_out: The number that the corpus leaves out.
        missing: The classes of the corpus of which the split has no utterance.
    """

    split: str
    used: int
    left_out: int
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LearnerScored:
    """The predictions and scores of a learner were written.

    Attributes:
        split: The split.
        learner: The mixer and seed: ``kda-0``.
        stem: The path of its files without suffix.
        summary: Its scores.
    """

    split: str
    learner: str
    stem: Path
    summary: Summary


def split_started(corpus: Corpus, split: str) -> SplitStarted:
    """Return the event that the prediction of a split begins.

    Raises:
        UserError: The corpus has no such split.
    """
    utterances = corpus.split(split)
    return SplitStarted(
        split=split,
        used=len(utterances),
        left_out=len(_left_out(corpus, split)),
        missing=without_utterance(corpus.classes, utterances),
    )


def check_replaceable(corpus: Corpus, split: str, *, classes: Sequence[str], folder: Path) -> None:
    """Check that new scores of a split would not replace those of another corpus, which has a split of that name.

    They may replace those of the same corpus: by other weights, from where it was before, or with more or less left
    out. So they may where nobody can tell, since a stored file is damaged.

    Args:
        corpus: The corpus to test.
        split: Its split.
        classes: Those of the learners.
        folder: The folder of the learners.

    Raises:
        UserError: They would replace the scores of other utterances of another corpus.
    """
    output = folder / "evaluation" / split
    try:
        fields = json.loads((output / "utterances.json").read_bytes())
        tested = str(fields.get("corpus", "another corpus"))
        left_out = {each["name"] for each in fields["left_out"]}
        stored = read_predictions(next(output.glob("*.csv")), classes=classes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return
    if tested == absolute_spec(corpus.spec) or _same_utterances(corpus, split, stored, left_out):
        return
    hint = f"To keep both, rename that folder, for instance to {split}-before: `sbench table` shows it as a split."
    raise UserError(
        f"{output} holds scores of {tested}, which those of {corpus.spec} would replace",
        hint=f"{hint} Or evaluate a copy of {folder}.",
    )


def _same_utterances(corpus: Corpus, split: str, stored: Predictions, left_out: AbstractSet[str]) -> bool:
    """Tell whether stored predictions, with what was left out then, are of a split, with what is left out now."""
    now = {(each.name, each.speaker, each.label) for each in corpus.split(split)}
    only_once = {name for name, *_ in stored.truth ^ now}
    return only_once == left_out ^ {each["name"] for each in _left_out(corpus, split)}


def write_split(
    corpus: Corpus,
    split: str,
    found: Mapping[str, NDArray[np.float64]],
    *,
    checks: Checks | None,
    weights: Mapping[str, int | None] | None = None,
    folder: Path,
) -> Iterator[LearnerScored]:
    """Write the predictions and scores of each learner for a split.

    Args:
        corpus: The corpus that was tested.
        split: Its split.
        found: The probabilities of each learner, (utterances, classes), in the order of the split's utterances.
        checks: What each split shares with training; None if it was not checked.
        weights: Of which epoch the weights of each learner are; None if they are of none.
        folder: The folder of the learners: the split's goes into ``evaluation`` in it.

    Raises:
        UserError: A file cannot be written.
    """
    output, utterances = folder / "evaluation" / split, corpus.split(split)
    try:
        output.mkdir(parents=True, exist_ok=True)
        check = (checks or {}).get(split)
        facts = {"overlap": check} | ({} if weights is None else {"weights": weights})
        # Who is interrupted leaves no file that says of which weights the predictions are, and must evaluate again.
        (output / "utterances.json").unlink(missing_ok=True)
        for name, probabilities in found.items():
            summary = _write(utterances, probabilities, corpus.classes, output / name)
            yield LearnerScored(split=split, learner=name, stem=output / name, summary=summary)
        _write_utterances(corpus, split, used=len(utterances), facts=facts, path=output / "utterances.json")
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}", hint="Is the disk full?") from None


def _write(
    utterances: Sequence[Utterance], probabilities: NDArray[np.float64], classes: tuple[str, ...], stem: Path
) -> Summary:
    """Write the predictions and scores of a learner."""
    predictions = Predictions(
        classes=classes,
        utterances=tuple(each.name for each in utterances),
        speakers=tuple(each.speaker for each in utterances),
        labels=tuple(each.label for each in utterances),
        predictions=tuple(classes[index] for index in probabilities.argmax(-1).tolist()),
        probabilities=probabilities,
    )
    write_predictions(predictions, stem.with_name(f"{stem.name}.csv"))
    summary = summarise(predictions)
    write_atomically(stem.with_name(f"{stem.name}.json"), json.dumps(asdict(summary), indent=1).encode())
    return summary


def _write_utterances(corpus: Corpus, split: str, *, used: int, facts: Mapping[str, object], path: Path) -> None:
    """Write how many utterances of a split were used, which were left out, and further facts."""
    left_out = _left_out(corpus, split)
    content = {
        "corpus": absolute_spec(corpus.spec),
        "folds": corpus.folds,
        "expected": used + len(left_out),
        "used": used,
        "median_seconds": statistics.median(lengths_of(corpus.split(split))) / SAMPLE_RATE,
        **facts,
        "left_out": left_out,
    }
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def _left_out(corpus: Corpus, split: str) -> list[dict[str, str]]:
    return [{"name": each.name, "reason": each.reason} for each in corpus.left_out if each.split == split]
