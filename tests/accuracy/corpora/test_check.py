"""A corpus read end to end: recordings of every kind of damage, and speakers in several splits."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.console import Console

from bench.accuracy.corpora import Reading, Utterance
from bench.accuracy.corpora import check as checking
from bench.accuracy.corpora.check import Report, check
from bench.accuracy.corpora.rendering import render
from mixers.support.errors import UserError
from tests.accuracy.corpora.test_manifest import LINE, write_manifest

LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * "0" + "\nsize 12345\n"

UNKNOWN = {(split, "Unknown") for split in ("train", "development", "test")}

LINES: list[dict[str, Any]] = [
    LINE | {"audio": f"{number}.wav", "label": label, "speaker": speaker, "split": split}
    for number, (label, speaker, split) in enumerate(
        [
            ("anger", "anna", "train"),
            ("fear", "ben", "train"),
            ("anger", "cleo", "development"),
            ("anger", "Unknown", "test1"),
        ]
    )
]


def noise(*, seconds: float = 0.5, rate: int = 16_000, loudness: float = 0.1) -> NDArray[np.float32]:
    return (loudness * np.random.default_rng(0).uniform(-1, 1, round(seconds * rate))).astype(np.float32)


def write_corpus(folder: Path, lines: list[dict[str, Any]] = LINES) -> str:
    spec = write_manifest(folder, lines)
    for line in lines:
        soundfile.write(folder / line["audio"], noise(), 16_000)
    return spec


def text_of(report: Report) -> str:
    console = Console(file=io.StringIO(), width=1000)
    console.print(render(report))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_sound_corpus_is_counted(tmp_path: Path) -> None:
    spec = write_corpus(tmp_path)
    soundfile.write(tmp_path / "1.wav", noise(seconds=2, rate=48_000), 48_000)
    report = check([spec])
    (corpus,) = report.corpora
    train, development, test1 = corpus.splits
    assert (train.name, train.utterances, train.speakers, train.of_unknown_speaker) == ("train", 2, 2, 0)
    assert train.seconds == pytest.approx(2.5)
    assert (train.shortest_s, train.longest_s) == pytest.approx((0.5, 2.0))
    assert train.classes == {"anger": 1, "fear": 1}
    assert development.classes == {"anger": 1, "fear": 0}
    assert (test1.speakers, test1.of_unknown_speaker) == (0, 1)
    assert report.sound
    assert "2.00" in text_of(report)


def test_it_is_told_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    check([write_corpus(tmp_path)], tell=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(b"no audio at all"), "cannot be decoded: Format not recognised"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: soundfile.write(path, noise()[:0], 16_000), "is empty"),
        (lambda path: soundfile.write(path, noise()[:399], 16_000), "is shorter than an encoder's frame (25 ms)"),
        (
            lambda path: soundfile.write(path, np.array([0, np.nan] * 400, np.float32), 16_000, subtype="FLOAT"),
            "holds samples that are not finite",
        ),
        (lambda path: path.write_text(LFS_POINTER), "cannot be decoded"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "ends before the length that its header states"),
    ],
)
def test_a_bad_recording_is_reported_with_the_reason(
    tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    spec = write_corpus(tmp_path)
    spoil(tmp_path / "1.wav")
    report = check([spec])
    (corpus,) = report.corpora
    (fault,) = corpus.faults
    assert (fault.name, fault.reason) == ("1.wav", reason)
    assert fault.hint
    assert not report.sound
    assert corpus.splits[0].utterances == 2
    assert corpus.splits[0].seconds == pytest.approx(0.5)
    assert f"{reason}: 1 (1.wav). {fault.hint}" in text_of(report)


def test_a_wav_file_that_was_a_stream_is_not_cut_off(tmp_path: Path) -> None:
    """Its writer could not know its length."""
    spec = write_corpus(tmp_path)
    content = (tmp_path / "1.wav").read_bytes()
    at = content.index(b"data") + 4
    for size in (0x7FFFF000, 0xFFFFFFFF):
        (tmp_path / "1.wav").write_bytes(content[:at] + size.to_bytes(4, "little") + content[at + 4 :])
        assert check([spec]).sound


def test_a_pointer_file_is_called_one(tmp_path: Path) -> None:
    spec = write_corpus(tmp_path)
    for name in ("0.wav", "2.wav"):
        (tmp_path / name).write_text(LFS_POINTER)
    text = text_of(check([spec]))
    assert "2 (0.wav, 2.wav). It is a Git LFS pointer" in text
    assert "git lfs pull" in text


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_a_silent_recording_is_reported_whatever_its_offset(tmp_path: Path, level: float) -> None:
    spec = write_corpus(tmp_path)
    soundfile.write(tmp_path / "2.wav", noise(loudness=1e-4) + level, 16_000)
    report = check([spec])
    assert report.corpora[0].silent == ("2.wav",)
    assert report.sound
    assert "silent: 1 (2.wav)" in text_of(report)


def test_pitfall_5_missing_recordings_and_texts_are_counted_where_loading_would_stop(tmp_path: Path) -> None:
    spec = write_corpus(tmp_path, [LINES[0] | {"text": ""}, *LINES[1:]])
    (tmp_path / "2.wav").unlink()
    report = check([spec])
    assert report.corpora[0].without_audio == ("2.wav",)
    assert report.corpora[0].splits[0].without_text == 1
    assert not report.sound
    assert "recording missing: 1 (2.wav)" in text_of(report)


def test_pitfall_9_a_speaker_in_two_splits_is_reported(tmp_path: Path) -> None:
    lines = [*LINES, LINE | {"audio": "5.wav", "speaker": "anna", "split": "test1"}]
    report = check([write_corpus(tmp_path, lines)])
    overlap = next(overlap for overlap in report.corpora[0].overlaps if overlap.speakers)
    assert (overlap.first, overlap.second, overlap.speakers) == ("train", "test1", ("anna",))
    assert overlap.names == ()
    assert not report.sound
    assert "train and test1 share speakers: 1 (anna)" in text_of(report)


def test_what_two_tests_share_is_said_and_does_no_harm(tmp_path: Path) -> None:
    lines = [*LINES, *(LINE | {"audio": f"{n}.wav", "speaker": "eve", "split": f"test-{n}0s"} for n in (5, 6))]
    report = check([write_corpus(tmp_path, lines)])
    assert "test-50s and test-60s share speakers: 1 (eve)" in text_of(report)
    assert report.sound


def test_numbered_recordings_of_two_corpora_are_not_the_same(tmp_path: Path) -> None:
    ours = write_corpus(tmp_path / "ours")
    lines = [LINE | {"audio": "0.wav", "speaker": "eve", "split": "test1"}]
    theirs = write_corpus(tmp_path / "theirs", lines)
    soundfile.write(tmp_path / "theirs" / "0.wav", noise(seconds=0.9), 16_000)
    assert check([ours, theirs]).sound
    soundfile.write(tmp_path / "theirs" / "0.wav", noise(), 16_000)  # as long as the other: it may be the same
    assert not check([ours, theirs]).sound


def test_other_names_tell_a_recording_whatever_its_length(tmp_path: Path) -> None:
    """A release may cut silence and rename speakers."""
    name = "MSP-PODCAST_0001_0008.wav"
    ours = write_corpus(tmp_path / "ours", [LINES[0] | {"audio": name}, *LINES[1:]])
    theirs = write_corpus(tmp_path / "theirs", [LINE | {"audio": name, "speaker": "eve", "split": "test1"}])
    soundfile.write(tmp_path / "theirs" / name, noise(seconds=0.9), 16_000)
    assert not check([ours, theirs]).sound


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({2: {"split": "dev"}}, "there is no split development, which training needs"),
        ({1: {"label": "anger"}}, "every label is anger: training needs two classes or more"),
        ({3: {"label": "joy"}}, "train has no utterance of joy: no model learns it"),
        ({}, "development has no utterance of fear, which counts 0 in its macro-F and recall"),
        ({3: {"label": "Anger"}}, "labels that differ only in case or in spaces around them: 'Anger' and 'anger'"),
        ({3: {"label": "anger "}}, "labels that differ only in case or in spaces around them: 'anger' and 'anger '"),
        ({3: {"speaker": "Anna"}}, "speakers that differ only in case or in spaces around them: 'Anna' and 'anna'"),
    ],
)
def test_what_training_and_scores_suffer_from_is_said(
    tmp_path: Path, changes: dict[int, dict[str, str]], remark: str
) -> None:
    spec = write_corpus(tmp_path, [line | changes.get(place, {}) for place, line in enumerate(LINES)])
    report = check([spec])
    assert remark in report.corpora[0].remarks
    assert remark in text_of(report)


def test_pitfall_9_unknown_speakers_are_no_overlap_but_counted(tmp_path: Path) -> None:
    report = check([write_corpus(tmp_path, [LINES[0] | {"speaker": "Unknown"}, *LINES[1:]])])
    overlaps = {(overlap.first, overlap.second): overlap for overlap in report.corpora[0].overlaps}
    assert overlaps["train", "test1"].speakers == ()
    assert overlaps["train", "test1"].of_unknown_speaker == 2
    assert report.sound
    assert "train and test1: utterances by unknown speakers, who may be in both: 2" in text_of(report)


def test_pitfall_9_training_on_one_release_is_held_against_the_tests_of_another(tmp_path: Path) -> None:
    older = write_corpus(tmp_path / "older")
    newer = write_corpus(
        tmp_path / "newer",
        [
            LINE | {"audio": "0.wav", "speaker": "anna", "split": "test1"},
            LINE | {"audio": "7.wav", "speaker": "cleo", "split": "test2", "label": "fear"},
            LINE | {"audio": "1.wav", "speaker": "ben", "split": "train"},
        ],
    )
    report = check([older, newer])
    shared = {(overlap.first, overlap.second): (overlap.names, overlap.speakers) for overlap in report.overlaps}
    assert shared == {
        (f"{older} train", f"{newer} test1"): (("0.wav",), ("anna",)),
        (f"{older} development", f"{newer} test2"): ((), ("cleo",)),
        (f"{newer} train", f"{older} test1"): ((), ()),  # whose only speaker nobody knows
    }
    assert not report.sound
    assert f"{older} train and {newer} test1 share utterances: 1 (0.wav)" in text_of(report)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["train", "development", "test1", "test2"]), st.sampled_from(["1", "2", "3", "Unknown"])
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(deadline=None)
def test_pitfall_9_the_corpus_is_sound_just_where_no_known_speaker_is_trained_on_and_tested(
    turns: list[tuple[str, str]],
) -> None:
    utterances = tuple(
        Utterance(name=f"{number}.wav", audio=Path(), text="so", label="anger", speaker=speaker, split=split)
        for number, (split, speaker) in enumerate(turns)
    )
    reading = Reading(source=Path("labels"), classes=("anger",), utterances=utterances)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checking, "read", lambda _: reading)
        patch.setattr(checking, "read_recording", lambda _: np.linspace(-1, 1, 400))
        report = check(["manifest:any"])
    known = {("test" if split.startswith("test") else split, speaker) for split, speaker in turns} - UNKNOWN
    assert report.sound == (len({speaker for _, speaker in known}) == len(known))


@pytest.mark.parametrize(
    ("specs", "message"),
    [([], "no corpus was given"), (["manifest:a", "manifest:a"], "given twice"), (["manifest"], "names no corpus")],
)
def test_what_cannot_be_checked_is_refused(specs: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(specs)
