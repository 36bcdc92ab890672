"""Waveforms for a length of audio: what encoders hear in a sweep."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from bench.audio import read_recording
from bench.speech import crop_or_repeat, samples_of

_LOUDNESS = 0.1  # of random waveforms, about that of speech at full scale 1


@dataclass(frozen=True, kw_only=True)
class Waveforms:
    """The waveform of each length: of a recording, cropped or repeated, or noise.

    Attributes:
        recordings: Files to choose from; none for noise.
        seed: Choice, crop and noise depend on it and on the length alone.
    """

    recordings: tuple[Path, ...] = ()
    seed: int

    @property
    def description(self) -> str:
        """As every record writes it."""
        count = len(self.recordings)
        return f"{count} recording{'s' if count > 1 else ''}" if count else "random waveforms"

    def waveform(self, seconds: float) -> Float[Tensor, " samples"]:
        """Return a waveform at 16 kHz: float32, on the CPU.

        Raises:
            UserError: The recording cannot be read.
        """
        samples = samples_of(seconds)
        generator = generator_of(self.seed, samples)
        if self.recordings:
            return recorded(self.recordings, samples, generator=generator)[1]
        normal = torch.Generator().manual_seed(generator.getrandbits(63))
        return _LOUDNESS * torch.randn(samples, generator=normal)


def recorded(
    recordings: Sequence[Path], samples: int, *, generator: random.Random
) -> tuple[Path, Float[Tensor, " samples"]]:
    """Choose a recording, and return it with its waveform, cropped or repeated to a length.

    Raises:
        UserError: The recording cannot be read.
    """
    recording = generator.choice(recordings)
    return recording, crop_or_repeat(read_recording(recording), samples, generator=generator)


def generator_of(seed: int, samples: int) -> random.Random:
    """Return a generator for one length, whatever lengths came before."""
    return random.Random(f"{seed}/{samples}")
