"""What a corpus is once read: its utterances, and everything that was left out of them with the reason."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mixers.support.errors import UserError, unknown_name

TRAIN, DEVELOPMENT = "train", "development"

# Of a file of predictions, before those of the classes, which must have other names.
PREDICTION_COLUMNS = ("utterance", "speaker", "label", "prediction")

# Whom MSP-Podcast's annotators could not name. Two such utterances may or may not be by the same person.
UNKNOWN_SPEAKER = "Unknown"


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A recording of one speaker with one label.

    Attributes:
        name: Its file name, of which there is one in a corpus.
        audio: The recording.
        text: What is said, on one line; empty where a missing transcript was allowed.
        label: One of the corpus's classes, in words: ``"anger"``.
        speaker: Who speaks, or ``"Unknown"``.
        split: ``"train"``, ``"development"``, ``"test1"``, ...
    """

    name: str
    audio: Path
    text: str
    label: str
    speaker: str
    split: str


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What is in a corpus's files and not among its utterances; the split is empty where nothing states one."""

    name: str
    split: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a reader found, whole or not: `load` refuses what lacks something, `check` reports on it.

    Attributes:
        source: The file or folder that names the labels.
        classes: The classes, in the corpus's fixed order.
        utterances: Those with a recording, in the source's order; a missing transcript is an empty text.
        left_out: What was left out on purpose.
        without_audio: The names of utterances whose recording is missing.
    """

    source: Path
    classes: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    left_out: tuple[LeftOut, ...] = ()
    without_audio: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus that lacks nothing.

    Attributes:
        spec: What it was asked for by: ``"msp-podcast:/data/MSP-Podcast-2.0"``.
        classes: The classes, in the corpus's fixed order.
        utterances: All that may be trained on or tested with.
        left_out: All that may not, with the reasons.
    """

    spec: str
    classes: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits: train, development, then the others in alphabetical order."""
        return ordered_splits(utterance.split for utterance in self.utterances)

    @property
    def without_text(self) -> tuple[Utterance, ...]:
        """The utterances whose transcript is missing."""
        return tuple(utterance for utterance in self.utterances if not utterance.text)

    def split(self, name: str) -> tuple[Utterance, ...]:
        """Return the utterances of a split.

        Raises:
            UserError: The corpus has no such split.
        """
        chosen = tuple(utterance for utterance in self.utterances if utterance.split == name)
        if not chosen:
            raise unknown_name(f"split of {self.spec}", name, self.splits)
        return chosen


def ordered_splits(splits: Iterable[str]) -> tuple[str, ...]:
    """Return each split once: train, development, then the others in alphabetical order."""
    return tuple(sorted(set(splits), key=lambda split: (split != TRAIN, split != DEVELOPMENT, split)))


def one_line(text: str) -> str:
    """Return a text with each run of white space, line ends included, as one space."""
    return " ".join(text.split())


def note_name(name: str, where: str, seen: dict[str, str]) -> None:
    """Note where a name is given.

    Args:
        name: An utterance's.
        where: The file, with a line number if it has many names.
        seen: What was noted before; it is added to.

    Raises:
        UserError: It was given before.
    """
    if name in seen:
        hint = "Every utterance needs a name of its own: remove one of the two, or rename it."
        raise UserError(f"two utterances are called {name}: {seen[name]} and {where}", hint=hint)
    seen[name] = where
