"""The flow of a probe, from top to bottom: encode every recording once, then choose a layer, fit and score each fold.

Layer and fit see train and development alone. A test is predicted once, by the last fit.

Shapes: N utterances, Z layers of the encoder, D its width.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, Corpus, Utterance, digest
from bench.accuracy.corpora.reference import absolute_spec
from bench.accuracy.evaluation.metrics import macro_f, not_learned
from bench.accuracy.evaluation.writing import Checks, LearnerScored, SplitStarted, split_started, write_split
from bench.accuracy.inputs.features import SpeechFeatures, load_features
from bench.accuracy.inputs.pooled import pooled_recordings
from bench.accuracy.probe import record
from bench.accuracy.probe.linear import STEPS, Linear, fit
from bench.accuracy.probe.record import LEARNER, Probe, ProbeLayer
from bench.accuracy.training.computing import choose_precision
from bench.accuracy.training.events import Preparing
from bench.audio import check_recordings
from bench.encoders import SpeechEncoder
from bench.environment import available_memory_gib
from bench.files import absolute_folder, check_new, whole
from mixers.support.errors import UserError
from mixers.support.precision import DTYPES

# Pooled features of each recording by layer, (2 D,) each.
Pooled = dict[ProbeLayer, dict[str, NDArray[np.float32]]]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for.

    Attributes:
        speech: The encoder.
        layer: Its layer; None for the best on the development split.
        regularisation: C.
        with_development: Whether the tests are predicted by a fit on train and development together.
        precision: The encoder's; None for the default of the device.
    """

    speech: str
    layer: ProbeLayer | None
    regularisation: float
    with_development: bool
    precision: str | None


@dataclass(frozen=True, kw_only=True)
class Task:
    """A corpus or a fold of it.

    Attributes:
        corpus: Without what must not be tested.
        checks: What each split shares with training.
        folder: The folder of its results, relative to that of all.
    """

    corpus: Corpus
    checks: Checks
    folder: str


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """So many of all recordings are encoded."""

    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """All recordings are encoded. What follows writes files, but no longer takes the encoder."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A layer was chosen and fitted.

    Attributes:
        probe: What was fitted.
        warnings: What the user should know, a line each.
    """

    probe: Probe
    warnings: tuple[str, ...]


Event = Preparing | Encoded | Fitting | Fitted | SplitStarted | LearnerScored


def check(request: Request, corpora: Sequence[Corpus]) -> None:
    """Check what can be checked before anything is encoded.

    Raises:
        UserError: C is invalid, a corpus has no split to learn or to choose from, or nothing to score.
    """
    if not 0 < request.regularisation < math.inf:
        hint = "Give C, a positive number such as 0.02; smaller is simpler."
        raise UserError(f"--regularisation {request.regularisation} is invalid", hint=hint)
    for corpus in corpora:
        corpus.split(TRAIN)
        if DEVELOPMENT not in corpus.splits and request.layer is None:
            hint = "Name a layer with --layer: its number, or last."
            raise UserError(f"{corpus.spec} has no development split to choose the layer on", hint=hint)
        if DEVELOPMENT not in corpus.splits and request.with_development:
            raise UserError(f"{corpus.spec} has no development split", hint="Leave --with-development out.")
        if corpus.splits == (TRAIN,):
            raise UserError(f"{corpus.spec} has only training utterances", hint="A probe needs a split to score.")


def probe(request: Request, tasks: Sequence[Task], folder: Path, *, device: str, workers: int) -> Iterator[Event]:
    """Fit and score a probe of each corpus or fold. The folder appears when all are done.

    Args:
        request: What to fit.
        tasks: The corpora or folds; recordings that they share are encoded once.
        folder: A new folder.
        device: ``cuda`` or ``cpu``.
        workers: Additional processes that read audio.

    Raises:
        UserError: As in `check`, the folder exists or cannot be written, the encoder cannot be loaded or has no such
            layer, or a recording cannot be read or encoded.
    """
    check(request, [task.corpus for task in tasks])
    check_new(folder)
    precision = choose_precision(request.precision, device=device)
    yield Preparing(task="Loading the encoder")
    encoder, _ = load_features(request.speech, None, device=device, dtype=DTYPES[precision])
    layers = _layers(request.layer, encoder)
    utterances = list({each.name: each for task in tasks for each in task.corpus.utterances}.values())
    _check_memory(len(utterances), len(layers), encoder.width)
    yield Preparing(task="Reading every recording once")
    check_recordings([each.audio for each in utterances])
    pooled: Pooled = {layer: {} for layer in layers}
    speech = SpeechFeatures(encoder, scale=None, layer=layers[0] if len(layers) == 1 else "every")
    for done, (name, vectors) in enumerate(
        pooled_recordings(utterances, speech, device=torch.device(device), workers=workers), start=1
    ):
        for layer, vector in zip(layers, vectors.reshape(len(layers), -1), strict=True):  # (2 D,)
            pooled[layer][name] = vector
        yield Encoded(done=done, total=len(utterances))
    yield Fitting()
    try:
        with whole(folder) as partial:
            for task in tasks:
                yield from _probe(request, task, pooled, encoder, precision=precision, folder=partial / task.folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}", hint="Give another --output.") from None


def _layers(layer: ProbeLayer | None, encoder: SpeechEncoder) -> list[ProbeLayer]:
    """Return the layers to try, in the order of `SpeechFeatures`."""
    every: list[ProbeLayer] = [*range(1, encoder.num_layers + 1), "last"]
    if layer is None:
        return every
    if layer not in every:
        hint = f"Give --layer 1 to {encoder.num_layers}, last, or best."
        raise UserError(f"{encoder.name} has no layer {layer}", hint=hint)
    return [layer]


def _check_memory(recordings: int, layers: int, width: int) -> None:
    """Refuse to encode for hours what would not fit into memory."""
    needed, available = 4 * 2 * width * recordings * layers / 2**30, available_memory_gib()
    if needed > available:
        message = f"{layers} layers of {recordings:,} recordings need {needed:.1f} GiB, {available:.1f} GiB are free"
        raise UserError(message, hint="Probe one layer at a time with --layer.")


def _probe(
    request: Request, task: Task, pooled: Pooled, encoder: SpeechEncoder, *, precision: str, folder: Path
) -> Iterator[Fitted | SplitStarted | LearnerScored]:
    """Choose, fit and score one corpus or fold, and write its folder."""
    corpus = task.corpus
    train = corpus.split(TRAIN)
    development = corpus.split(DEVELOPMENT) if DEVELOPMENT in corpus.splits else ()

    def fit_on(utterances: Sequence[Utterance], layer: ProbeLayer) -> Linear:
        features = _rows(pooled[layer], utterances)
        labels = [each.label for each in utterances]
        return fit(features, labels, classes=corpus.classes, regularisation=request.regularisation)

    fits = {layer: fit_on(train, layer) for layer in pooled}
    scores = _development_scores(fits, pooled, development, corpus.classes)
    layer = max(scores, key=scores.__getitem__) if scores else next(iter(fits))  # the lowest of equally good ones
    last = fit_on((*train, *development), layer) if request.with_development else fits[layer]
    found = Probe(
        corpus=absolute_spec(corpus.spec),
        classes=corpus.classes,
        speech=absolute_folder(request.speech),
        width=encoder.width,
        speech_layers=encoder.num_layers,
        precision=precision,
        layer=layer,
        layer_chosen=request.layer is None,
        development_scores={str(each): score for each, score in scores.items()},
        regularisation=request.regularisation,
        with_development=request.with_development,
        missing=last.missing,
        converged=all(each.converged for each in (*fits.values(), last)),
        parameters=last.parameters,
        utterances=digest((*train, *development)),
    )
    yield Fitted(probe=found, warnings=tuple(_warnings(fits, last, layer)))
    folder.mkdir(parents=True, exist_ok=True)
    record.write(found, folder)
    for split in corpus.splits:
        if split != TRAIN:
            yield split_started(corpus, split)
            linear = fits[layer] if split == DEVELOPMENT else last  # no split is scored by a fit that learned it
            probabilities = linear.probabilities(_rows(pooled[layer], corpus.split(split)))
            yield from write_split(corpus, split, {LEARNER: probabilities}, checks=task.checks, folder=folder)


def _rows(pooled: Mapping[str, NDArray[np.float32]], utterances: Sequence[Utterance]) -> NDArray[np.float32]:
    """Return the features of some utterances, (N, 2 D)."""
    return np.stack([pooled[each.name] for each in utterances])


def _development_scores(
    fits: Mapping[ProbeLayer, Linear], pooled: Pooled, development: Sequence[Utterance], classes: Sequence[str]
) -> dict[ProbeLayer, float]:
    """Return the macro-F of each layer; nothing without a development split."""
    if not development:
        return {}
    labels = [each.label for each in development]
    return {
        layer: macro_f(labels, linear.predict(_rows(pooled[layer], development)), classes=classes)
        for layer, linear in fits.items()
    }


def _warnings(fits: Mapping[ProbeLayer, Linear], last: Linear, layer: ProbeLayer) -> Iterator[str]:
    unfinished = [str(each) for each, linear in fits.items() if not linear.converged]
    if not last.converged and str(layer) not in unfinished:
        unfinished.append(str(layer))
    if unfinished:
        where = f"layer{'s' if len(unfinished) > 1 else ''} {', '.join(unfinished)}"
        yield f"not converged in {STEPS:,} steps: the fit of {where}. A smaller --regularisation converges sooner."
    if last.missing:
        yield not_learned(last.missing)
