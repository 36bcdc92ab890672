"""What a training run is: its model, data and schedule, and the run.json that holds them. Imports no torch.

A run's folder:

run.json                                  what is trained and how; written once
metrics.jsonl, tensorboard/               losses and scores, written during training
<mixer>-<seed>/best.safetensors           the weights with the best development macro-F; best.json says which epoch
checkpoint-<epoch>-<step>/, state.json    what resuming needs; state.json names the complete checkpoint
evaluation/<split>/                       predictions and scores, written by `sbench evaluate`
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from bench.accuracy.parts import FORMER_PARTS, Layer
from bench.files import make
from bench.validation import STRICT, check_counts, check_distinct, check_positive, first_fault, parse
from mixers.support.errors import UserError, choose
from mixers.support.plugins import Plugin

RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"
VERSION = 2

Preset = Literal["matched", "conformer", "released"]
PRESETS: tuple[Preset, ...] = get_args(Preset)

_FORMER_PRESETS = {"paper": "matched"}  # names in earlier runs and commands

Direction = Literal["causal", "alternating", "both", "paper"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

_DEFAULT_DIRECTIONS: dict[Preset, Direction] = {
    "matched": "alternating",
    "conformer": "alternating",
    "released": "paper",
}
_FORMER_DIRECTION: Direction = "paper"  # of earlier runs, which name none

# What a frame sees in each direction: in softmax attention, and in the mixers that are causal themselves.
SEEN: dict[Direction, tuple[str, str]] = {
    "causal": ("itself and the past", "itself and the past"),
    "alternating": ("everything", "everything after two blocks, one forward in time and one backward"),
    "both": ("everything", "everything, since each block averages a run forward in time and one backward"),
    "paper": ("everything", "itself and the past"),
}

_HINT = "Give a folder that `sbench train` made."


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What a classifier is built from.

    Attributes:
        mixer: One of `mixers.names`, or two for a hybrid: ``kda+sa``.
        implementation: One of its implementations.
        preset: ``matched``, ``conformer`` or ``released``.
        width: D, the width of both encoders' features.
        num_classes: C.
        speech_layers: Z, the number of hidden layers of the speech encoder.
        layer: The layer of the speech encoder: its number, ``last``, or ``weighted``, a trained sum of all.
        stream_norms: Whether speech and text pass a trained layer norm each.
        classifier_layers: Hidden layers of the classifier.
        direction: Which frames a frame may see: one of `DIRECTIONS`. It changes no weight.
    """

    mixer: str
    implementation: str
    preset: Preset
    width: int
    num_classes: int
    speech_layers: int
    layer: Layer
    stream_norms: bool
    classifier_layers: int
    direction: Direction


@dataclass(frozen=True, kw_only=True)
class WaveformScale:
    """What scales waveforms to zero mean and unit variance, computed once on the training set.

    Attributes:
        mean, deviation: Over all samples of all training utterances. Full scale is 1.
    """

    __pydantic_config__ = STRICT

    mean: float
    deviation: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is trained, and how.

    Attributes:
        corpus: Its specification: ``msp-podcast:/data/MSP-Podcast-2.0``.
        classes: In the order of the logits.
        speech, text: Names of the encoders; text is None for speech alone.
        preset: The preset of the model: ``matched``, ``conformer`` or ``released``.
        direction: Which frames a frame may see, for all mixers: one of `DIRECTIONS`.
        mixers: With their implementations: ``sa/sdpa``.
        seeds: Each mixer is trained with each.
        data_seed: Seed of crops and order.
        shared_data: Whether all seeds learn from the same crops in the same order. Otherwise each seed draws its own,
            and its mixers share them.
        epochs: Passes through the training set.
        batch: Utterances in one step, over all processes.
        learning_rate: At the beginning; in ``one-cycle`` the highest.
        schedule: ``plateau``: halved after epochs without a better development score. ``one-cycle``: it rises, then
            falls to almost 0.
        crop_seconds: Length of a training utterance; None for whole recordings.
        precision: ``bfloat16`` or ``float32``.
        missing_text: How a missing transcript is treated: ``error`` or ``empty``.
        width: D of the encoders.
        speech_layers: Z of the speech encoder.
        layer, stream_norms, classifier_layers: As in `ModelConfig`.
        class_weights: Whether the loss weights the classes by inverse frequency.
        scale: Mean and deviation of the training waveforms; None if each waveform is normalised by itself, or, before
            Whisper, not at all.
        utterances: A digest of the training and development utterances, which must stay the same.
        parameters: The number of trainable parameters of each mixer's model.
        demo: Whether this is a demonstration; every output then says so.
        plugins: Where the mixers of third parties came from.
    """

    __pydantic_config__ = STRICT

    corpus: str
    classes: tuple[str, ...]
    speech: str
    text: str | None
    preset: Preset
    direction: Direction
    mixers: tuple[str, ...]
    seeds: tuple[int, ...]
    data_seed: int
    shared_data: bool
    epochs: int
    batch: int
    learning_rate: float
    schedule: Literal["plateau", "one-cycle"]
    crop_seconds: float | None
    precision: Literal["bfloat16", "float32"]
    missing_text: Literal["error", "empty"]
    width: int
    speech_layers: int
    layer: Layer
    stream_norms: bool
    classifier_layers: int
    class_weights: bool
    scale: WaveformScale | None
    utterances: str
    parameters: dict[str, int]
    demo: bool
    plugins: tuple[Plugin, ...] = ()

    def __post_init__(self) -> None:
        check_counts(self, "epochs", "batch", "width", "speech_layers", "classifier_layers")
        check_distinct(self, "classes", "mixers", "seeds")
        check_positive(self, "learning_rate", "crop_seconds")

    def learners(self) -> tuple[str, ...]:
        """Return the name of each classifier: ``kda-0``."""
        return tuple(f"{config.mixer}-{seed}" for config, seed in self.models())

    def models(self) -> Iterator[tuple[ModelConfig, int]]:
        """Yield the configuration and the seed of each classifier."""
        for name in self.mixers:
            mixer, _, implementation = name.partition("/")
            config = ModelConfig(
                mixer=mixer,
                implementation=implementation,
                preset=self.preset,
                width=self.width,
                num_classes=len(self.classes),
                speech_layers=self.speech_layers,
                layer=self.layer,
                stream_norms=self.stream_norms,
                classifier_layers=self.classifier_layers,
                direction=self.direction,
            )
            yield from ((config, seed) for seed in self.seeds)


def choose_preset(name: str) -> Preset:
    """Return the preset of this name; ``paper``, the former name of ``matched``, is also accepted.

    Raises:
        UserError: There is no such preset.
    """
    name = _FORMER_PRESETS.get(name, name)
    return choose("preset", name, PRESETS)


def choose_direction(name: str | None, preset: Preset) -> Direction:
    """Return the direction of this name; None for the default of the preset.

    Raises:
        UserError: There is no such direction.
    """
    if name is None:
        return _DEFAULT_DIRECTIONS[preset]
    return choose("direction", name, DIRECTIONS)


def start(run: Run, folder: Path) -> None:
    """Make the folder of a new run.

    Raises:
        UserError: It exists or cannot be written.
    """
    fields = dataclasses.asdict(run)
    fields |= {
        "version": VERSION,
        "encoders": {"speech": fields.pop("speech"), "text": fields.pop("text")},
        "implementations": {name.partition("/")[0]: name.partition("/")[2] for name in run.mixers},
        "mixers": [name.partition("/")[0] for name in run.mixers],
    }
    make(folder, file=RUN_FILE, content=f"{json.dumps(fields, indent=1)}\n")


def read(folder: Path) -> Run:
    """Return the run of a folder.

    Raises:
        UserError: There is no run.json, it is damaged, or it is of another version.
    """
    path = folder / RUN_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{folder} is no run: it has no {RUN_FILE}", hint=_HINT) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from None
    try:
        version = parse(_Version, text).version
        if version == VERSION:
            return _run(text)
    except ValueError as error:
        hint = "Restore this file from a copy of the folder. Without it the run cannot be used: train it again."
        raise UserError(f"{path} is damaged: {first_fault(error)}", hint=hint) from None
    hint = "Use the sbench version that trained it, or train it again."
    raise UserError(f"{folder} is a run of version {version}, this sbench reads {VERSION}", hint=hint)


@dataclass(frozen=True, kw_only=True)
class _Version:
    """The part of run.json that every version has."""

    version: int


@dataclass(frozen=True, kw_only=True)
class _Encoders:
    __pydantic_config__ = STRICT

    speech: str
    text: str | None


@dataclass(frozen=True, kw_only=True)
class _Names:
    """The parts of run.json that `Run` holds in another form."""

    preset: str
    mixers: tuple[str, ...]
    implementations: dict[str, str]
    encoders: _Encoders


def _run(text: bytes) -> Run:
    """Return the run that a run.json describes.

    Raises:
        ValueError: A field is missing, unknown or of the wrong type.
    """
    names = parse(_Names, text)
    if names.implementations.keys() != set(names.mixers):
        raise ValueError("mixers and implementations differ")
    fields = parse(dict[str, Any], text)
    for key in ("version", "implementations", "encoders"):
        del fields[key]
    preset = _FORMER_PRESETS.get(names.preset, names.preset)
    fields = FORMER_PARTS.get(preset, {}) | fields
    fields |= {
        **dataclasses.asdict(names.encoders),
        "preset": preset,
        "direction": fields.get("direction", _FORMER_DIRECTION),
        "schedule": fields.get("schedule", "plateau"),
        "shared_data": fields.get("shared_data", True),  # as earlier runs did
        "mixers": [f"{name}/{names.implementations[name]}" for name in names.mixers],
    }
    return parse(Run, json.dumps(fields))
