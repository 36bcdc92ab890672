"""What all recordings of a split show: the scale of the waveforms, and the lengths."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from bench.accuracy.corpora.base import Utterance
from bench.accuracy.run import WaveformScale
from bench.audio import read_recording, samples_at_16_khz
from mixers.support.errors import UserError

Result = TypeVar("Result")


def waveform_scale(utterances: Sequence[Utterance]) -> WaveformScale:
    """Return mean and deviation over all samples of the training set.

    Raises:
        UserError: A file cannot be read, or all are silent.
    """
    count, total, squares = (sum(column) for column in zip(*_of_each(utterances, _sums), strict=True))
    mean = total / count
    variance = squares / count - mean**2
    if not variance > 0:
        raise UserError("the training set is silent", hint="Check it with `sbench corpus`.")
    return WaveformScale(mean=mean, deviation=variance**0.5)


def lengths_of(utterances: Sequence[Utterance]) -> list[int]:
    """Return the samples of each recording at 16 kHz, as its header states; 0 if it cannot be read."""
    return _of_each(utterances, samples_at_16_khz)


def _sums(path: Path) -> tuple[int, float, float]:
    """Return the number of samples, their sum and the sum of their squares."""
    waveform = read_recording(path).double()
    return waveform.numel(), float(waveform.sum()), float(waveform.square().sum())


def _of_each(utterances: Sequence[Utterance], read: Callable[[Path], Result]) -> list[Result]:
    """Return what a function makes of each recording, in order."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(read, [each.audio for each in utterances]))
