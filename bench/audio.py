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
        UserError: One cannot be used, as in `read_recording`; the first such is named.
    """
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(_check, recordings):
            pass


def read_recording(path: Path) -> Float[Tensor, " samples"]:
    """Read a recording as a waveform at 16 kHz: channels averaged, resampled, float32 with full scale at 1.

    Raises:
        UserError: It cannot be decoded, is cut off, is shorter than an encoder's frame or holds samples that are not
            finite.
    """
    blocks = [(block.mean(axis=1), rate) for block, rate in _blocks(path)]
    waveform = np.concatenate([block for block, _ in blocks])  # (samples,), at the file's own rate
    return torch.from_numpy(soxr.resample(waveform, blocks[0][1], SAMPLE_RATE))  # (samples,), at 16 kHz


def samples_at_16_khz(path: Path) -> int:
    """Return how many samples a recording has at 16 kHz at most, as its header states; 0 if it cannot be read."""
    try:
        header = soundfile.info(path)
    except soundfile.LibsndfileError:
        return 0
    samples: int = math.ceil(header.frames * SAMPLE_RATE / header.samplerate)
    return samples


def _check(path: Path) -> None:
    for _ in _blocks(path):
        pass


def _blocks(path: Path) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Decode a recording in blocks (samples, channels) with its rate, so that a long one does not fill the memory."""
    samples = 0
    try:
        with soundfile.SoundFile(path) as file:
            if _is_cut_off(path):
                reason = "ends before the length that its header states"
                raise UserError(f"{path} {reason}", hint="Copy the file again, or remove it.")
            for block in file.blocks(blocksize=_BLOCK_SAMPLES, dtype="float32", always_2d=True):
                if not np.isfinite(block).all():
                    raise _bad(path, "holds samples that are not finite")
                samples += len(block)
                yield block, file.samplerate
            rate = file.samplerate
    except soundfile.LibsndfileError as error:
        raise _undecodable(path, error.error_string.rstrip(".")) from None
    if samples == 0:
        raise _bad(path, "is empty")
    if samples * SAMPLE_RATE < FRAME_SAMPLES * rate:
        raise _bad(path, f"is shorter than an encoder's frame ({1000 * FRAME_SAMPLES / SAMPLE_RATE:g} ms)")


def _is_cut_off(path: Path) -> bool:
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


def _undecodable(path: Path, reason: str) -> UserError:
    """Return the error for a file that is no audio, with the reason if it is known better than to a decoder."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
    except OSError as error:
        return UserError(f"{path} cannot be read: {error.strerror}", hint="Give a wav or flac file that exists.")
    if start == _LFS_POINTER:
        hint = "It is a Git LFS pointer, not audio: run `git lfs pull` in its repository."
        return UserError(f"{path} cannot be decoded", hint=hint)
    return _bad(path, f"cannot be decoded: {reason}" if start else "is empty")


def _bad(path: Path, reason: str) -> UserError:
    return UserError(f"{path} {reason}", hint="Repair the file or remove it.")
