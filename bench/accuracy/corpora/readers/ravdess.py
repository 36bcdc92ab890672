"""The acted speech of RAVDESS: 24 actors, two sentences, eight classes of its own (Livingstone and Russo, 2018).

    Actor_01/03-01-05-01-02-01-12.wav      modality-channel-emotion-intensity-statement-repetition-actor

The recordings may also be .flac. Splits by actor: train 1 to 16, development 17 to 20, test1 21 to 24. Odd actors are
male and even ones female, so each split has as many women as men. There is no official split.

The six folds are those of EmoBox (Ma et al., 2024), so that every actor is tested once. EmoBox names no development
actors: those of a fold are the test actors of the next fold, after the last one those of the first.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from bench.accuracy.corpora.base import DEVELOPMENT, TEST, TRAIN, LeftOut, Reading, Utterance, check_fold, note_name
from bench.accuracy.corpora.files import list_files, missing, require_folder
from mixers.support.errors import UserError

CLASSES = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}

STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}

ACTORS = 24

# The actors that each fold tests.
FOLDS = (
    (1, 11, 20, 21),
    (4, 10, 12, 14),
    (8, 9, 19, 23),
    (3, 5, 7, 24),
    (2, 15, 16, 18),
    (6, 13, 17, 22),
)

_LAYOUT = "it contains Actor_01/ to Actor_24/"
_NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)\.(?:wav|flac)")
_SPEECH = ("03", "01")  # audio only, speech
_SUFFIXES = (".wav", ".flac")


def split_of(actor: int) -> str:
    """Return an actor's split."""
    return TRAIN if actor <= 16 else DEVELOPMENT if actor <= 20 else "test1"


def split_in_fold(actor: int, fold: int) -> str:
    """Return an actor's split in a fold, counted from 1."""
    if actor in FOLDS[fold - 1]:
        return TEST
    return DEVELOPMENT if actor in FOLDS[fold % len(FOLDS)] else TRAIN


def expected_names() -> Iterator[str]:
    """Yield the names of all 1440 recordings of speech; neutral ones have no strong intensity."""
    actors = (f"{actor:02d}" for actor in range(1, ACTORS + 1))
    for actor, emotion in itertools.product(actors, CLASSES):
        intensities = ("01",) if CLASSES[emotion] == "neutral" else ("01", "02")
        for codes in itertools.product(intensities, STATEMENTS, ("01", "02")):
            yield "-".join((*_SPEECH, emotion, *codes, actor)) + ".wav"


def read(folder: Path) -> Reading:
    """Read RAVDESS.

    Raises:
        UserError: It is missing, or a file name has an unknown code; the first such file is named.
    """
    require_folder(folder, layout=_LAYOUT)
    utterances, left_out = [], []
    seen: dict[str, str] = {}
    for name, path in _recordings(folder):
        note_name(f"{Path(name).stem}.wav", str(path), seen)  # a recording in both formats would count twice
        found = _utterance(path)
        if isinstance(found, Utterance):
            utterances.append(found)
        else:
            left_out.append(found)
    if not seen:
        raise missing(folder / "Actor_01" / "*.wav", layout=_LAYOUT)
    return Reading(
        source=folder,
        classes=tuple(CLASSES.values()),
        utterances=tuple(utterances),
        left_out=tuple(left_out),
        without_audio=tuple(name for name in expected_names() if name not in seen),
        folds=len(FOLDS),
    )


def read_fold(folder: Path, fold: int) -> Reading:
    """Read RAVDESS with the splits of one of EmoBox's folds.

    Raises:
        UserError: As in `read`, or there is no such fold.
    """
    check_fold(fold, len(FOLDS), folder)
    found = read(folder)
    return dataclasses.replace(
        found,
        utterances=tuple(
            dataclasses.replace(each, split=split_in_fold(_actor(each.name), fold)) for each in found.utterances
        ),
        left_out=tuple(
            dataclasses.replace(each, split=split_in_fold(_actor(each.name), fold)) if each.split else each
            for each in found.left_out
        ),
    )


def _actor(name: str) -> int:
    return int(Path(name).stem[-2:])


def _recordings(folder: Path) -> Iterator[tuple[str, Path]]:
    for actor in sorted(folder.glob("Actor_*")):
        yield from ((name, path) for name, path in list_files(actor).items() if path.suffix in _SUFFIXES)


def _utterance(path: Path) -> Utterance | LeftOut:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return LeftOut(name=path.name, split="", reason="no label: the name is not seven codes")
    modality, channel, emotion, _, statement, _, actor = match.groups()
    for what, code, known in (("emotion", emotion, CLASSES), ("statement", statement, STATEMENTS)):
        if code not in known:
            raise UserError(f"{path} has the unknown {what} {code}", hint=f"Known: {', '.join(known)}.")
    if not 1 <= int(actor) <= ACTORS:
        raise UserError(f"{path} has the unknown actor {actor}", hint=f"Known: 01 to {ACTORS}.")
    split = split_of(int(actor))
    if (modality, channel) != _SPEECH:
        return LeftOut(name=path.name, split=split, reason="no speech: the first codes are not 03-01")
    return Utterance(
        name=path.name,
        audio=path,
        text=STATEMENTS[statement],
        label=CLASSES[emotion],
        speaker=f"ravdess-{actor}",  # distinct from other corpora
        split=split,
    )
