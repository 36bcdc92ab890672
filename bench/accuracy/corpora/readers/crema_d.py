"""CREMA-D: 91 actors, twelve sentences, six classes (Cao et al., 2014).

    AudioWAV/1001_DFA_ANG_XX.wav           actor_sentence_emotion_intensity

Splits by actor: train 1001 to 1063, development 1064 to 1077, test1 1078 to 1091. There is no official split.
"""

import re
from pathlib import Path

from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, LeftOut, Reading, Utterance
from bench.accuracy.corpora.files import list_files, missing, require_folder
from mixers.support.errors import UserError

CLASSES = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}

SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}

ACTORS = range(1001, 1092)

# The corpus has 7442 recordings. This one is silent.
SILENT = "1076_MTI_SAD_XX.wav"
USED = 7441

_LAYOUT = "it contains AudioWAV/ with 7442 recordings"
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_(?:LO|MD|HI|XX?)\.wav")  # 1040_ITH_SAD_X.wav has one X


def split_of(actor: int) -> str:
    """Return an actor's split."""
    return TRAIN if actor <= 1063 else DEVELOPMENT if actor <= 1077 else "test1"


def read(folder: Path) -> Reading:
    """Read CREMA-D.

    Raises:
        UserError: Recordings are missing, or a file name has an unknown code; the first such file is named.
    """
    require_folder(folder, layout=_LAYOUT)
    source = folder / "AudioWAV"
    found = [_utterance(path) for path in list_files(source).values() if path.suffix == ".wav"]
    if not found:
        raise missing(source / "*.wav", layout=_LAYOUT)
    utterances = tuple(item for item in found if isinstance(item, Utterance))
    if len(utterances) != USED:  # the design has gaps, so nothing says which are missing
        hint = "Copy all of it, or list your part of it in a manifest."
        raise UserError(f"{source} holds {len(utterances):,} of CREMA-D's {USED:,} recordings with sound", hint=hint)
    return Reading(
        source=source,
        classes=tuple(CLASSES.values()),
        utterances=utterances,
        left_out=tuple(item for item in found if isinstance(item, LeftOut)),
    )


def _utterance(path: Path) -> Utterance | LeftOut:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return LeftOut(name=path.name, split="", reason="no label: the name is not actor_sentence_emotion_intensity")
    actor, sentence, emotion = match.groups()
    for what, code, known in (("emotion", emotion, CLASSES), ("sentence", sentence, SENTENCES)):
        if code not in known:
            raise UserError(f"{path} has the unknown {what} {code}", hint=f"Known: {', '.join(known)}.")
    if int(actor) not in ACTORS:
        raise UserError(f"{path} has the unknown actor {actor}", hint=f"Known: {ACTORS[0]} to {ACTORS[-1]}.")
    split = split_of(int(actor))
    if path.name == SILENT:
        return LeftOut(name=path.name, split=split, reason="silent, as published")
    return Utterance(
        name=path.name,
        audio=path,
        text=SENTENCES[sentence],
        label=CLASSES[emotion],
        speaker=f"crema-d-{actor}",  # distinct from other corpora: MSP-Podcast numbers its speakers too
        split=split,
    )
