"""Recordings on disk: finding them, checking them, reading them as mono waveforms at 16 kHz."""

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np
import soundfile
import soxr
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from bench.speech import FRAME_SAMPLES, SAMPLE_RATE
from mixers.support.errors import UserError

SUFFIXES = (".wav", ".flac")

_BLOCK_SAMPLES = 2**20

_NO_LENGTH = 0x7FFFF000  # bytes; programs that write a stream of unknown length (SoX, eSpeak) state this or more

# The first line of the pointer that a clone without Git LFS holds in place of a file (specification, version 1).
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def find_recordings(folder: Path) -> list[Path]:
    """Return the wav and flac files of a folder and its subfolders, sorted. Links to folders are not followed.

    Raises:
        UserError: The folder is missing, is a file, cannot be listed or holds no recording.
    """
    hint = "Give a folder with wav or flac files in it or in its subfolders."
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder" if folder.exists() else f"no such folder: {folder}", hint=hint)

    def refuse(error: OSError) -> NoReturn:
        raise UserError(f"{error.filename} cannot be listed: {error.strerror}", hint=hint)

    names = (Path(parent, name) for parent, _, files in os.walk(folder, onerror=refuse) for name in files)
    recordings = sorted(path for path in names if path.suffix.lower() in SUFFIXES)
    if not recordings:
        raise UserError(f"{folder} holds no wav or flac file", hint=hint)
    return recordings


def check_recordings(recordings: Sequence[Path]) -> None:
    """Decode every recording once, to name a bad one before anything is measured.

    A header shows neither a truncated flac nor a NaN, so the samples are read too, but not kept or resampled. 1000
    utterances of 5.5 s took 0.9 s on two cores.

    Raises:
        UserError: One cannot be decoded, is empty or holds samples that are not finite; the first such is named.
    """
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(_check, recordings):
            pass


def read_recording(path: Path) -> Float[Tensor, " samples"]:
    """Read a recording as a waveform at 16 kHz: channels averaged, resampled, float32 with full scale at 1.

    Raises:
        UserError: It cannot be decoded, is empty or holds samples that are not finite.
    """
    waveform = np.concatenate([block.mean(axis=1) for block in _blocks(path)])  # (samples,), at the file's own rate
    waveform = soxr.resample(waveform, soundfile.info(path).samplerate, SAMPLE_RATE)  # (samples,), at 16 kHz
    if waveform.size == 0:
        raise _bad(path, "holds less than one sample at 16 kHz")
    return torch.from_numpy(waveform)


def read_encodable(path: Path) -> Float[Tensor, " samples"]:
    """Read a recording like `read_recording`, and refuse one that is shorter than an encoder's frame.

    Raises:
        UserError: It cannot be read, or is shorter than a frame.
    """
    waveform = read_recording(path)
    if waveform.shape[0] < FRAME_SAMPLES:
        raise _bad(path, f"is shorter than an encoder's frame ({1000 * FRAME_SAMPLES / SAMPLE_RATE:g} ms)")
    return waveform


def samples_at_16_khz(path: Path) -> int:
    """Return how many samples a recording has at 16 kHz at most, as its header states; 0 if it cannot be read."""
    try:
        header = soundfile.info(path)
    except soundfile.LibsndfileError:
        return 0
    samples: int = math.ceil(header.frames * SAMPLE_RATE / header.samplerate)
    return samples


def is_cut_off(path: Path) -> bool:
    """Tell whether a wav file is shorter than its header states, as after an incomplete copy.

    Decoders read what is there without an error. Other formats, and streams of unknown length, are not cut off.
    """
    with path.open("rb") as file:
        if file.read(4) != b"RIFF":
            return False
        file.seek(12)
        while len(header := file.read(8)) == 8:
            size = int.from_bytes(header[4:], "little")
            if header[:4] == b"data":
                return size < _NO_LENGTH and file.tell() + size > path.stat().st_size
            file.seek(size + size % 2, os.SEEK_CUR)
    return False


def _check(path: Path) -> None:
    for _ in _blocks(path):
        pass


def _blocks(path: Path) -> Iterator[NDArray[np.float32]]:
    """Decode a recording in blocks (samples, channels), so that a long one does not fill the memory."""
    empty = True
    try:
        for block in soundfile.blocks(path, blocksize=_BLOCK_SAMPLES, dtype="float32", always_2d=True):
            if not np.isfinite(block).all():
                raise _bad(path, "holds samples that are not finite")
            empty = False
            yield block
    except soundfile.LibsndfileError as error:
        if _is_lfs_pointer(path):
            hint = "It is a Git LFS pointer, not audio: run `git lfs pull` in its repository."
            raise UserError(f"{path} cannot be decoded", hint=hint) from None
        raise _bad(path, f"cannot be decoded: {error.error_string.rstrip('.')}") from None
    if empty:
        raise _bad(path, "is empty")


def _bad(path: Path, reason: str) -> UserError:
    return UserError(f"{path} {reason}", hint="Repair the file or remove it from the folder.")


def _is_lfs_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_LFS_POINTER)) == _LFS_POINTER
    except OSError:
        return False
