"""Any corpus, as a JSONL file with one utterance a line, or a folder with such a file of each fold: fold-1.jsonl, ...

    {"audio": "a/0001.wav", "text": "I told you so", "label": "anger", "speaker": "anna", "split": "train"}

`audio` is relative to the file. The utterance's name is its last part, or all of it where last parts repeat. Labels
are free. Splits are free too, made of letters, digits, -, _ and ., but training needs train and development. The
classes are the labels that occur, in alphabetical order. Other keys are ignored.
"""

import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from bench.accuracy.corpora.base import (
    PREDICTION_COLUMNS,
    UNKNOWN_SPEAKER,
    Reading,
    Utterance,
    check_fold,
    note_name,
    one_line,
)
from bench.accuracy.corpora.files import read_jsonl, require_folder, string_field
from mixers.support.errors import UserError

_EXAMPLE = '{"audio": "a.wav", "text": "I told you so", "label": "anger", "speaker": "anna", "split": "train"}'
_SPLIT = re.compile(r"[\w-][\w.-]*")
_FOLD = re.compile(r"fold-([0-9]{1,9})\.jsonl")
_HINT = f"Each line is one utterance: {_EXAMPLE}"


def read(file: Path) -> Reading:
    """Read a manifest.

    Raises:
        UserError: It is missing, or a line is no utterance; the first such line is named.
    """
    if not file.is_file():
        message = f"{file} is not a file" if file.exists() else f"no such file: {file}"
        folds = f" For a folder of folds, name one: manifest@1:{file}" if file.is_dir() else ""
        raise UserError(message, hint=f"Give a JSONL file. {_HINT}{folds}")
    lines = [(where, _utterance(fields, where, folder=file.parent)) for where, fields in read_jsonl(file, hint=_HINT)]
    counts = Counter(utterance.audio.name for _, utterance in lines)
    seen: dict[str, str] = {}
    utterances, without_audio = [], []
    for where, each in lines:
        name = each.name if counts[each.audio.name] > 1 else each.audio.name
        note_name(name, where, seen)
        utterance = replace(each, name=name)
        if utterance.audio.is_file():
            utterances.append(utterance)
        else:
            without_audio.append(utterance.name)
    return Reading(
        source=file,
        classes=tuple(sorted({utterance.label for utterance in utterances})),
        utterances=tuple(utterances),
        without_audio=tuple(without_audio),
    )


def read_fold(folder: Path, fold: int) -> Reading:
    """Read the manifest of a fold.

    Raises:
        UserError: As in `read`, or there is no such fold.
    """
    require_folder(folder, layout=f"it contains {fold_file(1)}, {fold_file(2)}, ...")
    folds = max((int(match[1]) for path in folder.iterdir() if (match := _FOLD.fullmatch(path.name))), default=0)
    check_fold(fold, folds, folder)
    return replace(read(folder / fold_file(fold)), folds=folds)


def fold_file(fold: int) -> str:
    """Return the name of a fold's manifest."""
    return f"fold-{fold}.jsonl"


def _utterance(fields: dict[str, object], where: str, *, folder: Path) -> Utterance:
    audio, label, speaker, split = (_field(fields, key, where) for key in ("audio", "label", "speaker", "split"))
    text = fields.get("text") or ""  # missing, null and empty all mean that there is no transcript
    if not isinstance(text, str):
        raise UserError(f"{where}: text must be a string, not {text!r}", hint=_HINT)
    if not _SPLIT.fullmatch(split):
        hint = "A split names a folder of results. Use letters, digits, -, _ and ."
        raise UserError(f"{where}: split cannot be {split!r}", hint=hint)
    if label in PREDICTION_COLUMNS:
        raise UserError(f"{where}: label cannot be {label!r}", hint="Files of predictions have a column of this name.")
    if speaker.strip().lower() == UNKNOWN_SPEAKER.lower():
        speaker = UNKNOWN_SPEAKER
    path = folder / audio
    name = os.path.relpath(path, folder)
    return Utterance(name=name, audio=path, text=one_line(text), label=label, speaker=speaker, split=split)


def _field(fields: dict[str, object], key: str, where: str) -> str:
    unknown = " If the speaker is not known, write Unknown." if key == "speaker" and fields.get(key) is None else ""
    return string_field(fields, key, where, hint=_HINT + unknown)
