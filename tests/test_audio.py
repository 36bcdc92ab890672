"""Recordings found, checked and read, on files made here."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from bench.audio import check_recordings, find_recordings, read_recording
from mixers.support.errors import UserError

LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * "0" + "\nsize 12345\n"


def tone(*, seconds: float = 1.0, rate: int = 16_000, hertz: float = 440.0) -> NDArray[np.float32]:
    phase = 2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate
    return (np.sin(phase) / 2).astype(np.float32)


def write(path: Path, samples: NDArray[np.float32], *, rate: int = 16_000, subtype: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def test_recordings_are_found_in_any_subfolder_and_letter_case(tmp_path: Path) -> None:
    expected = [write(tmp_path / name, tone()) for name in ("b/a.FLAC", "b/c/d.wav", "e.Wav")]
    (tmp_path / "labels.csv").write_text("e.Wav,anger\n")
    (tmp_path / "f.wav").mkdir()
    assert find_recordings(tmp_path) == expected
    check_recordings(expected)


def test_a_link_to_nothing_is_not_skipped(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone())
    (tmp_path / "b.wav").symlink_to(tmp_path / "gone.wav")
    with pytest.raises(UserError, match=r"b\.wav cannot be read: No such file or directory"):
        check_recordings(find_recordings(tmp_path))


def test_a_missing_folder_a_file_and_an_empty_folder_are_told_apart(tmp_path: Path) -> None:
    file = write(tmp_path / "audio" / "a.wav", tone())
    (tmp_path / "empty").mkdir()
    for path, message in [
        (tmp_path / "gone", "no such folder: .*gone"),
        (file, "a.wav is not a folder"),
        (tmp_path / "empty", "empty holds no wav or flac file"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            find_recordings(path)
        assert caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone())
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(UserError, match=r"locked cannot be listed"):
        find_recordings(tmp_path)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_any_rate_becomes_16_khz(tmp_path: Path, rate: int, ending: str) -> None:
    waveform = read_recording(write(tmp_path / f"a.{ending}", tone(rate=rate), rate=rate))
    assert waveform.dtype == torch.float32
    assert abs(waveform.shape[0] - 16_000) <= 1
    middle = slice(2_000, 14_000)  # a resampler rings at the ends
    assert torch.allclose(waveform[middle], torch.from_numpy(tone())[middle], atol=5e-3)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(hertz=300), tone(hertz=700)
    waveform = read_recording(write(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="FLOAT"))
    assert torch.equal(waveform, torch.from_numpy((left + right) / 2))


def test_a_recording_longer_than_one_block_is_read_whole(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 2**20 + 5).astype(np.float32)
    waveform = read_recording(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert torch.equal(waveform, torch.from_numpy(samples))


def cut(path: Path) -> None:
    write(path, np.random.default_rng(0).uniform(-1, 1, 16_000).astype(np.float32))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("b.wav", lambda path: path.write_bytes(b"no audio at all"), "cannot be decoded: Format not recognised"),
        ("b.wav", lambda path: path.write_bytes(b""), "is empty"),
        ("b.flac", cut, "cannot be decoded: .*lost sync"),
        ("b.wav", cut, "ends before the length that its header states"),
        ("b.wav", lambda path: write(path, tone()[:1]), r"is shorter than an encoder's frame \(25 ms\)"),
        ("b.wav", lambda path: write(path, tone()[:1102], rate=44_100), r"is shorter than an encoder's frame"),
        ("b.wav", lambda path: write(path, tone()[:0]), "is empty"),
        ("b.wav", lambda path: write(path, np.array([0, np.nan], np.float32), subtype="FLOAT"), "not finite"),
        ("b.wav", lambda path: write(path, np.array([0, np.inf], np.float32), subtype="FLOAT"), "not finite"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, spoil: Callable[[Path], object], message: str) -> None:
    write(tmp_path / "a.wav", tone())
    spoil(tmp_path / name)
    for read in (lambda: check_recordings(find_recordings(tmp_path)), lambda: read_recording(tmp_path / name)):
        with pytest.raises(UserError, match=f"{name} .*{message}") as caught:
            read()
        assert caught.value.hint
        assert "\n" not in str(caught.value)


def test_a_git_lfs_pointer_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text(LFS_POINTER)
    with pytest.raises(UserError, match=r"a\.wav cannot be decoded") as caught:
        check_recordings(find_recordings(tmp_path))
    assert "git lfs pull" in caught.value.hint


def test_one_frame_is_enough(tmp_path: Path) -> None:
    for rate in (8_000, 16_000, 44_100, 96_000):
        path = write(tmp_path / f"{rate}.wav", tone(rate=rate)[: -(-rate * 400 // 16_000)], rate=rate)
        check_recordings([path])
        assert read_recording(path).shape[0] >= 400
