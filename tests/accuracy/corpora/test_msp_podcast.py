"""MSP-Podcast in every layout, on releases of a few turns made here; their recordings are empty files."""

import csv
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.accuracy.corpora import LeftOut, load
from mixers.support.errors import UserError

EIGHT = ("anger", "sadness", "happiness", "surprise", "fear", "disgust", "contempt", "neutral")
LETTERS = "ASHUFDCN"
SPLITS = ("Train", "Development", "Test1", "Test2", "Test3")


@dataclass(frozen=True, kw_only=True)
class Turn:
    number: int
    letter: str = "N"
    speaker: str = "7"
    split: str = "Train"
    text: str | None = "so it goes"
    audio: bool = True

    @property
    def stem(self) -> str:
        return f"MSP-PODCAST_0001_{self.number:04d}"

    @property
    def name(self) -> str:
        return f"{self.stem}.wav"

    @property
    def labels(self) -> dict[str, str]:
        return {
            "EmoClass": self.letter,
            "EmoAct": "4.2",
            "EmoVal": "3.8",
            "EmoDom": "4.0",
            "SpkrID": self.speaker,
            "Gender": "Female",
            "Split_Set": self.split,
        }


TURNS = [
    *(Turn(number=number, letter=letter) for number, letter in enumerate(LETTERS)),
    Turn(number=8, split="Development", speaker="8"),
    Turn(number=9, split="Test1", speaker="Unknown", letter="A"),
    Turn(number=10, split="Test2", speaker="10", letter="O"),
    Turn(number=11, split="Test2", speaker="11", letter="X"),
    Turn(number=12, split="Test2", speaker="12", letter="F"),
]


def write_release(
    folder: Path,
    turns: Sequence[Turn] = TURNS,
    *,
    labels: str = "csv",
    partitions: str | None = "Partitions.txt",
    audios: str = "Audios",
) -> str:
    """Write a release and return its spec."""
    for name in (audios, "Labels", "Transcripts"):
        (folder / name).mkdir(parents=True)
    if labels == "csv":
        write_csv(folder, [{"FileName": turn.name, **turn.labels} for turn in turns])
    else:
        content = json.dumps({turn.name: turn.labels for turn in turns})
        (folder / "Labels" / "labels_consensus.json").write_text(content)
    if partitions is not None:
        (folder / partitions).write_text("".join(f"{turn.split}; {turn.name}\n" for turn in turns))
    for turn in turns:
        if turn.audio:
            (folder / audios / turn.name).touch()
        if turn.text is not None:
            (folder / "Transcripts" / f"{turn.stem}.txt").write_text(turn.text)
    return f"msp-podcast:{folder}"


def write_csv(folder: Path, rows: Sequence[dict[str, str]]) -> None:
    with (folder / "Labels" / "labels_consensus.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("labels", ["csv", "json"])
@pytest.mark.parametrize("partitions", ["Partitions.txt", "Partition.txt", None])
@pytest.mark.parametrize("audios", ["Audios", "Audios/Audios"])
def test_every_layout_holds_the_same_corpus(tmp_path: Path, labels: str, partitions: str | None, audios: str) -> None:
    corpus = load(write_release(tmp_path, labels=labels, partitions=partitions, audios=audios))
    assert corpus.classes == EIGHT
    assert corpus.splits == ("train", "development", "test1", "test2")
    assert [utterance.label for utterance in corpus.utterances[:8]] == list(EIGHT)
    assert corpus.utterances[9].speaker == "Unknown"
    assert {utterance.text for utterance in corpus.utterances} == {"so it goes"}
    assert all(utterance.audio == tmp_path / audios / utterance.name for utterance in corpus.utterances)
    assert [utterance.name for utterance in corpus.split("test2")] == [TURNS[12].name]


def test_folders_may_be_nested_for_some_files_only(tmp_path: Path) -> None:
    spec = write_release(tmp_path)
    nested = tmp_path / "Audios" / "Audios"
    nested.mkdir()
    (tmp_path / "Audios" / TURNS[0].name).rename(nested / TURNS[0].name)
    assert load(spec).utterances[0].audio == nested / TURNS[0].name


def test_the_csv_is_read_where_both_kinds_of_labels_are_there(tmp_path: Path) -> None:
    spec = write_release(tmp_path)
    (tmp_path / "Labels" / "labels_consensus.json").write_text("{")
    assert len(load(spec).utterances) == 11


def test_labels_without_split_set_need_the_partition_file(tmp_path: Path) -> None:
    spec = write_release(tmp_path)
    rows: list[dict[str, str]] = [{"FileName": turn.name, **turn.labels} for turn in TURNS]
    for row in rows:
        del row["Split_Set"]
    write_csv(tmp_path, rows)
    assert load(spec).splits == ("train", "development", "test1", "test2")
    (tmp_path / "Partitions.txt").unlink()
    with pytest.raises(UserError, match=r"labels_consensus\.csv, line 2 has no Split_Set"):
        load(spec)


def test_pitfall_5_other_classes_are_left_out_with_the_reason(tmp_path: Path) -> None:
    other, disagreed = load(write_release(tmp_path)).left_out
    assert (other.name, other.split) == (TURNS[10].name, "test2")
    assert other.reason.startswith("class O")
    assert (disagreed.name, disagreed.split) == (TURNS[11].name, "test2")
    assert disagreed.reason.startswith("class X")


def test_pitfall_5_audio_without_a_label_is_listed(tmp_path: Path) -> None:
    spec = write_release(tmp_path)
    (tmp_path / "Audios" / "MSP-PODCAST_0009_0001.wav").touch()
    (tmp_path / "Audios" / "notes.txt").touch()
    with (tmp_path / "Partitions.txt").open("a") as file:
        file.write("Test3; MSP-PODCAST_0009_0002.wav\n")
    assert load(spec).left_out[2:] == (
        LeftOut(name="MSP-PODCAST_0009_0001.wav", split="", reason="no label"),
        LeftOut(name="MSP-PODCAST_0009_0002.wav", split="test3", reason="no label"),
    )


def test_pitfall_5_text_of_several_lines_is_kept_whole(tmp_path: Path) -> None:
    turns = [Turn(number=0, text="\ufeffI told you\r\nonce,\n\ttwice \n"), Turn(number=1, letter="A")]
    assert load(write_release(tmp_path, turns)).utterances[0].text == "I told you once, twice"


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_pitfall_5_a_missing_or_empty_transcript_is_an_error_or_counted(tmp_path: Path, text: str | None) -> None:
    turns = [Turn(number=0, letter="A"), Turn(number=1, text=text), Turn(number=2, text=text)]
    spec = write_release(tmp_path, turns)
    with pytest.raises(UserError, match=r"2 of 3 utterances in .* have no transcript: MSP-PODCAST_0001_0001\.wav"):
        load(spec)
    assert len(load(spec, missing_text="empty").without_text) == 2


def test_a_release_without_transcripts_is_read_without_text(tmp_path: Path) -> None:
    spec = write_release(tmp_path)
    shutil.rmtree(tmp_path / "Transcripts")
    with pytest.raises(UserError, match="11 of 11 utterances"):
        load(spec)
    assert len(load(spec, missing_text="empty").without_text) == 11


TURN_STRATEGY = st.builds(
    Turn,
    number=st.integers(0, 999),
    letter=st.sampled_from([*LETTERS, "O", "X"]),
    speaker=st.sampled_from(["1", "2", "Unknown"]),
    split=st.sampled_from(SPLITS),
    text=st.sampled_from(["so", "so\nit goes", "", None]),
    audio=st.booleans(),
)


@given(
    turns=st.lists(TURN_STRATEGY, min_size=1, max_size=8, unique_by=lambda turn: turn.number),
    labels=st.sampled_from(["csv", "json"]),
)
@settings(max_examples=40, deadline=None)
def test_pitfall_5_nothing_is_dropped_in_silence(turns: list[Turn], labels: str) -> None:
    eight = [turn for turn in turns if turn.letter in LETTERS]
    with tempfile.TemporaryDirectory() as folder:
        spec = write_release(Path(folder), turns, labels=labels)
        try:
            corpus = load(spec, missing_text="empty")
        except UserError:
            assert len({turn.letter for turn in eight}) < 2 or not all(turn.audio for turn in eight)
            return
    assert [utterance.name for utterance in corpus.utterances] == [turn.name for turn in eight]
    assert {left_out.name for left_out in corpus.left_out} == {turn.name for turn in turns} - {t.name for t in eight}
    assert len(corpus.without_text) == sum(not turn.text for turn in eight)


@given(
    stated=st.lists(st.sampled_from(SPLITS), min_size=3, max_size=6),
    change=st.none() | st.tuples(st.integers(0, 2), st.none() | st.sampled_from(SPLITS)),
)
@settings(max_examples=40, deadline=None)
def test_pitfall_9_labels_and_partition_file_must_agree(
    stated: list[str], change: tuple[int, str | None] | None
) -> None:
    turns = [Turn(number=number, letter=LETTERS[number], split=split) for number, split in enumerate(stated)]
    listed: list[str | None] = [*stated]
    if change is not None:
        listed[change[0]] = change[1]
    with tempfile.TemporaryDirectory() as folder:
        spec = write_release(Path(folder), turns)
        lines = [f"{split}; {turn.name}\n" for turn, split in zip(turns, listed, strict=True) if split is not None]
        (Path(folder) / "Partitions.txt").write_text("".join(lines))
        if listed == stated:
            assert [utterance.split for utterance in load(spec).utterances] == [split.lower() for split in stated]
            return
        assert change is not None
        with pytest.raises(UserError, match=rf"line {change[0] + 2} says .* where .*Partitions\.txt"):
            load(spec)


def test_pitfall_9_every_turn_on_which_the_files_disagree_is_counted(tmp_path: Path) -> None:
    spec = write_release(tmp_path)
    text = (tmp_path / "Partitions.txt").read_text()
    (tmp_path / "Partitions.txt").write_text(text.replace("Train", "Test1"))
    with pytest.raises(UserError, match=r"says train where .*Partitions\.txt says test1 \(and 7 more\)") as caught:
        load(spec)
    assert "one release" in caught.value.hint


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return change


def append(file: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with (folder / file).open("a") as opened:
            opened.write(text)

    return change


def second_copy(folder: Path) -> None:
    (folder / "Audios" / "Audios").mkdir()
    (folder / "Audios" / "Audios" / TURNS[0].name).touch()


CSV, JSON = "Labels/labels_consensus.csv", "Labels/labels_consensus.json"
FIRST = TURNS[0].name


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "Labels"), r"labels_consensus\.csv is missing"),
        (lambda folder: shutil.rmtree(folder / "Audios"), r"Audios/\*\.wav is missing"),
        (lambda folder: (folder / "Audios" / FIRST).unlink(), rf"1 of 11 utterances .* have no recording: {FIRST}"),
        (
            lambda folder: [path.rename(path.with_suffix(".flac")) for path in (folder / "Audios").iterdir()],
            r"no label in .*labels_consensus\.csv matches a recording",
        ),
        (replace(CSV, ",A,", ",Z,"), r"labels_consensus\.csv, line 2: unknown class 'Z'"),
        (replace(CSV, ",A,", ",,"), r"labels_consensus\.csv, line 2 has no EmoClass"),
        (replace(CSV, "SpkrID", "Speaker"), r"labels_consensus\.csv, line 2 has no SpkrID"),
        (replace(CSV, "FileName", "File"), r"labels_consensus\.csv, line 2 has no FileName"),
        (replace(CSV, ",Train", ",Training"), r"labels_consensus\.csv, line 2: unknown split 'Training'"),
        (append(CSV, "MSP-PODCAST_0001_0099.wav,A,4"), r"labels_consensus\.csv, line 15 has no SpkrID"),
        (append(CSV, '"MSP-PODCAST_0001_0099.wav'), r"labels_consensus\.csv, line 15 is not CSV"),
        (
            append(CSV, f"{FIRST},A,4,4,4,7,Female,Test1\n"),
            rf"two utterances are called {FIRST}: .*, line 2 and .*, line 15",
        ),
        (replace("Partitions.txt", ";", ","), r"Partitions\.txt, line 1 is not 'Split; filename'"),
        (append("Partitions.txt", "Test1;\n"), r"Partitions\.txt, line 14 is not 'Split; filename': 'Test1;'"),
        (replace("Partitions.txt", "Test1;", "Test9;"), r"Partitions\.txt, line 10: unknown split 'Test9'"),
        (append("Partitions.txt", f"Test1; {FIRST}\n"), r"two utterances are called .*, line 1 and .*, line 14"),
        (append("Partition.txt", ""), r"holds both Partitions\.txt and Partition\.txt"),
        (second_copy, rf"two utterances are called {FIRST}: .*Audios/{FIRST} and .*Audios/Audios/{FIRST}"),
        (lambda folder: (folder / CSV).write_bytes(b"FileName\n\xff"), r"labels_consensus\.csv is not UTF-8"),
        (
            lambda folder: (folder / "Transcripts" / f"{TURNS[0].stem}.txt").write_bytes(b"caf\xe9"),
            r"MSP-PODCAST_0001_0000\.txt is not UTF-8 at byte 3",
        ),
    ],
)
def test_what_is_wrong_with_a_release_is_named(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    spec = write_release(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        load(spec)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f'{{"{FIRST}": {{"EmoClass": "A"', "is not JSON"),
        ("[1, 2]", "holds no JSON object"),
        (f'{{"{FIRST}": "A"}}', rf"entry {FIRST} is no JSON object"),
        (f'{{"{FIRST}": {{"EmoClass": "A"}}}}', rf"entry {FIRST} has no SpkrID"),
        (f'{{"{FIRST}": {{"EmoClass": "?", "SpkrID": 7}}}}', "unknown class '\\?'"),
    ],
)
def test_what_is_wrong_with_json_labels_is_named(tmp_path: Path, content: str, message: str) -> None:
    spec = write_release(tmp_path, labels="json")
    (tmp_path / JSON).write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        load(spec)
    assert "labels_consensus.json" in str(caught.value)
    assert caught.value.hint


def test_a_name_that_json_labels_give_twice_is_not_swallowed(tmp_path: Path) -> None:
    spec = write_release(tmp_path, labels="json")
    labels: Any = json.dumps(TURNS[0].labels)
    (tmp_path / JSON).write_text(f'{{"{FIRST}": {labels}, "{FIRST}": {labels}}}')
    with pytest.raises(UserError, match=f"two utterances are called {FIRST}"):
        load(spec)


def test_numbers_in_json_labels_are_names_of_speakers(tmp_path: Path) -> None:
    spec = write_release(tmp_path, labels="json")
    content = {turn.name: turn.labels | {"SpkrID": turn.number} for turn in TURNS}
    (tmp_path / JSON).write_text(json.dumps(content))
    assert load(spec).utterances[3].speaker == "3"


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    turns = [Turn(number=0), Turn(number=1), Turn(number=2, letter="O")]
    with pytest.raises(UserError, match="has only one class: neutral"):
        load(write_release(tmp_path, turns))


def test_labels_of_other_classes_alone_are_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no utterance with a label"):
        load(write_release(tmp_path, [Turn(number=0, letter="X")]))
