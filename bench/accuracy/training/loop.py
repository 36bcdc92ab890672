"""Trains many learners on one pass of the encoders: each batch is encoded once, and every learner takes a step on it.

A killed run resumes from its last checkpoint and gives the same result as an uninterrupted one. Order and crops depend
only on seed and epoch, dropout only on seed and step, and nothing else is random.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, Corpus, Utterance
from bench.accuracy.evaluation.metrics import macro_f
from bench.accuracy.evaluation.scoring import predict
from bench.accuracy.inputs.batches import Crops, Inputs, Order, encode, load
from bench.accuracy.inputs.features import SpeechFeatures, TextFeatures
from bench.accuracy.run import Run
from bench.accuracy.training import checkpoints
from bench.accuracy.training.checkpoints import Place
from bench.accuracy.training.events import Scored, Stepped
from bench.accuracy.training.learner import Learner
from bench.files import resume_command, write_atomically
from mixers.support.errors import UserError


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
            checkpoint_steps: A checkpoint is written after this many steps, and after each epoch.

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
        self.learners = [
            Learner(
                config,
                seed=seed,
                learning_rate=run.learning_rate,
                precision=run.precision,
                class_weights=weights,
                accelerator=accelerator,
            )
            for config, seed in run.models()
        ]
        self._begin = checkpoints.last_place(folder)
        if self._begin != checkpoints.BEGINNING:
            for learner in self.learners:
                learner.load(checkpoints.checkpoint(self._begin, folder))
        if accelerator.is_main_process:
            with self._writing():
                checkpoints.remove_metrics_after(self._begin, folder)
        self._epoch_steps = len(self._train) // run.batch

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
        if self._text is not None:
            self._text.prepare([each.text for each in (*self._train, *self._development)])
        for epoch in range(self._begin.epoch, self._run.epochs):
            first = self._begin.step if epoch == self._begin.epoch else 0
            yield from self._epoch(epoch, first)
            yield self._score(epoch)
            self._save_checkpoint(Place(epoch=epoch + 1, step=0))

    def _epoch(self, epoch: int, first: int) -> Iterator[Stepped]:
        run, accelerator = self._run, self._accelerator
        crops = Crops(self._train, seconds=run.crop_seconds, seed=run.data_seed, epoch=epoch)
        order = Order(
            len(self._train),
            batch=run.batch,
            seed=run.data_seed,
            epoch=epoch,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        )
        order.skip(first)
        loader = load(crops, order, classes=self._corpus.classes, workers=self._workers)
        for step, batch in enumerate(loader, start=first):
            inputs = encode(batch, speech=self._speech, text=self._text, device=accelerator.device)
            losses = self._step(inputs, moment=f"{epoch}/{step}")
            for learner in self.learners:
                learner.check(losses, epoch=epoch)
            place = Place(epoch=epoch, step=step + 1)
            rates = {learner.name: learner.learning_rate for learner in self.learners}
            self._append_metrics(place, {"loss": losses, "learning_rate": rates})
            yield Stepped(place=place, done_steps=self._done(place), losses=losses)
            if place.step % self._checkpoint_steps == 0 and place.step < self._epoch_steps:
                self._save_checkpoint(place)

    def _step(self, inputs: Inputs, *, moment: str) -> dict[str, float]:
        """Take a step with every learner and return its loss, averaged over all processes."""
        losses = torch.stack([learner.step(inputs, moment=moment) for learner in self.learners])
        losses = self._accelerator.reduce(losses, reduction="mean")  # one transfer for all
        return dict(zip((learner.name for learner in self.learners), losses.tolist(), strict=True))

    def _score(self, epoch: int) -> Scored:
        found = predict(
            self.learners,
            self._development,
            classes=self._corpus.classes,
            speech=self._speech,
            text=self._text,
            accelerator=self._accelerator,
            workers=self._workers,
        )
        classes = self._corpus.classes
        labels = [classes.index(each.label) for each in self._development]
        every = range(len(classes))
        scores = {name: macro_f(labels, each.argmax(-1).tolist(), classes=every) for name, each in found.items()}
        better = tuple(each.name for each in self.learners if each.record_score(scores[each.name], epoch=epoch))
        if self._accelerator.is_main_process:
            with self._writing():
                for learner in self.learners:
                    if learner.name in better:
                        _save_best(learner, self._folder / learner.name)
        place = Place(epoch=epoch + 1, step=0)
        self._append_metrics(place, {"development_macro_f": scores})
        return Scored(epoch=epoch, done_steps=self._done(place), scores=scores, better=better)

    def _save_checkpoint(self, place: Place) -> None:
        """Write a checkpoint, then make it the one to resume from."""
        if self._accelerator.is_main_process:
            with self._writing():
                folder = checkpoints.checkpoint(place, self._folder)
                folder.mkdir(exist_ok=True)
                for learner in self.learners:
                    learner.save(folder)
                checkpoints.save_place(place, self._folder)
        self._accelerator.wait_for_everyone()

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


def class_weights(utterances: Sequence[Utterance], classes: Sequence[str]) -> Float[Tensor, " C"]:
    """Return weights inversely proportional to the share of each class: 1 if all are equal, 0 for an empty class."""
    counts = Counter(utterance.label for utterance in utterances)
    shares = torch.tensor([counts[label] * len(classes) / len(utterances) for label in classes])
    return torch.where(shares > 0, 1 / shares, torch.zeros_like(shares))


def _save_best(learner: Learner, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    learner.save_model(folder / "best.safetensors")
    content = {"development_macro_f": learner.progress.best, "epoch": learner.progress.best_epoch}
    write_atomically(folder / "best.json", json.dumps(content).encode())
