"""What a sweep feeds the mixers: features (1, L, D) for a length of audio, the same ones for every mixer.

Never zeros: a GPU multiplies those faster than real data.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from bench.audio import read_recording
from bench.efficiency.settings import RANDOM_INPUT
from bench.encoders import SpeechEncoder
from bench.speech import crop_or_repeat, frames_of, samples_of
from mixers.support.errors import UserError

# MSP-Podcast's speaking turns last from 2.75 to 11 s; release 2.0 holds 264,705 in 409 h, which is 5.56 s in the mean.
# A Beta(1.5, 2.9) stretched over that range has that mean and leans to the short side, as the turns do.
SHORTEST_TURN_S = 2.75
LONGEST_TURN_S = 11.0
TURN_SHAPE = (1.5, 2.9)


class Input(Protocol):
    """Where the sequences of a sweep come from."""

    @property
    def description(self) -> str:
        """What every record says of it."""

    def features(self, seconds: float) -> Float[Tensor, "1 L D"]:
        """Return the features of so much audio: float32, finite, the same whenever asked, on whatever device.

        Raises:
            UserError: A recording cannot be read, or its features are not finite.
        """


@dataclass(frozen=True, kw_only=True)
class RandomFeatures:
    """Features drawn at random, with unit variance, for utterances as long as MSP-Podcast's.

    Attributes:
        width: Features per frame, D.
        seed: With the length, all that the features depend on.
        device: Where they are put together.
    """

    width: int
    seed: int
    device: str = "cpu"

    @property
    def description(self) -> str:
        """What every record says of it."""
        return RANDOM_INPUT

    def features(self, seconds: float) -> Float[Tensor, "1 L D"]:
        """Return an utterance's features, cropped or repeated to so many seconds: float32."""
        samples = samples_of(seconds)
        generator = _generator(self.seed, samples)
        turn = SHORTEST_TURN_S + (LONGEST_TURN_S - SHORTEST_TURN_S) * generator.betavariate(*TURN_SHAPE)
        normal = torch.Generator().manual_seed(generator.getrandbits(63))
        utterance = torch.randn(frames_of(samples_of(turn)), self.width, generator=normal)  # (turn's frames, D)
        utterance = utterance.to(self.device)
        return crop_or_repeat(utterance, frames_of(samples), generator=generator).unsqueeze(0)  # (1, L, D)


@dataclass(frozen=True, kw_only=True)
class EncodedSpeech:
    """Real speech through a frozen encoder: for each length one recording, cropped or repeated to it.

    Attributes:
        recordings: Files to choose from, at least one.
        encoder: Makes features of their waveforms.
        seed: With the length, all that the choice and the crop depend on.
    """

    recordings: Sequence[Path]
    encoder: SpeechEncoder
    seed: int

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
        generator = _generator(self.seed, samples)
        recording = generator.choice(self.recordings)
        waveform = crop_or_repeat(read_recording(recording), samples, generator=generator)  # (samples,)
        features = self.encoder(waveform).cpu()  # (1, L, D)
        if not torch.isfinite(features).all():
            message = f"{self.encoder.name} makes features of {recording} that are not finite"
            raise UserError(message, hint="Encode in float32 or bfloat16, or take the file out of the folder.")
        return features


@dataclass(frozen=True, kw_only=True)
class StoredFeatures:
    """Features that lie in a folder, where `store` put them.

    Attributes:
        folder: Where they lie.
        description: What every record says of them.
    """

    folder: Path
    description: str

    def features(self, seconds: float) -> Float[Tensor, "1 L D"]:
        """Return the features of so much audio: float32, on the CPU.

        Raises:
            RuntimeError: They could not be made, for instance because the GPU's memory ran out.
        """
        stored: Tensor | str = torch.load(stored_at(self.folder, seconds))
        if isinstance(stored, str):
            raise RuntimeError(stored)
        return stored


def store(lengths: Sequence[float], *, make: Callable[[], Input], folder: Path) -> Iterator[str]:
    """Store the features of an input, each length in a file, so that its encoder need not be there later.

    Args:
        lengths: Seconds.
        make: Makes the input.
        folder: Where `StoredFeatures` finds them; in place of features that do not fit in memory it says so.

    Yields:
        The input's description, for each length once it is stored.

    Raises:
        UserError: The input cannot be made, or a recording cannot be read.
    """
    source = make()
    for seconds in lengths:
        try:
            features: Tensor | str = source.features(seconds)
        except torch.OutOfMemoryError as error:
            features = f"the encoder ran out of memory: {error}"
        torch.save(features, stored_at(folder, seconds))
        yield source.description


def stored_at(folder: Path, seconds: float) -> Path:
    """Return the file of one length."""
    return folder / f"{samples_of(seconds)}.pt"


def _generator(seed: int, samples: int) -> random.Random:
    """Return a generator for one length, independent of which lengths came before."""
    return random.Random(f"{seed}/{samples}")
