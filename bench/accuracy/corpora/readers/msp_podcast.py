"""MSP-Podcast in all its layouts: eight classes of spontaneous speech (Lotfian and Busso, 2019).

    Audios/MSP-PODCAST_0001_0008.wav       some copies nest folders: Audios/Audios
    Labels/labels_consensus.csv            or .json, keyed by file name; the CSV is read if both exist
    Transcripts/MSP-PODCAST_0001_0008.txt  one line or several
    Partitions.txt                         or Partition.txt: "Split; filename"; optional

The partition file and the Split_Set of the labels must agree. Otherwise a turn could be in training and in testing.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.accuracy.corpora.base import UNKNOWN_SPEAKER, LeftOut, Reading, Utterance, note_name, one_line
from bench.accuracy.corpora.files import list_files, missing, parse_json, read_text, require_folder
from mixers.support.errors import UserError

CLASSES = {
    "A": "anger",
    "S": "sadness",
    "H": "happiness",
    "U": "surprise",
    "F": "fear",
    "D": "disgust",
    "C": "contempt",
    "N": "neutral",
}

SPLITS = {
    "Train": "train",
    "Development": "development",
    "Test1": "test1",
    "Test2": "test2",
    "Test3": "test3",
}

_LEFT_OUT = {"O": "class O: none of the eight emotions", "X": "class X: the annotators disagree"}
_NO_LABEL = "no label"

_LAYOUT = "it contains Audios/, Labels/labels_consensus.csv or .json, Transcripts/ and Partitions.txt"
_COLUMNS = "FileName, EmoClass, SpkrID and Split_Set"

_THREADS = 16  # that read transcripts; opening a file on a network disk is mostly waiting


@dataclass(frozen=True, kw_only=True)
class _Label:
    name: str
    letter: str
    speaker: str
    split_set: str  # as written; empty if the labels do not state it
    where: str


def read(folder: Path) -> Reading:
    """Read a release of MSP-Podcast.

    Raises:
        UserError: A part of it is missing, or a line of a file is invalid; the first such line is named.
    """
    require_folder(folder, layout=_LAYOUT)
    source = _one_of(folder / "Labels", ("labels_consensus.csv", "labels_consensus.json"))
    labels = _labels(source)
    partitions_file = _partitions_file(folder)
    partitions = {} if partitions_file is None else _partitions(partitions_file)
    splits = _splits(labels, partitions, partitions_file)
    audio = _files(folder / "Audios")
    if not audio:
        raise missing(folder / "Audios" / "*.wav", layout=_LAYOUT)
    wanted = [label for label in labels if label.letter in CLASSES]
    here = [label for label in wanted if label.name in audio]
    texts = _texts([label.name for label in here], _files(folder / "Transcripts"))
    return Reading(
        source=source,
        classes=tuple(CLASSES.values()),
        utterances=tuple(
            Utterance(
                name=label.name,
                audio=audio[label.name],
                text=text,
                label=CLASSES[label.letter],
                speaker=label.speaker,
                split=splits[label.name],
            )
            for label, text in zip(here, texts, strict=True)
        ),
        left_out=(*_other_classes(labels, splits), *_unlabelled(labels, audio, partitions)),
        without_audio=tuple(label.name for label in wanted if label.name not in audio),
    )


def _other_classes(labels: Iterable[_Label], splits: Mapping[str, str]) -> Iterator[LeftOut]:
    for label in labels:
        if label.letter in _LEFT_OUT:
            yield LeftOut(name=label.name, split=splits[label.name], reason=_LEFT_OUT[label.letter])


def _unlabelled(labels: Iterable[_Label], audio: Iterable[str], partitions: Mapping[str, str]) -> Iterator[LeftOut]:
    """Yield what has a recording or a split but no label, as in a test set whose labels are withheld."""
    labelled = {label.name for label in labels}
    recordings = {name for name in audio if name.lower().endswith(".wav")}
    for name in sorted((recordings | partitions.keys()) - labelled):
        yield LeftOut(name=name, split=partitions.get(name, ""), reason=_NO_LABEL)


def _one_of(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise missing(folder / names[0], layout=_LAYOUT)


def _files(folder: Path) -> dict[str, Path]:
    """Return the files of a folder and of the folder with the same name inside it."""
    files, nested = list_files(folder), list_files(folder / folder.name)
    seen = {name: str(path) for name, path in files.items()}
    for name, path in nested.items():
        note_name(name, str(path), seen)
    return files | nested


def _texts(names: Iterable[str], transcripts: Mapping[str, Path]) -> list[str]:
    """Return the transcript of each utterance; empty where there is none."""

    def text(name: str) -> str:
        path = transcripts.get(f"{Path(name).stem}.txt")
        return "" if path is None else one_line(read_text(path))

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(text, names))


def _labels(source: Path) -> list[_Label]:
    """Return every label of a CSV or JSON file, after checking it."""
    rows = _json_rows(source) if source.suffix == ".json" else _csv_rows(source)
    seen: dict[str, str] = {}
    labels = []
    for where, row in rows:
        label = _Label(
            name=_field(row, "FileName", where),
            letter=_field(row, "EmoClass", where),
            speaker=_speaker(_field(row, "SpkrID", where, may_be_empty=True)),
            split_set=_field(row, "Split_Set", where, may_be_empty=True) if "Split_Set" in row else "",
            where=where,
        )
        note_name(label.name, where, seen)
        if label.letter not in CLASSES and label.letter not in _LEFT_OUT:
            letters = ", ".join([*CLASSES, *_LEFT_OUT])
            raise UserError(f"{where}: unknown class {label.letter!r}", hint=f"EmoClass is one of {letters}.")
        labels.append(label)
    return labels


def _csv_rows(source: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield each row, with its place in the file."""
    reader = csv.DictReader(io.StringIO(read_text(source), newline=""), skipinitialspace=True, strict=True)
    try:
        for row in reader:
            yield f"{source}, line {reader.line_num}", row
    except csv.Error as error:
        hint = "Copy the whole file again."
        raise UserError(f"{source}, line {reader.reader.line_num} is not CSV: {error}", hint=hint) from None


def _json_rows(source: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield each entry, with its place. Two entries of one name are both yielded; a dict would keep only the last."""
    hint = "It must be a JSON object of file names, each with an object of labels. Copy the whole file again."
    try:
        entries = parse_json(read_text(source), pairs=_Pairs)
    except ValueError as error:
        raise UserError(f"{source} is not JSON: {error}", hint=hint) from None
    if not isinstance(entries, _Pairs):
        raise UserError(f"{source} holds no JSON object", hint=hint)
    for name, labels in entries:
        where = f"{source}, entry {name}"
        if not isinstance(labels, _Pairs):
            raise UserError(f"{where} is no JSON object", hint=hint)
        yield where, {**dict(labels), "FileName": name}


class _Pairs(list[tuple[str, object]]):
    """A JSON object as the list of all its pairs, including repeated names."""


def _field(row: Mapping[str, object], column: str, where: str, *, may_be_empty: bool = False) -> str:
    value = row.get(column)
    text = "" if value is None else str(value).strip()
    if value is None or not (text or may_be_empty):
        raise UserError(f"{where} has no {column}", hint=f"The labels need {_COLUMNS}. Copy the whole file again.")
    return text


def _speaker(text: str) -> str:
    return UNKNOWN_SPEAKER if text.lower() in {"", UNKNOWN_SPEAKER.lower()} else text


def _partitions_file(folder: Path) -> Path | None:
    files = [folder / name for name in ("Partitions.txt", "Partition.txt") if (folder / name).is_file()]
    if len(files) > 1:
        raise UserError(f"{folder} holds both Partitions.txt and Partition.txt", hint="Keep the one of the release.")
    return files[0] if files else None


def _partitions(file: Path) -> dict[str, str]:
    """Return the split of each file name in a partition file."""
    seen: dict[str, str] = {}
    partitions = {}
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        split, separator, name = (part.strip() for part in line.partition(";"))
        if not (separator and name):
            raise UserError(f"{where} is not 'Split; filename': {line.strip()!r}", hint="Copy the whole file again.")
        note_name(name, where, seen)
        partitions[name] = _split(split, where)
    return partitions


def _split(text: str, where: str) -> str:
    if text not in SPLITS:
        raise UserError(f"{where}: unknown split {text!r}", hint=f"A split is one of {', '.join(SPLITS)}.")
    return SPLITS[text]


def _splits(labels: Iterable[_Label], partitions: Mapping[str, str], file: Path | None) -> dict[str, str]:
    """Return the split of each labelled name. The labels state it, the partition file does, or both."""
    splits, differing = {}, []
    for label in labels:
        stated = _split(label.split_set, label.where) if label.split_set else None
        listed = partitions.get(label.name)
        split = stated or listed
        if split is None:
            message = f"{label.where} has no Split_Set, and no partition file lists it"
            raise UserError(message, hint=f"Copy the release's Partitions.txt, or labels with {_COLUMNS}.")
        if file is not None and split != listed:
            differing.append((label, split, listed))
        splits[label.name] = split
    if differing:
        label, split, listed = differing[0]
        others = f" (and {len(differing) - 1:,} more)" if len(differing) > 1 else ""
        says = "does not list it" if listed is None else f"says {listed}"
        message = f"{label.where} says {split} where {file} {says}{others}"
        raise UserError(message, hint="Both must be of one release: copy both from it, or remove the partition file.")
    return splits
