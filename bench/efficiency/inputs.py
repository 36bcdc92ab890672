"""The input of a sweep: features (1, L, D) for a length of audio, the same for every mixer; waveforms for encoders.

They are never zeros, which a GPU multiplies faster than real data.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from bench.audio import check_recordings, find_recordings
from bench.efficiency import isolation
from bench.efficiency.settings import RANDOM_INPUT, Plan
from bench.efficiency.waveforms import Waveforms, generator_of, recorded
from bench.encoders import SpeechEncoder, load_encoder
from bench.speech import crop_or_repeat, frames_of, samples_of
from mixers.support.errors import UserError
from mixers.support.precision import DTYPES

# MSP-Podcast's speaking turns last from 2.75 to 11 s; release 2.0 holds 264,705 in 409 h, 5.56 s on average.
# A Beta(1.5, 2.9) stretched over that range has that mean and favours short turns, as the corpus does.
SHORTEST_TURN_S = 2.75
LONGEST_TURN_S = 11.0
TURN_SHAPE = (1.5, 2.9)

_ENCODING_LIMIT_S = 1800.0  # for one length


class Input(Protocol):
    """Where the sequences of a sweep come from."""

    @property
    def description(self) -> str:
        """As every record writes it."""

    def features(self, seconds: float) -> Float[Tensor, "1 L D"]:
        """Return the features of this much audio: float32, finite, the same at every call, on any device.

        Raises:
            UserError: A recording cannot be read, or its features are not finite.
        """


@dataclass(frozen=True, kw_only=True)
class RandomFeatures:
    """Features drawn at random, with unit variance, for utterances as long as MSP-Podcast's.

    Attributes:
        width: Features per frame, D.
        seed: The features depend on it and on the length alone.
        device: Where they are put together.
    """

    width: int
    seed: int
    device: str = "cpu"

    @property
    def description(self) -> str:
        """As every record writes it."""
        return RANDOM_INPUT

    def features(self, seconds: float) -> Float[Tensor, "1 L D"]:
        """Return an utterance's features, cropped or repeated to this length: float32."""
        samples = samples_of(seconds)
        generator = generator_of(self.seed, samples)
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
        seed: Choice and crop depend on it and on the length alone.
    """

    recordings: Sequence[Path]
    encoder: SpeechEncoder
    seed: int

    @property
    def description(self) -> str:
        """As every record writes it."""
        count = len(self.recordings)
        return f"{count} recording{'s' if count > 1 else ''} through {self.encoder.name}"

    def features(self, seconds: float) -> Float[Tensor, "1 L D"]:
        """Return the features of a recording at this length: float32, on the CPU.

        There are as many frames as wav2vec 2.0's family makes, so that every input of a sweep is equally long. Whisper
        can make one more, which is left out.

        Raises:
            UserError: The recording cannot be read, or its features are not finite.
            torch.OutOfMemoryError: The encoder has no room for the length.
        """
        samples = samples_of(seconds)
        generator = generator_of(self.seed, samples)
        recording, waveform = recorded(self.recordings, samples, generator=generator)  # (samples,)
        features = self.encoder(waveform)[:, : frames_of(samples)].cpu()  # (1, L, D)
        if not torch.isfinite(features).all():
            message = f"{self.encoder.name} makes features of {recording} that are not finite"
            raise UserError(message, hint="Encode in float32 or bfloat16, or remove the file from the folder.")
        return features


@dataclass(frozen=True, kw_only=True)
class StoredFeatures:
    """Features in a folder, where `store` wrote them.

    Attributes:
        folder: Where they are.
        description: As every record writes it.
    """

    folder: Path
    description: str

    def features(self, seconds: float) -> Float[Tensor, "1 L D"]:
        """Return the features of this much audio: float32, on the CPU.

        Raises:
            RuntimeError: They could not be made, for instance because the GPU ran out of memory.
        """
        stored: Tensor | str = torch.load(stored_at(self.folder, seconds))
        if isinstance(stored, str):
            raise RuntimeError(stored)
        return stored


def prepare(plan: Plan, scratch: Path) -> Mapping[int | None, RandomFeatures | StoredFeatures | Waveforms]:
    """Return the input of a sweep for each `Setting.input_width`. With recordings features have only one.

    Recordings are encoded at all lengths here, in a process of its own, so that the encoder costs neither time nor
    memory while the mixers are measured.

    Args:
        plan: What is to be measured.
        scratch: An empty folder for the features.

    Raises:
        UserError: The recordings or the encoder are missing, or a recording cannot be read.
    """
    if plan.audio is None:
        return {
            None: Waveforms(seed=plan.seed),
            **{w: RandomFeatures(width=w, seed=plan.seed, device=plan.device_type) for w in plan.widths},
        }
    description = ""
    encoding = isolation.run(
        partial(store, make=partial(_encoded_speech, plan), folder=scratch), plan.seconds, limit_s=_ENCODING_LIMIT_S
    )
    for seconds, outcome in zip(plan.seconds, encoding, strict=True):
        if isinstance(outcome, isolation.Death):
            torch.save(f"the encoder failed: {outcome.reason}", stored_at(scratch, seconds))
        else:
            description = outcome
    (width,) = plan.widths
    description = description or f"{plan.audio} through {plan.encoder}"
    waveforms = Waveforms(recordings=tuple(find_recordings(Path(plan.audio))), seed=plan.seed)
    return {None: waveforms, width: StoredFeatures(folder=scratch, description=description)}


def _encoded_speech(plan: Plan) -> EncodedSpeech:
    assert plan.audio is not None
    assert plan.encoder is not None
    precisions = {contestant.setting.precision for contestant in plan.contestants}
    recordings = find_recordings(Path(plan.audio))
    check_recordings(recordings)
    (width,) = plan.widths
    encoder = load_encoder(
        plan.encoder,
        width=width,
        device=plan.device_type,
        dtype=DTYPES[precisions.pop() if len(precisions) == 1 else "float32"],
        seed=plan.seed,
    )
    return EncodedSpeech(recordings=recordings, encoder=encoder, seed=plan.seed)


def store(lengths: Sequence[float], *, make: Callable[[], Input], folder: Path) -> Iterator[str]:
    """Store the features of an input, one file for each length, so that its encoder can be removed from memory.

    Args:
        lengths: Seconds.
        make: Makes the input.
        folder: Where `StoredFeatures` finds them. Instead of features that do not fit in memory, the error is stored.

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
