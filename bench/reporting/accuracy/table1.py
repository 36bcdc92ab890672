"""Table 1 from the evaluations of some runs, beside the paper's figures. Needs no torch.

Every cell of a split is of the same utterances, or there is no table. A cell's spread is over seeds and its interval
over speakers, and a cell of one seed says so: most of what the paper's cells differ by is less than a point.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.accuracy.corpora.readers.msp_podcast import CLASSES
from bench.accuracy.evaluation import comparison, intervals
from bench.accuracy.evaluation.comparison import MixerScore, PairedComparison
from bench.accuracy.evaluation.predictions import Predictions, read_predictions
from bench.reporting.accuracy import published
from mixers.support.errors import UserError

_RUN_HINT = "Give folders that `sbench train` made."
_EVALUATE_HINT = "Make it again with `sbench evaluate`."


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One figure of the table, a macro-F in %.

    Attributes:
        paper: The paper's; None where it has none, or the runs are of other classes.
        ours: Mean over seeds; None where it was not measured, like all that follows.
        spread: Standard deviation over seeds; None of one seed too.
        seeds: How many.
        low, high: The interval of the mean at 95 %, over speakers.
    """

    paper: float | None
    ours: float | None = None
    spread: float | None = None
    seeds: int = 0
    low: float | None = None
    high: float | None = None

    @property
    def difference(self) -> float | None:
        """Ours less the paper's, in points."""
        return None if self.ours is None or self.paper is None else self.ours - self.paper


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two mixers on the same utterances, seed by seed those that both have."""

    column: str
    split: str
    first: str
    second: str
    seeds: int
    comparison: PairedComparison


@dataclass(frozen=True, kw_only=True)
class Table1:
    """All that the table shows.

    Attributes:
        mixers: Its rows: the paper's, then others.
        columns: The paper's encoders, then others, then the mean of the paper's.
        splits: The paper's, then others.
        cells: By mixer, column and split, each of them.
        parameters: Of each mixer how many are trained; several numbers where runs differ, none where none is known.
        pairs: Every two mixers of a column and split.
        preset: Of all runs.
        demo: Whether any run is a demonstration.
        notes: What must be known to read it.
    """

    mixers: tuple[str, ...]
    columns: tuple[str, ...]
    splits: tuple[str, ...]
    cells: dict[tuple[str, str, str], Cell]
    parameters: dict[str, tuple[int, ...]]
    pairs: tuple[Pair, ...]
    preset: str
    demo: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Evaluation:
    """One file of predictions, and of how many utterances of its split."""

    encoders: tuple[str, str | None]
    split: str
    mixer: str
    seed: int
    path: Path
    expected: int
    used: int


# What runs may differ in beside mixers and encoders, which a reader must know of: its key in run.json, and in words.
_TRAINING = {
    "epochs": "epochs",
    "batch": "batch",
    "learning_rate": "learning rate",
    "crop_seconds": "seconds of a crop",
    "precision": "precision",
    "utterances": "utterances of training or development",
}


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What is needed of a run's folder."""

    folder: Path
    encoders: tuple[str, str | None]
    preset: str
    classes: tuple[str, ...]
    parameters: dict[str, int]
    demo: bool
    training: dict[str, str]
    evaluations: tuple[_Evaluation, ...]


def read(folders: Sequence[Path]) -> Table1:
    """Return the table that the evaluations of some runs make.

    Raises:
        UserError: A folder is no run or has no evaluation, a file is damaged, runs differ in classes or preset, or the
            same is measured twice or on different utterances.
    """
    if not folders:
        raise UserError("a table needs runs", hint=_RUN_HINT)
    runs = [_read_run(folder) for folder in folders]
    _check_alike(runs)
    evaluations = [each for run in runs for each in run.evaluations]
    _check_each_once(evaluations)
    names = _name_columns([run.encoders for run in runs])
    splits = tuple(dict.fromkeys([*published.SPLITS, *(each.split for each in evaluations)]))
    mixers = tuple(dict.fromkeys([*published.MIXERS, *(each.mixer for each in evaluations)]))
    columns = tuple(dict.fromkeys([*published.COLUMNS, *names.values()]))

    scores: dict[tuple[str, str, str], MixerScore] = {}
    pairs: list[Pair] = []
    for split in splits:
        reference: list[tuple[Path, Predictions]] = []
        for encoders, column in names.items():
            alike = [each for each in evaluations if (each.split, each.encoders) == (split, encoders)]
            found = _read_alike(alike, classes=runs[0].classes, reference=reference)
            scores |= {(mixer, column, split): comparison.score_mixer([*by.values()]) for mixer, by in found.items()}
            pairs += _compare(found, order=mixers, column=column, split=split)
        scores |= _means(scores, split, mixers)

    comparable = set(runs[0].classes) == set(CLASSES.values())
    return Table1(
        mixers=mixers,
        columns=(*columns, published.MEAN),
        splits=splits,
        cells={
            key: _cell(scores.get(key), published.MACRO_F.get(key) if comparable else None)
            for key in itertools.product(mixers, (*columns, published.MEAN), splits)
        },
        parameters={mixer: _parameters(mixer, runs) for mixer in mixers},
        pairs=tuple(pairs),
        preset=runs[0].preset,
        demo=any(run.demo for run in runs),
        notes=tuple(_notes(runs, evaluations, comparable=comparable)),
    )


def _read_run(folder: Path) -> _Run:
    path = folder / "run.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        encoders = _canonical(str(fields["encoders"]["speech"]), fields["encoders"]["text"])
        classes = tuple(str(name) for name in fields["classes"])
        parameters = {str(mixer): int(count) for mixer, count in fields["parameters"].items()}
        names = [(str(mixer), int(seed)) for mixer in fields["mixers"] for seed in fields["seeds"]]
        preset, demo = str(fields["preset"]), bool(fields["demo"])
    except OSError:
        raise UserError(f"{folder} is no run: it has no {path.name}", hint=_RUN_HINT) from None
    except (KeyError, TypeError, AttributeError, ValueError):
        raise UserError(f"{path} is damaged", hint=_RUN_HINT) from None
    evaluations = tuple(_find(folder / "evaluation", encoders, names))
    if not evaluations:
        raise UserError(f"{folder} has no evaluation", hint=f"Make one with `sbench evaluate {folder}`.")
    return _Run(
        folder=folder,
        encoders=encoders,
        preset=preset,
        classes=classes,
        parameters=parameters,
        demo=demo,
        training={what: str(fields[name]) for name, what in _TRAINING.items() if name in fields},
        evaluations=evaluations,
    )


def _find(folder: Path, encoders: tuple[str, str | None], names: Iterable[tuple[str, int]]) -> Iterator[_Evaluation]:
    """Yield what was evaluated: of every split, those of a run's mixers and seeds that have predictions."""
    for split in sorted(path for path in folder.glob("*") if path.is_dir()):
        paths = {name: split / f"{name[0]}-{name[1]}.csv" for name in names}
        existing = {name: path for name, path in paths.items() if path.exists()}
        expected, used = _count(split / "utterances.json") if existing else (0, 0)
        for (mixer, seed), path in existing.items():
            yield _Evaluation(
                encoders=encoders,
                split=split.name,
                mixer=mixer,
                seed=seed,
                path=path,
                expected=expected,
                used=used,
            )


def _count(path: Path) -> tuple[int, int]:
    """Return how many utterances a split has and how many of them were evaluated."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return int(fields["expected"]), int(fields["used"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} is missing or damaged", hint=_EVALUATE_HINT) from None


def _read_alike(
    evaluations: Iterable[_Evaluation], *, classes: Sequence[str], reference: list[tuple[Path, Predictions]]
) -> dict[str, dict[int, Predictions]]:
    """Return predictions by mixer and seed, all on the utterances of the split's first file.

    Args:
        evaluations: Of one split and one pair of encoders: of a whole table they would fill the memory.
        classes: Of all runs.
        reference: The split's first file, which is put there by whoever reads it.
    """
    found: dict[str, dict[int, Predictions]] = {}
    for each in evaluations:
        predictions = read_predictions(each.path, classes=classes)
        if len(predictions) != each.used:
            message = f"{each.path} has {len(predictions)} utterances where {each.used} were evaluated"
            raise UserError(message, hint=_EVALUATE_HINT)
        if not reference:
            reference.append((each.path, predictions))
        path, first = reference[0]
        if (name := intervals.first_mismatch(predictions, first)) is not None:
            message = f"{path} and {each.path} are on different utterances: {name!r} is not the same in both"
            raise UserError(message, hint="Evaluate all runs on the same release of the same corpus.")
        found.setdefault(each.mixer, {})[each.seed] = predictions
    return found


def _check_alike(runs: Sequence[_Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        for what, one, other in (("preset", first.preset, run.preset), ("classes", first.classes, run.classes)):
            if one != other:
                told = [each if isinstance(each, str) else ", ".join(each) for each in (one, other)]
                message = f"{first.folder} and {run.folder} differ in {what}: {told[0]} and {told[1]}"
                raise UserError(message, hint="Make a table of each.")


def _check_each_once(evaluations: Sequence[_Evaluation]) -> None:
    seen: dict[object, Path] = {}
    for each in evaluations:
        key = each.encoders, each.mixer, each.seed, each.split
        if key in seen:
            message = f"{seen[key]} and {each.path} are of the same encoders, mixer, seed and split"
            raise UserError(message, hint="Give only one of the runs.")
        seen[key] = each.path


def _canonical(speech: str, text: str | None) -> tuple[str, str | None]:
    """Return the encoders of a run, those of the paper by its names, whatever alias they were given by."""
    return published.ENCODERS.get(speech, speech), published.TEXT if text in published.TEXT_ENCODERS else text


def _name_columns(encoders: Iterable[tuple[str, str | None]]) -> dict[tuple[str, str | None], str]:
    """Return the column of each pair of encoders: the paper's for its pairs, for all others one of their own.

    A folder goes by its last name, unless two would go by the same.
    """
    distinct = list(dict.fromkeys(encoders))
    short = {each: _label(*(name and _last(name) for name in each)) for each in distinct}
    counts = Counter(short.values())
    return {each: label if counts[label] == 1 else _label(*each) for each, label in short.items()}


def _label(speech: str | None, text: str | None) -> str:
    if text == published.TEXT and speech in published.COLUMNS:
        return str(speech)
    return f"{speech}, no text" if text is None else f"{speech} + {text}"


def _last(name: str) -> str:
    return Path(name).name if Path(name).is_absolute() else name


def _compare(
    found: dict[str, dict[int, Predictions]], *, order: Sequence[str], column: str, split: str
) -> Iterator[Pair]:
    """Yield every two mixers of a column and split, over the seeds that both have."""
    for first, second in itertools.combinations(sorted(found, key=order.index), 2):
        common = sorted(found[first].keys() & found[second].keys())
        if common:
            one, other = ([found[mixer][seed] for seed in common] for mixer in (first, second))
            yield Pair(
                column=column,
                split=split,
                first=first,
                second=second,
                seeds=len(common),
                comparison=comparison.compare(one, other),
            )


def _means(
    scores: dict[tuple[str, str, str], MixerScore], split: str, mixers: Sequence[str]
) -> dict[tuple[str, str, str], MixerScore]:
    """Return the mean of the paper's four encoders for each mixer that all four were measured with."""
    keys = {mixer: [(mixer, column, split) for column in published.COLUMNS] for mixer in mixers}
    return {
        (mixer, published.MEAN, split): comparison.average([scores[key] for key in four])
        for mixer, four in keys.items()
        if all(key in scores for key in four)
    }


def _cell(score: MixerScore | None, paper: float | None) -> Cell:
    if score is None:
        return Cell(paper=paper)
    spread, estimate = score.spread, score.estimate
    return Cell(
        paper=paper,
        ours=100 * spread.mean,
        spread=None if spread.deviation is None else 100 * spread.deviation,
        seeds=spread.seeds,
        low=100 * estimate.low,
        high=100 * estimate.high,
    )


def _parameters(mixer: str, runs: Sequence[_Run]) -> tuple[int, ...]:
    return tuple(sorted({run.parameters[mixer] for run in runs if mixer in run.parameters}))


def _notes(runs: Sequence[_Run], evaluations: Sequence[_Evaluation], *, comparable: bool) -> Iterator[str]:
    yield f"Macro F-score in % over all {len(runs[0].classes)} classes; preset {runs[0].preset}."
    yield (
        "ours: mean over seeds; spread: standard deviation over seeds and their number. One seed shows no spread, and "
        "most of what the paper's mixers differ by is less than a point."
    )
    yield (
        f"{1 - intervals.ALPHA:.0%}: interval of the mean over {intervals.RESAMPLES} resamples of the speakers, for "
        f"these trained models; none of fewer than {intervals.FEWEST_SPEAKERS}."
    )
    yield f"{published.MEAN}: of {', '.join(published.COLUMNS)}, once all are measured."
    if comparable:
        yield "The paper's Dev is of MSP-Podcast 1, its T1 and T2 are of 2.0; of how many seeds it does not say."
    else:
        yield "The paper's figures are of MSP-Podcast's eight classes, these runs are of others: nothing to compare."
    for what in _TRAINING.values():
        values = list(dict.fromkeys(run.training[what] for run in runs if what in run.training))
        if len(values) > 1:
            shown = " and ".join(value[:12] for value in values)
            yield f"NOT ALIKE: the runs differ in {what} ({shown}), so not in the mixers alone."
    for split, expected, used in dict.fromkeys((each.split, each.expected, each.used) for each in evaluations):
        yield f"{split}: {used} of {expected} utterances, {expected - used} left out."
