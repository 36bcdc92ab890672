"""Scores what was trained: whole files, one at a time, each encoded once for all mixers and seeds."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from bench.accuracy import run as runs
from bench.accuracy.corpora.base import Corpus, Utterance
from bench.accuracy.evaluation.metrics import Summary, summarise
from bench.accuracy.evaluation.predictions import Predictions, write_predictions
from bench.accuracy.evaluation.scoring import predict
from bench.accuracy.inputs.features import SpeechFeatures, TextFeatures, open_encoders
from bench.accuracy.run import Run
from bench.accuracy.training.learner import Learner, read_tensors
from bench.accuracy.training.setup import choose_implementation, choose_precision, start_accelerator
from bench.audio import read_encodable
from bench.files import write_atomically
from mixers import autotuning
from mixers.support.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A run that can be used: its encoders, and every learner with its best weights."""

    run: Run
    speech: SpeechFeatures
    text: TextFeatures | None
    learners: tuple[Learner, ...]
    accelerator: Accelerator


def open_run(folder: Path, *, device: str) -> Trained:
    """Load a run's encoders and best weights, and compute in its precision from now on.

    A mixer whose implementation does not run here is taken in one that does, with the same weights.

    Args:
        folder: The run's.
        device: ``cuda`` or ``cpu``.

    Raises:
        UserError: It is no run, was never evaluated on the development set, or a file is damaged.
    """
    run = runs.read(folder)
    run = replace(run, mixers=tuple(_usable(name, run, device=device) for name in run.mixers))
    choose_precision(run.precision, device=device)
    accelerator = start_accelerator(device)
    speech, text = open_encoders(run, device=str(accelerator.device))
    learners = []
    for config, seed in run.models():
        learner = Learner(
            config,
            seed=seed,
            learning_rate=run.learning_rate,
            precision=run.precision,
            class_weights=None,
            accelerator=accelerator,
        )
        path = folder / learner.name / "best.safetensors"
        weights = read_tensors(path)
        try:
            learner.model.load_state_dict(weights)
        except RuntimeError:
            raise UserError(f"{path} holds the weights of another model", hint="Is it this run's?") from None
        learners.append(learner)
    return Trained(run=run, speech=speech, text=text, learners=tuple(learners), accelerator=accelerator)


def _usable(name: str, run: Run, *, device: str) -> str:
    choose = partial(choose_implementation, preset=run.preset, device=device, width=run.width)
    try:
        return choose(name)
    except UserError:
        return choose(name.partition("/")[0])


def evaluate(
    trained: Trained, folder: Path, corpus: Corpus, splits: Sequence[str], *, workers: int
) -> Iterator[tuple[str, str, Summary]]:
    """Predict splits and write predictions and scores into the run's folder.

    Args:
        trained: What `open_run` returned.
        folder: The run's.
        corpus: Any release with the run's classes.
        splits: Each is predicted.
        workers: Processes that read audio, beside this one.

    Yields:
        Split, learner and scores, as soon as they are written.

    Raises:
        UserError: The corpus has other classes, lacks a split or cannot be read, or a file cannot be written.
    """
    if corpus.classes != trained.run.classes:
        hint = f"It was trained on {trained.run.corpus}."
        raise UserError(f"{corpus.spec} has other classes than {folder}: {', '.join(corpus.classes)}", hint=hint)
    chosen = {split: corpus.split(split) for split in splits}
    for split, utterances in chosen.items():
        if trained.text is not None:
            trained.text.prepare([each.text for each in utterances])
        with autotuning.compiling_side_by_side(settling=True):
            found = predict(
                trained.learners,
                utterances,
                classes=corpus.classes,
                speech=trained.speech,
                text=trained.text,
                accelerator=trained.accelerator,
                workers=workers,
            )
        output = folder / "evaluation" / split
        try:
            output.mkdir(parents=True, exist_ok=True)
            _write_utterances(corpus, split, used=len(utterances), path=output / "utterances.json")
            for name, probabilities in found.items():
                yield split, name, _write(utterances, probabilities, corpus.classes, output / name)
        except OSError as error:
            raise UserError(f"{output} cannot be written: {error.strerror}", hint="Is the disk full?") from None


def classify(trained: Trained, recording: Path, text: str) -> dict[str, dict[str, float]]:
    """Return for each learner the probability of each class for one recording.

    Raises:
        UserError: The recording cannot be read, or is shorter than a frame.
    """
    features = trained.speech(read_encodable(recording)[None], [str(recording)])
    tokens: Tensor | None = None
    if trained.text is not None:
        trained.text.prepare([text])
        tokens = trained.text([text])[0].to(features.device)
    with autotuning.compiling_side_by_side(settling=True):
        return {
            learner.name: dict(zip(trained.run.classes, learner.predict(features, tokens)[0].tolist(), strict=True))
            for learner in trained.learners
        }


def _write(utterances: Sequence[Utterance], probabilities: Tensor, classes: tuple[str, ...], stem: Path) -> Summary:
    predictions = Predictions(
        classes=classes,
        utterances=tuple(each.name for each in utterances),
        speakers=tuple(each.speaker for each in utterances),
        labels=tuple(each.label for each in utterances),
        predictions=tuple(classes[index] for index in probabilities.argmax(-1).tolist()),
        probabilities=probabilities.to(torch.float64).numpy(),
    )
    write_predictions(predictions, stem.with_name(f"{stem.name}.csv"))
    summary = summarise(predictions)
    write_atomically(stem.with_name(f"{stem.name}.json"), json.dumps(asdict(summary), indent=1).encode())
    return summary


def _write_utterances(corpus: Corpus, split: str, *, used: int, path: Path) -> None:
    left_out = [{"name": each.name, "reason": each.reason} for each in corpus.left_out if each.split == split]
    content = {"corpus": corpus.spec, "expected": used + len(left_out), "used": used, "left_out": left_out}
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
