"""EmoBox's published metadata, in its layout; the recordings written here are empty files."""

import json
from pathlib import Path

import pytest

from bench.accuracy.corpora import load
from mixers.support.errors import UserError

EMOTIONS = {"ang": "Angry", "hap": "Happy", "exc": "Happy"}


class Box:
    """An EmoBox with one corpus; the speakers are a, b, c, ... and each says every emotion once."""

    def __init__(self, root: Path, *, speakers: str = "abcd", emotions: tuple[str, ...] = tuple(EMOTIONS)) -> None:
        self.root, self.folder = root, root / "data" / "toy"
        self.keys = [f"toy-{speaker}_{emotion}" for speaker in speakers for emotion in emotions]
        self.folder.mkdir(parents=True)
        (self.folder / "label_map.json").write_text(json.dumps(EMOTIONS))
        stm = [
            f"{key} 1 {key[4]} 0 1.5 <id={key},lang=en,spk={key[4]},emotion={key[6:]}> {key[6:]}" for key in self.keys
        ]
        (self.folder / "data.seg.wrd.stm").write_text("\n".join(stm) + "\n")
        for key in self.keys:
            audio = root / self.wav(key)
            audio.parent.mkdir(parents=True, exist_ok=True)
            audio.touch()

    @staticmethod
    def wav(key: str) -> str:
        return f"downloads/toy/{key[4]}/{key[6:]}.wav"

    def line(self, key: str, **changes: object) -> dict[str, object]:
        fields = {"key": key, "dataset": "toy", "wav": self.wav(key), "type": "raw", "sample_rate": 16000}
        return fields | {"task": "category", "length": 1.5, "emo": key[6:], "channel": 1} | changes

    def write(self, fold: int, part: str, lines: list[dict[str, object]]) -> Path:
        file = self.folder / f"fold_{fold}" / f"toy_{part}_fold_{fold}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return file

    def leave_out(self, fold: int, speakers: str) -> None:
        self.write(fold, "train", [self.line(key) for key in self.keys if key[4] not in speakers])
        self.write(fold, "test", [self.line(key) for key in self.keys if key[4] in speakers])

    def spec(self, fold: str) -> str:
        return f"emobox@{fold}:{self.folder}"


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = Box(tmp_path)
    for fold, speaker in enumerate("abcd", start=1):
        made.leave_out(fold, speaker)
    return made


def voices(spec: str, split: str) -> set[str]:
    return {each.speaker for each in load(spec, missing_text="empty").split(split)}


def test_a_fold_is_read_with_its_speakers_and_classes(box: Box) -> None:
    corpus = load(box.spec("2"), missing_text="empty")
    assert (corpus.classes, corpus.folds, corpus.splits) == (("Angry", "Happy"), 4, ("train", "development", "test"))
    first = corpus.split("test")[0]
    assert (first.name, first.label, first.speaker) == ("toy-b_ang", "Angry", "toy-b")
    assert first.audio == box.root / "downloads/toy/b/ang.wav"
    assert voices(box.spec("2"), "train") == {"toy-a", "toy-d"}


def test_the_development_set_is_the_test_set_of_the_next_fold(box: Box) -> None:
    assert [voices(box.spec(fold), "development") for fold in "1234"] == [
        {"toy-b"},
        {"toy-c"},
        {"toy-d"},
        {"toy-a"},
    ]


def test_a_published_development_set_is_used(box: Box) -> None:
    box.write(1, "train", [box.line(key) for key in box.keys if key[4] in "bc"])
    box.write(1, "valid", [box.line(key) for key in box.keys if key[4] == "d"])
    assert voices(box.spec("1"), "development") == {"toy-d"}
    assert voices(box.spec("1"), "train") == {"toy-b", "toy-c"}


def test_a_corpus_of_one_fold_develops_on_every_fifth_speaker(tmp_path: Path) -> None:
    made = Box(tmp_path, speakers="abcdefghijkl")
    made.leave_out(1, "ab")
    assert voices(made.spec("1"), "development") == {"toy-g", "toy-l"}
    assert load(made.spec("1"), missing_text="empty").folds == 1


@pytest.mark.parametrize("folds", [2, 3])
def test_a_corpus_of_few_folds_keeps_most_of_its_training_set(tmp_path: Path, folds: int) -> None:
    made = Box(tmp_path, speakers="abcdefghijkl")
    for fold in range(1, folds + 1):
        made.leave_out(fold, "abcdefghijkl"[fold - 1 :: folds])
    assert len(voices(made.spec("1"), "development")) == 1
    assert len(voices(made.spec("1"), "train")) == 12 - 12 // folds - 1


def test_a_fold_that_shares_speakers_is_refused_or_accepted_knowingly(tmp_path: Path) -> None:
    made = Box(tmp_path)
    made.write(1, "train", [made.line(key) for key in made.keys[1:]])
    made.write(1, "test", [made.line(made.keys[0])])
    with pytest.raises(UserError, match=r"fold 1 of .*toy has \d speakers in train and in development: toy-") as caught:
        load(made.spec("1"), missing_text="empty")
    assert "emobox@1+shared:" in caught.value.hint
    corpus = load(made.spec("1+shared"), missing_text="empty")
    assert {split: len(corpus.split(split)) for split in corpus.splits} == {"train": 9, "development": 2, "test": 1}


def test_who_is_not_named_is_unknown(box: Box) -> None:
    (box.folder / "data.seg.wrd.stm").write_text("toy-a_ang 1 / 0 1.5 <id=toy-a_ang,lang=en,spk=/,emotion=ang> ang\n")
    assert voices(box.spec("1"), "test") == {"Unknown"}


def test_a_label_without_a_class_is_left_out(box: Box) -> None:
    (box.folder / "label_map.json").write_text(json.dumps({"ang": "Angry", "hap": "Happy"}))
    corpus = load(box.spec("1"), missing_text="empty")
    assert len(corpus.left_out) == 4
    assert corpus.left_out[-1].reason == "label exc is not in label_map.json"
    (box.folder / "label_map.json").unlink()
    assert load(box.spec("1"), missing_text="empty").classes == ("ang", "exc", "hap")


def test_transcripts_are_read_where_they_were_added(box: Box) -> None:
    with pytest.raises(UserError, match=r"12 of 12 utterances in .* have no transcript"):
        load(box.spec("1"))
    for fold in (1, 2):
        for part in ("train", "test"):
            keys = [key for key in box.keys if (key[4] == "ab"[fold - 1]) == (part == "test")]
            box.write(fold, part, [box.line(key, text="oh\nno") for key in keys])
    assert {each.text for each in load(box.spec("1")).utterances} == {"oh no"}


def test_recordings_may_lie_beside_the_metadata(box: Box) -> None:
    (box.root / "downloads").rename(box.folder / "downloads")
    assert len(load(box.spec("1"), missing_text="empty").utterances) == 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wav": None}, "line 1 has no wav"),
        ({"emo": ""}, "line 1: emo must be a non-empty string"),
        ({"type": "feature"}, "line 1 is of type 'feature'"),
        ({"start_time": 3.5, "end_time": 5.0}, "line 1 is a part of a longer recording"),
        ({"key": "toy-b_ang"}, "two utterances are called toy-b_ang"),
    ],
)
def test_a_bad_line_is_named(box: Box, changes: dict[str, object], message: str) -> None:
    box.write(1, "test", [box.line("toy-a_ang") | changes])
    with pytest.raises(UserError, match=message) as caught:
        load(box.spec("1"), missing_text="empty")
    assert "toy_test_fold_1.jsonl" in str(caught.value)
    assert caught.value.hint


def test_what_is_missing_is_named(box: Box) -> None:
    (box.root / box.wav("toy-b_ang")).unlink()
    with pytest.raises(UserError, match=r"1 of 12 utterances in .*toy have no recording: downloads/toy/b/ang\.wav"):
        load(box.spec("1"), missing_text="empty")
    with pytest.raises(UserError, match="has no fold 5"):
        load(box.spec("5"))
    (box.folder / "fold_2" / "toy_train_fold_2.jsonl").unlink()
    with pytest.raises(UserError, match=r"_train_fold_2\.jsonl is missing"):
        load(box.spec("2"))
    (box.folder / "data.seg.wrd.stm").unlink()
    with pytest.raises(UserError, match=r"data\.seg\.wrd\.stm is missing"):
        load(box.spec("1"))


def test_every_use_needs_a_fold(box: Box) -> None:
    with pytest.raises(UserError, match="has no splits of its own") as caught:
        load(f"emobox:{box.folder}")
    assert caught.value.hint == "Choose one of its folds, 1 to 4, with --fold."
