"""The folder of a run: what is trained and how, what it has come to, and what was left when it was interrupted.

run.json                                  what this is; written once
metrics.jsonl, tensorboard/               losses and scores, as they come
<mixer>-<seed>/best.safetensors           the weights with the best development macro-F, and best.json
checkpoint-<epoch>-<step>/, state.json    all that going on needs; state.json names the folder that is whole
evaluation/<split>/                       predictions and scores, by `sbench evaluate`
"""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.files import make, write_atomically
from mixers.support.errors import UserError

RUN_FILE = "run.json"
STATE_FILE = "state.json"
METRICS_FILE = "metrics.jsonl"
VERSION = 2


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What a classifier is built from.

    Attributes:
        mixer: One of `mixers.names`.
        implementation: One of its implementations.
        preset: ``paper`` or ``released``.
        width: D, of both encoders' features.
        num_classes: C.
        speech_layers: Z, the hidden layers that the speech encoder gives; ``released`` weighs them.
    """

    mixer: str
    implementation: str
    preset: str
    width: int
    num_classes: int
    speech_layers: int


@dataclass(frozen=True, kw_only=True)
class WaveformScale:
    """What makes waveforms of zero mean and unit variance: figures of the training set, computed once.

    Attributes:
        mean, deviation: Over all samples of all training utterances, full scale being 1.
    """

    mean: float
    deviation: float


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is trained, and how.

    Attributes:
        corpus: Its specification: ``msp-podcast:/data/MSP-Podcast-2.0``.
        classes: In the order of the logits.
        speech, text: Names of the encoders; text is None for speech alone.
        preset: Of the model: ``paper`` or ``released``.
        mixers: With their implementations: ``sa/sdpa``.
        seeds: Each mixer is trained with each.
        data_seed: Of crops and order, which all mixers and seeds share.
        epochs: Passes through the training set.
        batch: Utterances in a step of all processes together.
        learning_rate: At the beginning.
        crop_seconds: Length of a training utterance.
        precision: ``bfloat16`` or ``float32``.
        missing_text: What a missing transcript is: ``error`` or ``empty``.
        width: D of the encoders.
        speech_layers: Z of the speech encoder.
        scale: Mean and deviation of the training waveforms; None where each is normalised by itself.
        utterances: A digest of those of training and development, which must stay the same.
        parameters: For each mixer how many are trained.
        demo: Whether this is a demonstration, which says so everywhere.
    """

    corpus: str
    classes: tuple[str, ...]
    speech: str
    text: str | None
    preset: str
    mixers: tuple[str, ...]
    seeds: tuple[int, ...]
    data_seed: int
    epochs: int
    batch: int
    learning_rate: float
    crop_seconds: float
    precision: str
    missing_text: str
    width: int
    speech_layers: int
    scale: WaveformScale | None
    utterances: str
    parameters: dict[str, int]
    demo: bool

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
            )
            yield from ((config, seed) for seed in self.seeds)


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
    """Return what a folder's run is.

    Raises:
        UserError: The folder is no run's, or one of another version.
    """
    hint = "Give a folder that `sbench train` made."
    try:
        fields: dict[str, Any] = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        version = fields.pop("version")
        if version != VERSION:
            mend = "Use it with the sbench that trained it, or train it again."
            raise UserError(f"{folder} is a run of version {version!r}, this sbench reads {VERSION}", hint=mend)
        implementations, encoders = fields.pop("implementations"), fields.pop("encoders")
        fields["mixers"] = tuple(f"{name}/{implementations[name]}" for name in fields["mixers"])
        fields |= {"classes": tuple(fields["classes"]), "seeds": tuple(fields["seeds"])}
        fields["scale"] = WaveformScale(**fields["scale"]) if fields["scale"] else None
        return Run(speech=encoders["speech"], text=encoders["text"], **fields)
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder} holds no run: its {RUN_FILE} is missing or damaged", hint=hint) from None


@dataclass(frozen=True, kw_only=True)
class Place:
    """A point in a run: so many steps of an epoch are done, both counted from 0."""

    epoch: int
    step: int


def save_place(place: Place, folder: Path) -> None:
    """Make a checkpoint the one to go on from, and remove the others.

    Raises:
        OSError: It cannot be written.
    """
    write_atomically(folder / STATE_FILE, json.dumps(dataclasses.asdict(place)).encode())
    current = checkpoint(place, folder)
    for other in folder.glob("checkpoint-*"):
        if other != current:
            shutil.rmtree(other, ignore_errors=True)


def last_place(folder: Path) -> Place | None:
    """Return where to go on; None at the beginning.

    Raises:
        UserError: The state is damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        return Place(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        raise UserError(f"{path} is damaged", hint="Begin a new run.") from None


def checkpoint(place: Place, folder: Path) -> Path:
    """Return the folder of a checkpoint."""
    return folder / f"checkpoint-{place.epoch}-{place.step}"


def append_metrics(place: Place, values: dict[str, Any], folder: Path) -> None:
    """Append a line of figures to a run's metrics."""
    with (folder / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({**dataclasses.asdict(place), **values}) + "\n")


def forget_metrics_after(place: Place | None, folder: Path) -> None:
    """Remove what was noted after a place, since it will be noted again: half a line too."""
    path = folder / METRICS_FILE
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            fields = json.loads(line)
        except ValueError:
            break
        if place is None or (fields["epoch"], fields["step"]) > (place.epoch, place.step):
            break
        kept.append(line)
    write_atomically(path, "".join(kept).encode())
