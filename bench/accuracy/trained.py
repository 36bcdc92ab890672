"""Uses what was trained: scores and classifies whole recordings, each encoded once for all learners."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from bench.accuracy import run as runs
from bench.accuracy.corpora.base import TEST, TRAIN, UNKNOWN_SPEAKER, Corpus, Utterance
from bench.accuracy.corpora.reference import parse_reference
from bench.accuracy.evaluation.scoring import predict
from bench.accuracy.evaluation.writing import (
    Checks,
    LearnerScored,
    SplitStarted,
    split_started,
    write_split,
)
from bench.accuracy.inputs.features import SpeechFeatures, TextFeatures, check_encoders, open_encoders
from bench.accuracy.inputs.feed import Feed
from bench.accuracy.progress import best_epochs
from bench.accuracy.run import Run
from bench.accuracy.training.computing import choose_precision, start_accelerator
from bench.accuracy.training.implementations import choose_implementation
from bench.accuracy.training.learner import BEST_FILE, Learner, read_tensors
from bench.accuracy.training.steps import build_learners
from bench.files import resume_command
from bench.plugins import find_again
from mixers import autotuning
from mixers.support.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A run that is ready for use: its encoders, and its learners with their best weights, dealt to the processes."""

    run: Run
    folder: Path
    speech: SpeechFeatures
    text: TextFeatures | None
    learners: tuple[Learner, ...]
    accelerator: Accelerator


def open_run(folder: Path, *, device: str) -> Trained:
    """Load a run's encoders and best weights, and compute in its precision from now on.

    If an implementation does not run here, the mixer uses another one with the same weights.

    Args:
        folder: The run's.
        device: ``cuda`` or ``cpu``.

    Raises:
        UserError: The folder is no run, the run has no best weights yet, a file is damaged, or an encoder or a plug-in
            is not there.
    """
    run = runs.read(folder)
    find_again(run.plugins, needed_by=folder)  # a newer one is used as it is, like a newer sbench
    _check_weights(folder, run)
    check_encoders(run, needed_by=folder)
    run = replace(run, mixers=tuple(_runnable(name, run, device=device) for name in run.mixers))
    choose_precision(run.precision, device=device)
    accelerator = start_accelerator(device)
    speech, text = open_encoders(run, device=str(accelerator.device))
    learners = build_learners(run, class_weights=None, accelerator=accelerator)
    for learner in learners:
        path = folder / learner.name / BEST_FILE
        weights = read_tensors(path)
        try:
            learner.model.load_state_dict(weights)
        except RuntimeError:
            raise UserError(f"{path} holds the weights of another model", hint="Is it of this run?") from None
    return Trained(run=run, folder=folder, speech=speech, text=text, learners=tuple(learners), accelerator=accelerator)


def _check_weights(folder: Path, run: Run) -> None:
    """Check that every learner has weights, before anything is loaded."""
    paths = [folder / name / BEST_FILE for name in run.learners()]
    missing = [path for path in paths if not path.is_file()]
    if missing == paths:
        message = f"{folder} has no weights: no epoch of its training is complete, or they were not copied"
        raise UserError(message, hint=f"Continue the training with: {resume_command('train', folder)}")
    if missing:
        raise UserError(f"{missing[0]} is missing", hint="Copy the whole folder of the run again.")


def _runnable(name: str, run: Run, *, device: str) -> str:
    choose = partial(choose_implementation, preset=run.preset, device=device, width=run.width, precision=run.precision)
    try:
        return choose(name)
    except UserError:
        return choose(name.partition("/")[0])


def choose_splits(corpus: Corpus, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the splits to score, each once: those named, or all but train.

    Raises:
        UserError: The corpus lacks a split, or has only train.
    """
    chosen = tuple(split for split in corpus.splits if split != TRAIN) if names is None else tuple(dict.fromkeys(names))
    if not chosen:
        raise UserError(f"{corpus.spec} has only training utterances", hint="Give --splits train to score these.")
    for split in chosen:
        corpus.split(split)
    return chosen


def check_classes(run: Run, corpus: Corpus, *, folder: Path) -> None:
    """Check that a corpus has the classes of a run, in any order.

    Args:
        run: The run.
        corpus: The corpus to score it on.
        folder: The run's.

    Raises:
        UserError: Some are lacking, or it has others.
    """
    lacking = [name for name in run.classes if name not in corpus.classes]
    new = [name for name in corpus.classes if name not in run.classes]
    differences = [f"{verb} {', '.join(names)}" for verb, names in (("lacks", lacking), ("adds", new)) if names]
    if not differences:
        return
    hint = f"Give a corpus with those of {run.corpus}: {', '.join(run.classes)}."
    if parse_reference(corpus.spec).name == "manifest":
        hint = f"The classes of a manifest are the labels that occur in it, in any split. {hint}"
    raise UserError(f"{corpus.spec} has other classes than {folder}: it {' and '.join(differences)}", hint=hint)


def evaluate(
    trained: Trained,
    corpus: Corpus,
    splits: Sequence[str],
    *,
    workers: int,
    done: Callable[[int], None] = lambda _: None,
    checks: Checks | None = None,
) -> Iterator[SplitStarted | LearnerScored]:
    """Predict splits, and write predictions and scores into the run's folder.

    Args:
        trained: What `open_run` returned.
        corpus: Any with the run's classes, in any order.
        splits: The splits to predict.
        workers: Additional processes that read audio.
        done: Called with the number of utterances of a split that are predicted so far.
        checks: What each split shares with training; None if it was not checked.

    Raises:
        UserError: The corpus has other classes, lacks a split or cannot be read, or a file cannot be written.
    """
    check_classes(trained.run, corpus, folder=trained.folder)
    corpus = replace(corpus, classes=trained.run.classes)  # corpora order them in ways of their own
    for split, utterances in {split: corpus.split(split) for split in splits}.items():
        yield split_started(corpus, split)
        probabilities = _probabilities(trained, utterances, workers=workers, done=done)
        if trained.accelerator.is_main_process:
            weights = best_epochs(trained.folder, trained.run)
            yield from write_split(corpus, split, probabilities, checks=checks, weights=weights, folder=trained.folder)


def classify(
    trained: Trained,
    recordings: Sequence[Path],
    text: str,
    *,
    workers: int,
    done: Callable[[int], None] = lambda _: None,
) -> dict[str, NDArray[np.float64]]:
    """Return the probabilities of the classes for each recording, by learner: (recordings, classes).

    Args:
        trained: What `open_run` returned.
        recordings: At least one.
        text: The transcript of all.
        workers: As in `evaluate`.
        done: As in `evaluate`.

    Raises:
        UserError: A recording cannot be read.
    """
    label = trained.run.classes[0]  # which nothing reads
    utterances = [
        Utterance(name=str(each), audio=each, text=text, label=label, speaker=UNKNOWN_SPEAKER, split=TEST)
        for each in recordings
    ]
    return _probabilities(trained, utterances, workers=workers, done=done)


def _probabilities(
    trained: Trained, utterances: Sequence[Utterance], *, workers: int, done: Callable[[int], None]
) -> dict[str, NDArray[np.float64]]:
    """Return the probabilities of all learners, (utterances, classes) each."""
    feed = Feed(
        utterances,
        classes=trained.run.classes,
        encoders=(trained.speech, trained.text),
        device=trained.accelerator.device,
        workers=workers,
    )
    with autotuning.compiling_side_by_side(settling=True):
        found = predict(trained.learners, feed, feed.batches(), accelerator=trained.accelerator, done=done)
    for name, table in found.items():
        if not torch.isfinite(table).all():
            message = f"{trained.folder / name / BEST_FILE} gives probabilities that are not finite"
            raise UserError(message, hint="Leave this mixer out and train it again, for instance in float32.")
    return {name: found[name].to(torch.float64).numpy() for name in trained.run.learners()}
