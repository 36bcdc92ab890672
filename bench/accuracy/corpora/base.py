"""What a corpus is once it is read: its utterances, and what was left out with the reason."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mixers.support.errors import UserError, unknown_name

TRAIN, DEVELOPMENT = "train", "development"

TEST = "test"  # of a fold; the splits of a corpus itself are test1, test2, ...

# The first columns of a file of predictions. One column for each class follows, so no class may have these names.
PREDICTION_COLUMNS = ("utterance", "speaker", "label", "prediction")

# The speaker of utterances whose speaker MSP-Podcast's annotators did not know. Two such utterances may or may not be
# of the same person.
UNKNOWN_SPEAKER = "Unknown"

_PODCAST = re.compile(r"MSP-PODCAST_(\d+)_")


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A recording of one speaker with one label.

    Attributes:
        name: Its file name, or its path in the corpus where file names repeat. It is unique in a corpus.
        audio: The recording.
        text: The transcript, on one line; empty where a missing transcript was allowed.
        label: One of the corpus's classes, as a word: ``"anger"``.
        speaker: The speaker's name, or ``"Unknown"``.
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
    """An item of a corpus that is not among its utterances; the split is empty where none is stated."""

    name: str
    split: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a reader found, complete or not: `load` refuses an incomplete one, `check` reports on it.

    Attributes:
        source: The file or folder that names the labels.
        classes: The classes, in the corpus's fixed order.
        utterances: Those with a recording, in the source's order. A missing transcript is an empty text.
        left_out: What was left out on purpose.
        without_audio: The names of utterances whose recording is missing.
        folds: How many folds the corpus has.
    """

    source: Path
    classes: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    left_out: tuple[LeftOut, ...] = ()
    without_audio: tuple[str, ...] = ()
    folds: int = 0


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A complete corpus.

    Attributes:
        spec: The specification that it was loaded by: ``"msp-podcast:/data/MSP-Podcast-2.0"``.
        classes: The classes, in the corpus's fixed order.
        utterances: All that can be used for training or testing.
        left_out: All that cannot, with the reasons.
        folds: How many folds the corpus has.
    """

    spec: str
    classes: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    left_out: tuple[LeftOut, ...]
    folds: int = 0

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
        if not chosen and name in (TRAIN, DEVELOPMENT):
            needed = f"Training learns from {TRAIN} and chooses weights by {DEVELOPMENT}; other splits are tests"
            message = f"{self.spec} has no split {name!r}, only {', '.join(self.splits)}"
            raise UserError(message, hint=f"{needed}. Name the splits so.")
        if not chosen:
            raise unknown_name(f"split of {self.spec}", name, self.splits)
        return chosen


def ordered_splits(splits: Iterable[str]) -> tuple[str, ...]:
    """Return each split once: train, development, then the others in alphabetical order."""
    return tuple(sorted(set(splits), key=lambda split: (split != TRAIN, split != DEVELOPMENT, split)))


def digest(utterances: Iterable[Utterance]) -> str:
    """Return a digest that changes with anything that training learns from, except the audio samples."""
    facts = [(each.name, each.text, each.label, each.speaker, each.split) for each in utterances]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def voice_of(utterance: str, speaker: str) -> tuple[str, str]:
    """Return what counts as one speaker in statistics; for a known speaker it is the speaker.

    Unknown speakers of one podcast of MSP-Podcast, the first number of the file name, may be one person, so they count
    as one. Any other utterance of an unknown speaker counts alone.

    Args:
        utterance: Its name.
        speaker: Its speaker, or ``"Unknown"``.
    """
    if speaker != UNKNOWN_SPEAKER:
        return speaker, ""
    podcast = _PODCAST.match(utterance.rpartition("/")[2])
    return UNKNOWN_SPEAKER, utterance if podcast is None else f"podcast {podcast[1]}"


def check_fold(fold: int, folds: int, source: Path) -> None:
    """Check that a corpus has a fold.

    Raises:
        UserError: It does not.
    """
    if not 1 <= fold <= folds:
        raise UserError(f"{source} has no fold {fold}", hint=f"Its folds are 1 to {folds}.")


def one_line(text: str) -> str:
    """Return a text with each run of white space, including line ends, as one space."""
    return " ".join(text.split())


def note_name(name: str, where: str, seen: dict[str, str]) -> None:
    """Record where a name occurs, so that a second occurrence is refused.

    Args:
        name: The name of an utterance.
        where: The file, with a line number if it has many names.
        seen: The names so far; this one is added.

    Raises:
        UserError: The name occurred before.
    """
    if name in seen:
        hint = "Every utterance needs a unique name: remove one of the two, or rename it."
        raise UserError(f"two utterances are called {name}: {seen[name]} and {where}", hint=hint)
    seen[name] = where
