"""The epochs of a run: its steps, the scores on the development set, and its files.

A killed run resumes from its last checkpoint and gives the same result as an uninterrupted one. Order and crops depend
only on seed and epoch, dropout only on seed and step, and nothing else is random.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from jaxtyping import Float
from torch import Tensor

from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, Corpus, Utterance
from bench.accuracy.evaluation.metrics import macro_f
from bench.accuracy.evaluation.scoring import predict
from bench.accuracy.inputs.features import SpeechFeatures, TextFeatures
from bench.accuracy.inputs.feed import Feed
from bench.accuracy.run import Run
from bench.accuracy.training import checkpoints
from bench.accuracy.training.checkpoints import Place
from bench.accuracy.training.computing import decide_together
from bench.accuracy.training.events import Scored, Stepped
from bench.accuracy.training.learner import BEST_FILE, Learner
from bench.accuracy.training.schedule import one_cycle
from bench.accuracy.training.steps import Steps, build_learners, gather, groups
from bench.files import resume_command, write_atomically
from mixers.support.errors import UserError

UNSAVED_S = 60.0  # the end of an epoch writes a checkpoint if the last one, or the start, is this long ago


class Training:
    """The epochs of a run."""

    def __init__(
        self,
        run: Run,
        folder: Path,
        corpus: Corpus,
        *,
        speech: SpeechFeatures,
        text: TextFeatures | None,
        accelerator: Accelerator,
        workers: int,
        checkpoint_steps: int,
    ) -> None:
        """Build the learners, or restore them from the last checkpoint.

        Args:
            run: What is trained.
            folder: The run's, which exists.
            corpus: With the splits ``train`` and ``development``.
            speech: The frozen speech encoder.
            text: The frozen text encoder; None for speech alone.
            accelerator: Distributes the work over its processes.
            workers: Additional processes that read audio.
            checkpoint_steps: A checkpoint is written after this many steps, after an epoch if the last one is
                `UNSAVED_S` ago, and at the end.

        Raises:
            UserError: A split is missing, or the checkpoint is damaged.
        """
        self._run, self._folder, self._corpus = run, folder, corpus
        self._speech, self._text = speech, text
        self._accelerator = accelerator
        self._workers, self._checkpoint_steps = workers, checkpoint_steps
        self._train = corpus.split(TRAIN)
        self._development = corpus.split(DEVELOPMENT)
        weights = class_weights(self._train, corpus.classes) if run.class_weights else None
        self._learners = build_learners(run, class_weights=weights, accelerator=accelerator)
        self._groups = groups(run, self._learners)
        self._names = run.learners()
        self._begin = checkpoints.last_place(folder)
        if self._begin != checkpoints.BEGINNING:
            for learner in self._learners:
                learner.load(checkpoints.checkpoint(self._begin, folder))
        if accelerator.is_main_process:
            with self._writing():
                checkpoints.remove_metrics_after(self._begin, folder)
        self._epoch_steps = len(self._train) // run.batch
        self._saved_steps = self.done_steps
        self._saved_at = time.monotonic()
        self._halve = run.schedule == "plateau"
        self._rates = self._learning_rates()

    @property
    def total_steps(self) -> int:
        """The steps of the whole run."""
        return self._run.epochs * self._epoch_steps

    @property
    def done_steps(self) -> int:
        """The steps that the last checkpoint has."""
        return self._done(self._begin)

    def train(self) -> Iterator[Stepped | Scored]:
        """Train the remaining steps; yield each step and each evaluation.

        Raises:
            UserError: A loss is not finite, audio cannot be read, or a file cannot be written.
        """
        train = self._feed(self._train, crop_seconds=self._run.crop_seconds)
        steps = Steps(self._groups, train, count=len(self._train), batch=self._run.batch)
        development = self._feed(self._development, crop_seconds=None)
        for epoch in range(self._begin.epoch, self._run.epochs):
            first = self._begin.step if epoch == self._begin.epoch else 0
            yield from self._epoch(steps, epoch, first)
            yield self._score(development, epoch)
            always = epoch + 1 == self._run.epochs or self._is_long_unsaved()
            self._save_checkpoint(Place(epoch=epoch + 1, step=0), always=always)

    def _feed(self, utterances: Sequence[Utterance], *, crop_seconds: float | None) -> Feed:
        return Feed(
            utterances,
            classes=self._corpus.classes,
            encoders=(self._speech, self._text),
            device=self._accelerator.device,
            workers=self._workers,
            crop_seconds=crop_seconds,
            keep=True,
        )

    def _epoch(self, steps: Steps, epoch: int, first: int) -> Iterator[Stepped]:
        taken = steps.epoch(epoch, first=first)
        for step in range(first, self._epoch_steps):
            self._schedule(self._done(Place(epoch=epoch, step=step)))
            own = next(taken)
            losses = gather(own, names=self._names, accelerator=self._accelerator)
            _check(losses, epoch=epoch)
            place = Place(epoch=epoch, step=step + 1)
            self._append_metrics(place, {"loss": losses, "learning_rate": self._rates})
            yield Stepped(place=place, done_steps=self._done(place), losses=losses)
            if place.step < self._epoch_steps:
                self._save_checkpoint(place)

    def _schedule(self, step: int) -> None:
        """Set the learning rate of a step, unless it depends on scores."""
        if self._run.schedule == "one-cycle":
            rate = self._run.learning_rate * one_cycle(step, self.total_steps)
            for learner in self._learners:
                learner.learning_rate = rate
            self._rates = dict.fromkeys(self._names, rate)

    def _score(self, development: Feed, epoch: int) -> Scored:
        found = predict(self._learners, development, development.batches(), accelerator=self._accelerator)
        classes = self._corpus.classes
        labels = [classes.index(each.label) for each in self._development]
        every = range(len(classes))
        scores = {name: macro_f(labels, found[name].argmax(-1).tolist(), classes=every) for name in self._names}
        own = [each for each in self._learners if each.record_score(scores[each.name], epoch=epoch, halve=self._halve)]
        with self._writing():
            for learner in own:
                _save_best(learner, self._folder / learner.name)
        better = {learner.name for learner in own}
        if self._accelerator.num_processes > 1:
            better = set().union(*gather_object([better]))
        self._rates = self._learning_rates()
        place = Place(epoch=epoch + 1, step=0)
        self._append_metrics(place, {"development_macro_f": scores})
        in_order = tuple(name for name in self._names if name in better)
        return Scored(epoch=epoch, done_steps=self._done(place), scores=scores, better=in_order)

    def _learning_rates(self) -> dict[str, float]:
        """Return the learning rate of the learners of all processes."""
        own = {learner.name: learner.learning_rate for learner in self._learners}
        every = gather_object([own]) if self._accelerator.num_processes > 1 else [own]
        found = {name: rate for each in every for name, rate in each.items()}
        return {name: found[name] for name in self._names}

    def _is_long_unsaved(self) -> bool:
        """Tell whether the last checkpoint, or the start, is long ago; alike in all processes."""
        return decide_together(time.monotonic() - self._saved_at >= UNSAVED_S, self._accelerator)

    def _save_checkpoint(self, place: Place, *, always: bool = False) -> None:
        """Write a checkpoint if one is due, then make it the one to resume from."""
        if not always and self._done(place) - self._saved_steps < self._checkpoint_steps:
            return
        self._saved_steps = self._done(place)
        folder = checkpoints.checkpoint(place, self._folder)
        with self._writing():
            folder.mkdir(exist_ok=True)
            for learner in self._learners:
                learner.save(folder)
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            with self._writing():
                checkpoints.save_place(place, self._folder)
        self._accelerator.wait_for_everyone()
        self._saved_at = time.monotonic()

    def _append_metrics(self, place: Place, values: Mapping[str, Mapping[str, float]]) -> None:
        if self._accelerator.is_main_process:
            with self._writing():
                checkpoints.append_metrics(place, values, self._folder)

    def _done(self, place: Place) -> int:
        """Return the steps of the run that are done at a place."""
        return place.epoch * self._epoch_steps + place.step

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an error of the disk into a user error."""
        try:
            yield
        except OSError as error:
            hint = f"Free some space, then continue with: {resume_command('train', self._folder)}"
            raise UserError(f"{self._folder} cannot be written: {error.strerror}", hint=hint) from None


def _check(losses: Mapping[str, float], *, epoch: int) -> None:
    """Check that no loss has diverged.

    Raises:
        UserError: One is not finite.
    """
    for name, loss in losses.items():
        if not loss < float("inf"):
            hint = "Begin a new run with a lower --learning-rate, in --precision float32, or without this mixer."
            raise UserError(f"the loss of {name} is {loss} in epoch {epoch + 1}", hint=hint)


def class_weights(utterances: Sequence[Utterance], classes: Sequence[str]) -> Float[Tensor, " C"]:
    """Return weights inversely proportional to the share of each class: 1 if all are equal, 0 for an empty class."""
    counts = Counter(utterance.label for utterance in utterances)
    shares = torch.tensor([counts[label] * len(classes) / len(utterances) for label in classes])
    return torch.where(shares > 0, 1 / shares, torch.zeros_like(shares))


def _save_best(learner: Learner, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    learner.save_model(folder / BEST_FILE)
    content = {"development_macro_f": learner.progress.best, "epoch": learner.progress.best_epoch}
    write_atomically(folder / "best.json", json.dumps(content).encode())
