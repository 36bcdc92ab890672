"""What one trained mixer said of each utterance of a split: written once, and all that any figure is made from.

The file is CSV, a row an utterance, with as many digits as the numbers have. Its reader trusts nothing: a file that was
cut off or edited is refused with the line, since a score of what is left would look like any other.
"""

import csv
import functools
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.corpora.base import PREDICTION_COLUMNS, UNKNOWN_SPEAKER
from bench.files import write_atomically
from mixers.support.errors import UserError

_HINT = "Make it again with `sbench evaluate`."


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Those of one (mixer, seed, split), in any order of the utterances.

    Attributes:
        classes: All of the corpus, whether or not the split has them.
        utterances: Their names, each once.
        speakers: Who speaks, or ``Unknown``.
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
        """Utterance, speaker and label of each: what those of another mixer must share to be compared in pairs."""
        return frozenset(zip(self.utterances, self.speakers, self.labels, strict=True))

    @functools.cached_property
    def speaker_confusions(self) -> NDArray[np.int64]:
        """A confusion matrix for each speaker, (speakers, classes, classes), rows true, columns predicted.

        The same truth gives the same order of speakers. Who is unknown may be anyone, so each such utterance counts as
        a speaker of its own.
        """
        voices = [
            (speaker, utterance if speaker == UNKNOWN_SPEAKER else "")
            for utterance, speaker in zip(self.utterances, self.speakers, strict=True)
        ]
        order = {voice: index for index, voice in enumerate(sorted(set(voices)))}
        speaker = np.array([order[voice] for voice in voices])
        size = len(self.classes)
        cell = (speaker * size + self.indices(self.labels)) * size + self.indices(self.predictions)
        return np.bincount(cell, minlength=len(order) * size**2).reshape(len(order), size, size)

    def indices(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return the place of each class in ``classes``."""
        places = {name: place for place, name in enumerate(self.classes)}
        return np.array([places[name] for name in names], dtype=np.int64)


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write a file that reads back exactly.

    Raises:
        OSError: It cannot be written; what was there before is still there.
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
        classes: Those of the run, in its order.

    Raises:
        UserError: The file is missing, cut off or damaged.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is damaged: it is no text", hint=_HINT) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = list(_rows(reader, classes))
        if not text.endswith("\n"):
            raise ValueError("the file ends within it")
    except (csv.Error, ValueError) as error:
        raise UserError(f"{path} is damaged in line {reader.line_num}: {error}", hint=_HINT) from None
    if not rows:
        raise UserError(f"{path} is empty: it has no utterance", hint=_HINT)
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
    """Yield what each line says.

    Raises:
        ValueError: The line that was read last is not as it should be.
    """
    columns = (*PREDICTION_COLUMNS, *classes)
    header = next(reader, [])
    places = {name: place for place, name in enumerate(header)}
    if missing := [name for name in columns if name not in places]:
        raise ValueError(f"no column {', '.join(missing)}")
    if len(header) != len(columns):
        raise ValueError(f"columns beyond {', '.join(columns)}")
    seen: set[str] = set()
    for fields in reader:
        if len(fields) != len(columns):
            raise ValueError(f"{len(fields)} fields instead of {len(columns)}")
        utterance, speaker, label, prediction, *probabilities = (fields[places[name]] for name in columns)
        if utterance in seen:
            raise ValueError(f"utterance {utterance!r} a second time")
        seen.add(utterance)
        for name in (label, prediction):
            if name not in classes:
                raise ValueError(f"unknown class {name!r}; those of the run are {', '.join(classes)}")
        yield utterance, speaker, label, prediction, [_probability(text) for text in probabilities]


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:  # nor is NaN
        raise ValueError(f"{text!r} is no probability")
    return value
