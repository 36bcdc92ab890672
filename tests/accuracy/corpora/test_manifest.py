"""What every corpus has in common, and manifests; no recording is decoded, so those written here are empty files."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.accuracy.corpora import Utterance, load, names
from bench.accuracy.corpora.base import PREDICTION_COLUMNS
from mixers.support.errors import UserError

LINE = {"audio": "a.wav", "text": "I told you so", "label": "anger", "speaker": "anna", "split": "train"}
LINES = [
    LINE,
    LINE | {"audio": "b.wav", "label": "neutral", "speaker": "ben", "split": "test1"},
    LINE | {"audio": "c.wav", "label": "fear", "speaker": "cleo", "split": "development"},
]


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def write_manifest(folder: Path, lines: list[dict[str, Any]]) -> str:
    """Write a manifest with an empty recording for each line, and return its spec."""
    for line in lines:
        touch(folder / line["audio"])
    file = folder / "manifest.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"manifest:{file}"


def test_a_manifest_says_everything_about_an_utterance(tmp_path: Path) -> None:
    spec = write_manifest(tmp_path, [LINE | {"audio": "deep/down/a.wav"}, *LINES[1:]])
    corpus = load(spec)
    assert corpus.spec == spec
    assert corpus.classes == ("anger", "fear", "neutral")
    assert corpus.left_out == ()
    assert corpus.utterances[0] == Utterance(
        name="a.wav",
        audio=tmp_path / "deep/down/a.wav",
        text="I told you so",
        label="anger",
        speaker="anna",
        split="train",
    )


def test_splits_are_in_the_order_of_their_use(tmp_path: Path) -> None:
    splits = ["test2", "train", "test1", "development"]
    lines = [LINE | {"audio": f"{split}.wav", "split": split, "label": split} for split in splits]
    corpus = load(write_manifest(tmp_path, lines))
    assert corpus.splits == ("train", "development", "test1", "test2")
    assert [utterance.name for utterance in corpus.split("test2")] == ["test2.wav"]


def test_an_unknown_split_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown split of manifest:.* 'tset1'") as caught:
        load(write_manifest(tmp_path, LINES)).split("tset1")
    assert caught.value.hint == "Did you mean 'test1'? Available: train, development, test1."


def test_a_missing_training_split_is_named_with_what_training_needs(tmp_path: Path) -> None:
    lines = [line | {"split": {"development": "dev"}.get(line["split"], line["split"])} for line in LINES]
    corpus = load(write_manifest(tmp_path, lines))
    with pytest.raises(
        UserError, match=r"manifest\.jsonl has no split 'development', only train, dev, test1"
    ) as caught:
        corpus.split("development")
    assert caught.value.hint.startswith("Training learns from train and chooses weights by development")


def test_where_file_names_repeat_a_name_is_the_path(tmp_path: Path) -> None:
    paths = ["anna/1.wav", "./ben/1.wav", "1.wav", "ben/2.wav", str(tmp_path / "cleo" / "1.wav")]
    lines = [LINES[place % 3] | {"audio": audio} for place, audio in enumerate(paths)]
    corpus = load(write_manifest(tmp_path, lines))
    assert [each.name for each in corpus.utterances] == ["anna/1.wav", "ben/1.wav", "1.wav", "2.wav", "cleo/1.wav"]
    assert all(each.audio.is_file() for each in corpus.utterances)


WORDS = st.text(st.characters(codec="utf-8"), max_size=30)
TOKENS = WORDS.filter(str.strip)
LABELS = TOKENS.filter(lambda label: label not in PREDICTION_COLUMNS)
SPEAKERS = TOKENS.filter(lambda speaker: speaker.strip().lower() != "unknown")
SPLITS = st.from_regex(r"[\w-]+", fullmatch=True)


@given(
    st.lists(st.tuples(WORDS, LABELS, SPEAKERS, SPLITS), min_size=2, max_size=5).filter(
        lambda fields: len({label for _, label, _, _ in fields}) > 1
    )
)
@settings(max_examples=40, deadline=None)
def test_a_manifest_is_read_as_it_was_written(fields: list[tuple[str, str, str, str]]) -> None:
    lines: list[dict[str, Any]] = [
        {"audio": f"{number}.wav", "text": text, "label": label, "speaker": speaker, "split": split}
        for number, (text, label, speaker, split) in enumerate(fields)
    ]
    with tempfile.TemporaryDirectory() as folder:
        corpus = load(write_manifest(Path(folder), lines), missing_text="empty")
    assert [
        {
            "audio": utterance.name,
            "text": utterance.text,
            "label": utterance.label,
            "speaker": utterance.speaker,
            "split": utterance.split,
        }
        for utterance in corpus.utterances
    ] == [line | {"text": " ".join(line["text"].split())} for line in lines]
    assert set(corpus.classes) == {label for _, label, _, _ in fields}


def test_blank_lines_carriage_returns_a_byte_order_mark_and_other_keys_do_no_harm(tmp_path: Path) -> None:
    write_manifest(tmp_path, LINES)
    text = "\r\n\r\n".join(json.dumps(line | {"duration": 3.5}) for line in LINES)
    (tmp_path / "manifest.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n \r\n")
    assert len(load(f"manifest:{tmp_path / 'manifest.jsonl'}").utterances) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"audio": "x.wav", "te', "line 4 is not JSON"),
        ("[1, 2]", "line 4 is no JSON object"),
        ("[" * 100_000, "line 4 is not JSON: it is nested too deeply"),
        (json.dumps(LINE | {"speaker": "\ud800"}), "line 4 is not JSON: it holds half of a surrogate pair"),
        (json.dumps(LINE | {"audio": "a" * 5000}), r"manifest\.jsonl cannot be read: File name too long"),
        (json.dumps({key: value for key, value in LINE.items() if key != "audio"}), "line 4 has no audio"),
        (json.dumps(LINE | {"label": None}), "line 4 has no label"),
        (json.dumps(LINE | {"split": " "}), "line 4: split must be a non-empty string, not ' '"),
        (json.dumps(LINE | {"split": "te/st"}), "line 4: split cannot be 'te/st'"),
        (json.dumps(LINE | {"label": "speaker"}), "line 4: label cannot be 'speaker'"),
        (json.dumps(LINE | {"speaker": 7}), "line 4: speaker must be a non-empty string, not 7"),
        (json.dumps(LINE | {"audio": "x.wav", "text": ["no"]}), r"line 4: text must be a string, not \['no'\]"),
        (
            json.dumps(LINE | {"audio": "other/../b.wav"}),
            r"two utterances are called b\.wav: .*, line 2 and .*manifest\.jsonl, line 4",
        ),
    ],
)
def test_a_bad_line_of_a_manifest_is_named(tmp_path: Path, line: str, message: str) -> None:
    spec = write_manifest(tmp_path, LINES)
    with (tmp_path / "manifest.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(UserError, match=message) as caught:
        load(spec)
    assert str(tmp_path / "manifest.jsonl") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_whom_nobody_knows_may_be_written_in_any_case(tmp_path: Path) -> None:
    corpus = load(write_manifest(tmp_path, [line | {"speaker": "unknown "} for line in LINES]))
    assert {utterance.speaker for utterance in corpus.utterances} == {"Unknown"}


def test_a_manifest_without_a_speaker_is_told_what_to_write(tmp_path: Path) -> None:
    line = {key: value for key, value in LINE.items() if key != "speaker"}
    with pytest.raises(UserError, match="line 1 has no speaker") as caught:
        load(write_manifest(tmp_path, [line]))
    assert "write Unknown" in caught.value.hint


def test_a_manifest_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"m\.jsonl is not UTF-8 at byte 0"):
        load(f"manifest:{tmp_path / 'm.jsonl'}")


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("msp-podcast", "'msp-podcast' names no corpus", "NAME:PATH"),
        ("/data/MSP-Podcast-2.0", "names no corpus", "NAME:PATH"),
        ("msp-podcast:", "names no corpus", "NAME:PATH"),
        ("", "'' names no corpus", "NAME:PATH"),
        ("msp-podacst:/data", "unknown corpus 'msp-podacst'", "Did you mean 'msp-podcast'?"),
        ("MSP-Podcast:/data", "unknown corpus 'MSP-Podcast'", "Did you mean 'msp-podcast'?"),
    ],
)
def test_what_names_no_corpus_is_refused(spec: str, message: str, hint: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(spec)
    assert hint in caught.value.hint
    assert all(name in caught.value.hint for name in names())


@pytest.mark.parametrize("name", names())
def test_a_missing_corpus_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"no such (file|folder): .*gone") as caught:
        load(f"{name}:{tmp_path / 'gone'}")
    assert caught.value.hint


@pytest.mark.parametrize("name", sorted(set(names()) - {"manifest"}))
def test_an_empty_folder_is_a_corpus_partly_copied(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is missing") as caught:
        load(f"{name}:{tmp_path}")
    assert "partly copied" in caught.value.hint


@pytest.mark.parametrize("name", sorted(set(names()) - {"manifest"}))
def test_a_file_is_no_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"a\.wav is not a folder"):
        load(f"{name}:{touch(tmp_path / 'a.wav')}")


def test_a_folder_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a file"):
        load(f"manifest:{tmp_path}")


def test_the_home_folder_may_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_manifest(tmp_path, LINES)
    assert len(load("manifest:~/manifest.jsonl").utterances) == 3


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    spec = write_manifest(tmp_path, [LINE, LINE | {"audio": "b.wav"}])
    with pytest.raises(UserError, match=r"manifest\.jsonl has only one class: anger"):
        load(spec)


def test_an_empty_manifest_has_no_utterance(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"manifest\.jsonl has no utterance with a label"):
        load(f"manifest:{touch(tmp_path / 'manifest.jsonl')}")


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (["a.wav"], r"1 of 3 utterances in .*manifest\.jsonl have no recording: a\.wav"),
        (["b.wav", "c.wav"], r"2 of 3 utterances in .*manifest\.jsonl have no recording: b\.wav"),
        (["a.wav", "b.wav", "c.wav"], r"no label in .*manifest\.jsonl matches a recording: a\.wav has none"),
    ],
)
def test_pitfall_5_a_label_without_its_recording_is_an_error(tmp_path: Path, gone: list[str], message: str) -> None:
    spec = write_manifest(tmp_path, LINES)
    for name in gone:
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match=message) as caught:
        load(spec)
    assert "copied" in caught.value.hint


@pytest.mark.parametrize(
    "without",
    [
        lambda line: {key: value for key, value in line.items() if key != "text"},
        lambda line: line | {"text": None},
        lambda line: line | {"text": " \n"},
    ],
)
def test_pitfall_5_a_missing_transcript_is_an_error_or_counted(
    tmp_path: Path, without: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    spec = write_manifest(tmp_path, [LINES[0], without(LINES[1]), without(LINES[2])])
    with pytest.raises(UserError, match=r"2 of 3 utterances in .* have no transcript: b\.wav") as caught:
        load(spec)
    assert "--missing-text empty" in caught.value.hint
    corpus = load(spec, missing_text="empty")
    assert [utterance.name for utterance in corpus.without_text] == ["b.wav", "c.wav"]
    assert len(corpus.utterances) == 3


def test_missing_text_is_an_error_or_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown treatment of missing text 'emtpy'") as caught:
        load(write_manifest(tmp_path, LINES), missing_text="emtpy")
    assert "Did you mean 'empty'?" in caught.value.hint


def test_reading_a_corpus_imports_no_torch() -> None:
    code = "import sys, bench.accuracy.corpora, bench.accuracy.corpora.demo; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
