"""From a user's request to a run: checks the choices, reads the corpus, loads the encoders."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import mixers
from bench.accuracy import corpora
from bench.accuracy import run as runs
from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, Corpus, digest
from bench.accuracy.corpora.reference import absolute_spec, parse_reference
from bench.accuracy.inputs.features import (
    Encoders,
    SpeechFeatures,
    TextFeatures,
    check_encoders,
    check_layer,
    load_features,
)
from bench.accuracy.inputs.recordings import waveform_scale
from bench.accuracy.parts import PARTS, Layer
from bench.accuracy.progress import epochs_done
from bench.accuracy.run import METRICS_FILE, Direction, ModelConfig, Preset, Run
from bench.accuracy.training.checkpoints import BEGINNING, Place, last_place
from bench.accuracy.training.computing import choose_precision
from bench.accuracy.training.implementations import check_mixers, choose_implementations
from bench.accuracy.training.model import build
from bench.accuracy.training.schedule import Schedule
from bench.audio import check_recordings
from bench.encoders import SpeechEncoder
from bench.files import absolute_folder
from bench.plugins import find_again, used
from bench.speech import check_crop
from mixers.support.errors import UserError
from mixers.support.precision import DTYPES


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for. The attributes are those of `Run`, but mixers are as named and seeds are a number."""

    corpus: str
    speech: str
    text: str | None
    mixers: tuple[str, ...]
    seeds: int
    preset: Preset
    direction: Direction
    layer: Layer
    epochs: int
    batch: int
    learning_rate: float
    schedule: Schedule
    crop_seconds: float | None
    data_seed: int
    shared_data: bool
    missing_text: str
    classifier_layers: int = PARTS["classifier_layers"]
    demo: bool = False


def prepare(
    request: Request,
    *,
    precision: str,
    device: str,
    splits: Sequence[str] = (),
    loaded: tuple[SpeechEncoder, TextFeatures | None] | None = None,
) -> tuple[Run, Corpus, Encoders]:
    """Read the corpus, load the encoders, and return the run with both.

    Args:
        request: What to train.
        precision: ``bfloat16`` or ``float32``.
        device: The device of encoders and models.
        splits: Splits that the corpus must have besides.
        loaded: The encoders, if they are loaded already.

    Raises:
        UserError: A choice is unknown, the corpus lacks something, or an encoder cannot be loaded.
    """
    if not 0 < request.learning_rate < 1:
        message = f"--learning-rate {request.learning_rate:g} is not between 0 and 1"
        raise UserError(message, hint="Give a fraction such as 1e-4.")
    if request.crop_seconds is not None:
        check_crop(request.crop_seconds)
    # so that an error comes at once
    check_mixers(request.mixers, request.preset, request.direction, device=device, precision=precision)
    request = _with_absolute_paths(request)
    corpus = corpora.load(request.corpus, missing_text=request.missing_text)
    train, development = corpus.split(TRAIN), corpus.split(DEVELOPMENT)
    for split in splits:
        corpus.split(split)
    if len(train) < request.batch:
        hint = "Give a smaller --batch or a larger corpus."
        raise UserError(f"{len(train)} training utterances are less than a batch of {request.batch}", hint=hint)
    encoder, text = loaded or load_features(request.speech, request.text, device=device, dtype=DTYPES[precision])
    check_layer(request.layer, encoder)
    check_recordings([each.audio for each in development])
    if request.preset != "released" and not encoder.log_mel:
        scale = waveform_scale(train)  # which reads every recording
    else:
        scale = None
        check_recordings([each.audio for each in train])
    speech = SpeechFeatures(encoder, scale=scale, layer=request.layer)
    chosen = choose_implementations(
        request.mixers, request.preset, device=device, width=speech.width, precision=precision
    )
    run = Run(
        **PARTS
        | vars(request)
        | {
            "classes": corpus.classes,
            "mixers": chosen,
            "seeds": tuple(range(request.seeds)),
            "precision": precision,
            "width": speech.width,
            "speech_layers": speech.num_layers,
            "scale": scale,
            "utterances": digest((*train, *development)),
            "parameters": {},
            "plugins": used(name.partition("/")[0] for name in chosen),
        }
    )
    run = dataclasses.replace(run, parameters={config.mixer: _count_parameters(config) for config, _ in run.models()})
    return run, corpus, (speech, text)


def reopen(folder: Path, *, device: str) -> tuple[Run, Corpus]:
    """Return an interrupted run and its corpus, and compute in the run's precision from now on.

    Raises:
        UserError: The folder is no run or its state is damaged, the run cannot be trained here, its corpus, an encoder
            or a plug-in has changed or is not there, or only the checkpoints of a finished run are missing.
    """
    run = runs.read(folder)
    if changed := find_again(run.plugins, needed_by=folder):
        raise UserError(f"{folder} was begun with other code: {'; '.join(changed)}", hint="Begin a new run.")
    _check_not_finished(folder, run, last_place(folder))  # a damaged state is named at once
    choose_implementations(run.mixers, run.preset, device=device, width=run.width, precision=run.precision)
    choose_precision(run.precision, device=device)
    check_encoders(run, needed_by=folder)
    if not Path(parse_reference(run.corpus).path).exists():
        hint = "Move the corpus back to that path, or link it there."
        raise UserError(f"{folder} needs its corpus {run.corpus}, which is not there", hint=hint)
    corpus = corpora.load(run.corpus, missing_text=run.missing_text)
    if run.utterances != digest((*corpus.split(TRAIN), *corpus.split(DEVELOPMENT))):
        message = f"{run.corpus} has changed since {folder} was begun"
        raise UserError(message, hint="Restore the corpus, or begin a new run.")
    return run, corpus


def _check_not_finished(folder: Path, run: Run, place: Place) -> None:
    """Check that a run that has no checkpoint has not ended: training anew would replace its weights.

    Raises:
        UserError: All its epochs are done.
    """
    if place == BEGINNING and epochs_done(folder) >= run.epochs:
        message = f"all {run.epochs} epochs of {folder} are done, but its checkpoints are missing"
        again = f"To train again, remove {METRICS_FILE}. This replaces the weights."
        raise UserError(message, hint=f"Nothing is left to train: `sbench evaluate` scores it. {again}")


def _with_absolute_paths(request: Request) -> Request:
    """Return the request with absolute paths, so that the run can be resumed from any folder."""
    return dataclasses.replace(
        request,
        corpus=absolute_spec(request.corpus),
        speech=absolute_folder(request.speech),
        text=None if request.text is None else absolute_folder(request.text),
    )


def _count_parameters(config: ModelConfig) -> int:
    with torch.device("meta"):
        first = next(iter(mixers.load(config.mixer).implementations))  # the equations
        return build(dataclasses.replace(config, implementation=first), seed=0).parameter_count()
