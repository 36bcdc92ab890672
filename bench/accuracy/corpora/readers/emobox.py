"""Any corpus of EmoBox, from the metadata that it publishes, with its folds (Ma et al., Interspeech 2024).

    data/ravdess/fold_1/ravdess_train_fold_1.jsonl     key, dataset, wav, type, emo; also _test_, rarely _valid_
    data/ravdess/label_map.json                        from the labels there to the classes; optional
    data/ravdess/data.seg.wrd.stm                      the speakers
    downloads/ravdess/...                              the recordings, where the field wav says

The folder to give is ``data/ravdess``. Every use needs a fold. EmoBox rarely names a development set. Without one it is
the test set of the next fold, after the last one that of the first. With fewer than four folds that would take too much
of the training set. Then it is every fifth training speaker, at least one; if training and test share speakers, every
fifth training recording. EmoBox publishes no transcripts; a field ``text`` is read if it was added.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.accuracy.corpora.base import (
    DEVELOPMENT,
    PREDICTION_COLUMNS,
    TEST,
    TRAIN,
    UNKNOWN_SPEAKER,
    LeftOut,
    Reading,
    Utterance,
    check_fold,
    note_name,
    one_line,
)
from bench.accuracy.corpora.files import missing, parse_json, read_jsonl, read_text, require_folder, string_field
from mixers.support.errors import UserError

_LAYOUT = "it contains fold_1/ with NAME_train_fold_1.jsonl and NAME_test_fold_1.jsonl, and data.seg.wrd.stm"
_HINT = "Copy the folder again from EmoBox's data/."
_FOLD = re.compile(r"fold_(\d+)")
_SPEAKER = re.compile(r"<id=(.+?),lang=.*?,spk=(.*),emotion=.*>")
_NOBODY = {"", "/", "none", "nan", "unknown"}
_SHARE = 5  # one of so many is for development
_FEWEST_FOLDS = 4  # of which one can be for development


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A line of a JSONL file."""

    key: str
    dataset: str
    wav: str
    emotion: str
    text: str
    speaker: str
    where: str


def read(folder: Path) -> Reading:
    """Refuse to read EmoBox's metadata without a fold.

    Raises:
        UserError: Always.
    """
    numbers = _folds(folder)
    raise UserError(f"{folder} has no splits of its own", hint=f"Choose one of its folds, 1 to {numbers}, with --fold.")


def read_fold(folder: Path, fold: int) -> Reading:
    """Read a fold of a corpus.

    Raises:
        UserError: A file is missing, a line is invalid, or there is no such fold.
    """
    folds = _folds(folder)
    check_fold(fold, folds, folder)
    speakers = _speakers(folder / "data.seg.wrd.stm")
    splits = {TRAIN: _entries(folder, fold, "train", speakers), TEST: _entries(folder, fold, "test", speakers)}
    _check_names([*splits[TRAIN], *splits[TEST]])
    development = _development(folder, fold, folds, speakers, splits)
    splits[TRAIN] = [each for each in splits[TRAIN] if each.key not in development]
    classes = _classes(folder / "label_map.json")
    root = folder if (folder / "downloads").is_dir() else folder.absolute().parent.parent
    utterances, left_out, without_audio = [], [], []
    for split, entries in (*splits.items(), (DEVELOPMENT, development.values())):
        for entry in entries:
            label = entry.emotion if classes is None else classes.get(entry.emotion)
            if label is None:
                reason = f"label {entry.emotion} is not in label_map.json"
                left_out.append(LeftOut(name=entry.key, split=split, reason=reason))
            elif (root / entry.wav).is_file():
                utterances.append(_utterance(entry, root / entry.wav, label, split))
            else:
                without_audio.append(entry.wav)
    return Reading(
        source=folder,
        classes=tuple(sorted({each.label for each in utterances})),
        utterances=tuple(utterances),
        left_out=tuple(left_out),
        without_audio=tuple(without_audio),
        folds=folds,
    )


def _folds(folder: Path) -> int:
    """Return the number of folds, which must be numbered from 1."""
    require_folder(folder, layout=_LAYOUT)
    numbers = {int(match[1]) for path in folder.iterdir() if (match := _FOLD.fullmatch(path.name))}
    for number in range(1, max(numbers, default=1) + 1):
        if number not in numbers:
            raise missing(folder / f"fold_{number}", layout=_LAYOUT)
    return len(numbers)


def _entries(folder: Path, fold: int, part: str, speakers: Mapping[str, str]) -> list[_Entry]:
    """Return the lines of a part of a fold."""
    found = list(_files(folder, fold, part))
    if not found:
        raise missing(folder / f"fold_{fold}" / f"*_{part}_fold_{fold}.jsonl", layout=_LAYOUT)
    return [_entry(fields, where, speakers) for where, fields in read_jsonl(found[0], hint=_HINT)]


def _files(folder: Path, fold: int, part: str) -> Iterator[Path]:
    yield from sorted((folder / f"fold_{fold}").glob(f"*_{part}_fold_{fold}.jsonl"))


def _entry(fields: dict[str, object], where: str, speakers: Mapping[str, str]) -> _Entry:
    key, dataset, wav, emotion = (
        string_field(fields, name, where, hint=_HINT) for name in ("key", "dataset", "wav", "emo")
    )
    if fields.get("type", "raw") != "raw":
        raise UserError(f"{where} is of type {fields['type']!r}", hint="Only recordings, of type raw, can be encoded.")
    if "start_time" in fields:
        hint = "Cut the recording into one file for each utterance, and remove start_time and end_time."
        raise UserError(f"{where} is a part of a longer recording", hint=hint)
    text = fields.get("text") or ""
    name = speakers.get(key, "")
    return _Entry(
        key=key,
        dataset=dataset,
        wav=wav,
        emotion=emotion,
        text=one_line(text) if isinstance(text, str) else "",
        speaker=UNKNOWN_SPEAKER if name.strip().lower() in _NOBODY else f"{dataset}-{name.strip()}",
        where=where,
    )


def _utterance(entry: _Entry, audio: Path, label: str, split: str) -> Utterance:
    if label in PREDICTION_COLUMNS:
        hint = "Files of predictions have a column of this name."
        raise UserError(f"{entry.where}: label cannot be {label!r}", hint=hint)
    return Utterance(name=entry.key, audio=audio, text=entry.text, label=label, speaker=entry.speaker, split=split)


def _check_names(entries: Sequence[_Entry]) -> None:
    seen: dict[str, str] = {}
    for entry in entries:
        note_name(entry.key, entry.where, seen)


def _development(
    folder: Path, fold: int, folds: int, speakers: Mapping[str, str], splits: Mapping[str, list[_Entry]]
) -> dict[str, _Entry]:
    """Return the development set of a fold by key."""
    train, test = splits[TRAIN], splits[TEST]
    if any(_files(folder, fold, "valid")):
        valid = _entries(folder, fold, "valid", speakers)
        _check_names([*train, *test, *valid])
        return {each.key: each for each in valid}
    if folds >= _FEWEST_FOLDS:
        following = {each.key for each in _entries(folder, fold % folds + 1, "test", speakers)}
        return {each.key: each for each in train if each.key in following}
    voices = sorted({each.speaker for each in train})
    if len(voices) == 1 or UNKNOWN_SPEAKER in voices or set(voices) & {each.speaker for each in test}:
        keys = set(sorted(each.key for each in train)[_SHARE - 1 :: _SHARE])
        return {each.key: each for each in train if each.key in keys}
    chosen = set(voices[_SHARE - 1 :: _SHARE] or voices[-1:])
    return {each.key: each for each in train if each.speaker in chosen}


def _speakers(file: Path) -> dict[str, str]:
    """Return the speaker of each key."""
    if not file.is_file():
        raise missing(file, layout=_LAYOUT)
    return {match[1]: match[2] for match in _SPEAKER.finditer(read_text(file))}


def _classes(file: Path) -> dict[str, str] | None:
    """Return the class of each label; None if there is no such file."""
    if not file.is_file():
        return None
    try:
        found = parse_json(read_text(file))
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}", hint=_HINT) from None
    if not isinstance(found, dict) or not all(isinstance(each, str) and each for each in found.values()):
        raise UserError(f"{file} is no JSON object of classes by label", hint=_HINT)
    return found
