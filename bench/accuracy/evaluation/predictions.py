"""The predictions of one learner for each utterance of a split: all scores and tables are made from these files.

A file is CSV with one row for each utterance and all digits of the numbers. The reader checks everything. It refuses a
truncated or edited file and names the line, since a score of the rest would look like any other.
"""

import csv
import functools
import io
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.corpora.base import PREDICTION_COLUMNS, voice_of
from bench.files import write_atomically
from mixers.support.errors import UserError

_HINT = "Write it again with `sbench evaluate`."


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """The predictions of one mixer and seed for one split, in any order of the utterances.

    Attributes:
        classes: All classes of the corpus, including those that the split lacks.
        utterances: Their names, each once.
        speakers: The speakers' names, or ``Unknown``.
        labels: The true classes.
        predictions: The predicted ones.
        probabilities: (utterances, classes).
    """

    classes: tuple[str, ...]
    utterances: tuple[str, ...]
    speakers: tuple[str, ...]
    labels: tuple[str, ...]
    predictions: tuple[str, ...]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.utterances)

    @functools.cached_property
    def truth(self) -> frozenset[tuple[str, str, str]]:
        """Utterance, speaker and label of each. Two mixers can only be compared in pairs if these are equal."""
        return frozenset(zip(self.utterances, self.speakers, self.labels, strict=True))

    @functools.cached_property
    def speaker_confusions(self) -> NDArray[np.int64]:
        """A confusion matrix for each speaker, (speakers, classes, classes), rows true, columns predicted.

        The same truth gives the same order of speakers. Unknown speakers are told apart as `voice_of` says.
        """
        voices = [voice_of(*each) for each in zip(self.utterances, self.speakers, strict=True)]
        order = {voice: index for index, voice in enumerate(sorted(set(voices)))}
        speaker = np.array([order[voice] for voice in voices])
        size = len(self.classes)
        cell = (speaker * size + self.indices(self.labels)) * size + self.indices(self.predictions)
        return np.bincount(cell, minlength=len(order) * size**2).reshape(len(order), size, size)

    def indices(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return the index of each class in ``classes``."""
        places = {name: place for place, name in enumerate(self.classes)}
        return np.array([places[name] for name in names], dtype=np.int64)


def pool(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions of several folds together, at least one, each of other models on other utterances.

    Raises:
        ValueError: An utterance is in two of them; the message is its name.
    """
    names = Counter(name for part in parts for name in part.utterances)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise ValueError(twice[0])

    def together(values: Callable[[Predictions], tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(itertools.chain.from_iterable(map(values, parts)))

    return Predictions(
        classes=parts[0].classes,
        utterances=together(lambda part: part.utterances),
        speakers=together(lambda part: part.speakers),
        labels=together(lambda part: part.labels),
        predictions=together(lambda part: part.predictions),
        probabilities=np.concatenate([part.probabilities for part in parts]),
    )


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write a file that reads back exactly.

    Raises:
        OSError: It cannot be written; an older file is kept.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow((*PREDICTION_COLUMNS, *predictions.classes))
    names = (predictions.utterances, predictions.speakers, predictions.labels, predictions.predictions)
    for *row, probabilities in zip(*names, predictions.probabilities.tolist(), strict=True):
        writer.writerow((*row, *probabilities))
    write_atomically(path, buffer.getvalue().encode())


def read_predictions(path: Path, *, classes: Sequence[str]) -> Predictions:
    """Read what `write_predictions` wrote.

    Args:
        path: The file.
        classes: The classes of the run, in its order.

    Raises:
        UserError: The file is missing, truncated or damaged.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is damaged: it is not UTF-8", hint=_HINT) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = list(_rows(reader, classes))
        if not text.endswith("\n"):
            raise ValueError("the file ends in the middle of it")
    except (csv.Error, ValueError) as error:
        raise UserError(f"{path} is damaged in line {reader.line_num}: {error}", hint=_HINT) from None
    if not rows:
        raise UserError(f"{path} is empty", hint=_HINT)
    utterances, speakers, labels, predictions, probabilities = zip(*rows, strict=True)
    return Predictions(
        classes=tuple(classes),
        utterances=utterances,
        speakers=speakers,
        labels=labels,
        predictions=predictions,
        probabilities=np.array(probabilities, dtype=np.float64),
    )


def _rows(reader: Iterator[list[str]], classes: Sequence[str]) -> Iterator[tuple[str, str, str, str, list[float]]]:
    """Yield the fields of each line.

    Raises:
        ValueError: The last line that was read is invalid.
    """
    columns = (*PREDICTION_COLUMNS, *classes)
    header = next(reader, [])
    places = {name: place for place, name in enumerate(header)}
    if missing := [name for name in columns if name not in places]:
        raise ValueError(f"no column {', '.join(missing)}")
    if len(header) != len(columns):
        raise ValueError(f"more columns than {', '.join(columns)}")
    seen: set[str] = set()
    for fields in reader:
        if len(fields) != len(columns):
            raise ValueError(f"{len(fields)} fields instead of {len(columns)}")
        utterance, speaker, label, prediction, *probabilities = (fields[places[name]] for name in columns)
        if utterance in seen:
            raise ValueError(f"utterance {utterance!r} occurs twice")
        seen.add(utterance)
        for name in (label, prediction):
            if name not in classes:
                raise ValueError(f"unknown class {name!r}; the run has {', '.join(classes)}")
        yield utterance, speaker, label, prediction, [_probability(text) for text in probabilities]


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:  # this also refuses NaN
        raise ValueError(f"{text!r} is no probability")
    return value
