"""What a sweep feeds the mixers: features (1, L, D) for a length of audio, the same ones for every mixer.

Never zeros: a GPU multiplies those faster than real data.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from bench.audio import read_recording
from bench.encoders import SpeechEncoder
from bench.speech import crop_or_repeat, frames_of, samples_of
from mixers.errors import UserError

# MSP-Podcast's speaking turns last from 2.75 to 11 s; release 2.0 holds 264,705 in 409 h, which is 5.56 s in the mean.
# A Beta(1.5, 2.9) stretched over that range has that mean and leans to the short side, as the turns do.
SHORTEST_TURN_S = 2.75
LONGEST_TURN_S = 11.0
TURN_SHAPE = (1.5, 2.9)

# Features of one length of encoded speech are 4 L D bytes: 82 MB for 400 s and D = 1024.
KEPT_BYTES = 4 * 2**30


class Input(Protocol):
    """Where the sequences of a sweep come from."""

    @property
    def description(self) -> str:
        """What every record says of it."""

    def features(self, seconds: float) -> Float[Tensor, "1 L D"]:
        """Return the features of so much audio: float32, on the CPU, finite, the same whenever asked.

        Raises:
            UserError: A recording cannot be read, or its features are not finite.
        """


@dataclass(frozen=True, kw_only=True)
class RandomFeatures:
    """Features drawn at random, with unit variance, for utterances as long as MSP-Podcast's.

    Attributes:
        width: Features per frame, D.
        seed: With the length, all that the features depend on.
    """

    width: int
    seed: int

    @property
    def description(self) -> str:
        """What every record says of it."""
        return "random features"

    def features(self, seconds: float) -> Float[Tensor, "1 L D"]:
        """Return an utterance's features, cropped or repeated to so many seconds: float32, on the CPU."""
        samples = samples_of(seconds)
        generator = _generator(self.seed, samples)
        turn = SHORTEST_TURN_S + (LONGEST_TURN_S - SHORTEST_TURN_S) * generator.betavariate(*TURN_SHAPE)
        normal = torch.Generator().manual_seed(generator.getrandbits(63))
        utterance = torch.randn(frames_of(samples_of(turn)), self.width, generator=normal)  # (turn's frames, D)
        return crop_or_repeat(utterance, frames_of(samples), generator=generator).unsqueeze(0)  # (1, L, D)


@dataclass(frozen=True, kw_only=True)
class EncodedSpeech:
    """Real speech through a frozen encoder: for each length one recording, cropped or repeated to it.

    The features of a length are computed once and kept, in the CPU's memory, until 4 GiB are full; those of the lengths
    that come after are computed whenever asked.

    Attributes:
        recordings: Files to choose from, at least one.
        encoder: Makes features of their waveforms.
        seed: With the length, all that the choice and the crop depend on.
    """

    recordings: Sequence[Path]
    encoder: SpeechEncoder
    seed: int
    _kept: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def description(self) -> str:
        """What every record says of it."""
        count = len(self.recordings)
        return f"{count} recording{'s' if count > 1 else ''} through {self.encoder.name}"

    def features(self, seconds: float) -> Float[Tensor, "1 L D"]:
        """Return the features of so many seconds of a recording: float32, on the CPU.

        Raises:
            UserError: The recording cannot be read, or its features are not finite.
            torch.OutOfMemoryError: The encoder has no room for the length.
        """
        samples = samples_of(seconds)
        if samples in self._kept:
            return self._kept[samples]
        features = self._encode(samples)
        if sum(kept.nbytes for kept in self._kept.values()) + features.nbytes <= KEPT_BYTES:
            self._kept[samples] = features
        return features

    def _encode(self, samples: int) -> Float[Tensor, "1 L D"]:
        generator = _generator(self.seed, samples)
        recording = generator.choice(self.recordings)
        waveform = crop_or_repeat(read_recording(recording), samples, generator=generator)  # (samples,)
        features = self.encoder(waveform).cpu()  # (1, L, D)
        if not torch.isfinite(features).all():
            message = f"{self.encoder.name} makes features of {recording} that are not finite"
            raise UserError(message, hint="Encode in float32 or bfloat16, or take the file out of the folder.")
        return features


def _generator(seed: int, samples: int) -> random.Random:
    """Return a generator for one length, independent of which lengths came before."""
    return random.Random(f"{seed}/{samples}")
