"""Seconds, samples and frames of speech, and how an utterance is cropped or repeated. Imports no torch.

A frame of a speech encoder of wav2vec 2.0's family (XLS-R, WavLM, HuBERT) covers 400 samples (25 ms). The next frame
starts 320 samples (20 ms) later. So 10 s of audio are 499 frames.
"""

import itertools
import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mixers.support.errors import UserError

if TYPE_CHECKING:
    import torch

SAMPLE_RATE = 16_000

# Receptive field and stride of the convolutions before the encoder (Baevski et al., wav2vec 2.0, 2020, section 4.2).
FRAME_SAMPLES = 400
HOP_SAMPLES = 320


def samples_of(seconds: float) -> int:
    """Return the number of samples at 16 kHz in this time, rounded to the nearest."""
    return round(seconds * SAMPLE_RATE)


def frames_of(samples: int) -> int:
    """Return the frames L of a waveform: floor((samples - 400) / 320) + 1, or 0 below 400 samples."""
    return (samples - FRAME_SAMPLES) // HOP_SAMPLES + 1 if samples >= FRAME_SAMPLES else 0


def cut_into_windows(samples: int, window: int | None) -> list[range]:
    """Return the windows that cover a waveform, each sample once and in order.

    The last window is shorter where the length is no multiple. What is left of less than a frame gives no frame of its
    own, so it stays with the window before it.

    Args:
        samples: Length of the waveform, at least a frame.
        window: Samples of a window, at least a frame; None for one piece.
    """
    if window is None:
        return [range(samples)]
    starts = list(range(0, samples, window))
    if len(starts) > 1 and samples - starts[-1] < FRAME_SAMPLES:
        starts.pop()
    return [range(start, stop) for start, stop in itertools.pairwise([*starts, samples])]


def crop_or_repeat(sequence: "torch.Tensor", length: int, *, generator: random.Random) -> "torch.Tensor":
    """Bring a sequence to a length. A longer one is cropped at a random place, a shorter one is repeated.

    Args:
        sequence: A waveform (samples,) or frames (L, D), not empty. The first axis is time.
        length: Samples or frames wanted.
        generator: Draws where the crop starts, uniformly. A repetition draws nothing.

    Returns:
        The same axes, the first one of size `length`. A crop shares the memory of `sequence`.
    """
    surplus = sequence.shape[0] - length
    if surplus >= 0:
        start = generator.randrange(surplus + 1)
        return sequence[start : start + length]
    repetitions = math.ceil(length / sequence.shape[0])
    return sequence.repeat(repetitions, *(1 for _ in sequence.shape[1:]))[:length]


def check_crop(seconds: float, *, longest: float = 1000.0) -> None:
    """Check the length of a training utterance.

    Args:
        seconds: The length.
        longest: What it may be at most.

    Raises:
        UserError: It is not finite, shorter than one frame or longer than that.
    """
    shortest = FRAME_SAMPLES / SAMPLE_RATE
    if not shortest <= seconds <= longest:  # this also refuses NaN
        message = f"--crop {seconds:g} is no length of a training utterance"
        raise UserError(message, hint=f"Give seconds from {shortest:g} to {longest:g}, such as 5.5.")


def check_seconds(lengths: Sequence[float]) -> None:
    """Check the lengths of audio of a sweep.

    Args:
        lengths: Seconds.

    Raises:
        UserError: There is none, one is not finite or shorter than one frame, or they do not rise.
    """
    hint = "Give rising lengths in seconds, for instance 10, 20 and 40."
    if not lengths:
        raise UserError("no length of audio was given", hint=hint)
    for seconds in lengths:
        if not math.isfinite(seconds):
            raise UserError(f"a length of audio must be a finite number of seconds, not {seconds}", hint=hint)
        if frames_of(samples_of(seconds)) < 1:
            shortest = FRAME_SAMPLES / SAMPLE_RATE
            raise UserError(f"{seconds:g} s of audio are less than one frame ({shortest:g} s)", hint=hint)
    for shorter, longer in itertools.pairwise(lengths):
        if longer <= shorter:
            raise UserError(f"the lengths of audio do not rise: {longer:g} s follows {shorter:g} s", hint=hint)
