"""Trains many classifiers on one pass of the encoders: each batch is encoded once, and every learner takes its step.

A run that was killed goes on from its last checkpoint and comes to what an uninterrupted one comes to: order and crops
follow from seed and epoch, dropout from seed and step, and nothing else is drawn.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from bench.accuracy import run as runs
from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, Corpus, Utterance
from bench.accuracy.evaluation.metrics import macro_f
from bench.accuracy.evaluation.scoring import predict
from bench.accuracy.inputs.batches import Crops, Inputs, Order, encode, load
from bench.accuracy.inputs.features import SpeechFeatures, TextFeatures
from bench.accuracy.run import Place, Run
from bench.accuracy.training.learner import Learner
from bench.files import resume_command, write_atomically
from mixers.support.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """A step was taken: its place, how many its epoch has, and each learner's loss."""

    place: Place
    steps: int
    losses: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """An epoch ended: each learner's macro-F on the development set, and whose was its best."""

    epoch: int
    scores: dict[str, float]
    better: tuple[str, ...]


class Training:
    """A run at work."""

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
        """Build the learners, or take them up where they were.

        Args:
            run: What is trained.
            folder: Where it is kept; it exists.
            corpus: With the splits ``train`` and ``development``.
            speech: The frozen speech encoder.
            text: The frozen text encoder; None for speech alone.
            accelerator: Spreads the work over its processes.
            workers: Processes that read audio, beside this one.
            checkpoint_steps: A checkpoint is written after so many steps, and after each epoch.

        Raises:
            UserError: A split is missing, or the checkpoint is damaged.
        """
        self._run, self._folder, self._corpus = run, folder, corpus
        self._speech, self._text = speech, text
        self._accelerator = accelerator
        self._workers, self._checkpoint_steps = workers, checkpoint_steps
        self._train = corpus.split(TRAIN)
        self._development = corpus.split(DEVELOPMENT)
        weights = class_weights(self._train, corpus.classes) if run.preset == "released" else None
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
        self.begin = runs.last_place(folder) or Place(epoch=0, step=0)
        if self.begin != Place(epoch=0, step=0):
            for learner in self.learners:
                learner.load(runs.checkpoint(self.begin, folder))
        if accelerator.is_main_process:
            with self._writing():
                runs.forget_metrics_after(self.begin if self.begin.epoch or self.begin.step else None, folder)

    @property
    def steps(self) -> int:
        """How many an epoch has."""
        return len(self._train) // self._run.batch

    def work(self) -> Iterator[Stepped | Scored]:
        """Train what is left; yield each step and each evaluation.

        Raises:
            UserError: A loss is not finite, audio cannot be read, or a file cannot be written.
        """
        if self._text is not None:
            self._text.prepare([each.text for each in (*self._train, *self._development)])
        for epoch in range(self.begin.epoch, self._run.epochs):
            first = self.begin.step if epoch == self.begin.epoch else 0
            yield from self._epoch(epoch, first)
            yield self._score(epoch)
            self._keep(Place(epoch=epoch + 1, step=0))

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
        steps = len(order)
        order.skip(first)
        loader = load(crops, order, classes=self._corpus.classes, workers=self._workers)
        for step, batch in enumerate(loader, start=first):
            inputs = encode(batch, speech=self._speech, text=self._text, device=accelerator.device)
            losses = self._step(inputs, moment=f"{epoch}/{step}")
            for learner in self.learners:
                learner.check(losses, epoch=epoch)
            place = Place(epoch=epoch, step=step + 1)
            self._note(
                place, {"loss": losses, "learning_rate": {each.name: each.learning_rate for each in self.learners}}
            )
            yield Stepped(place=place, steps=steps, losses=losses)
            if place.step % self._checkpoint_steps == 0 and place.step < steps:
                self._keep(place)

    def _step(self, inputs: Inputs, *, moment: str) -> dict[str, float]:
        """Let everyone learn from a batch."""
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
        better = tuple(learner.name for learner in self.learners if learner.judge(scores[learner.name], epoch=epoch))
        if self._accelerator.is_main_process:
            with self._writing():
                for learner in self.learners:
                    if learner.name in better:
                        _save_best(learner, self._folder / learner.name)
        self._note(Place(epoch=epoch + 1, step=0), {"development_macro_f": scores})
        return Scored(epoch=epoch, scores=scores, better=better)

    def _keep(self, place: Place) -> None:
        """Write a checkpoint, and only then make it the one to go on from."""
        if self._accelerator.is_main_process:
            with self._writing():
                folder = runs.checkpoint(place, self._folder)
                folder.mkdir(exist_ok=True)
                for learner in self.learners:
                    learner.save(folder)
                runs.save_place(place, self._folder)
        self._accelerator.wait_for_everyone()

    def _note(self, place: Place, values: dict[str, Any]) -> None:
        if self._accelerator.is_main_process:
            with self._writing():
                runs.append_metrics(place, values, self._folder)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn a full disk into a line for the user."""
        try:
            yield
        except OSError as error:
            hint = f"Make room, then: {resume_command('train', self._folder)}"
            raise UserError(f"{self._folder} cannot be written: {error.strerror}", hint=hint) from None


def class_weights(utterances: Sequence[Utterance], classes: Sequence[str]) -> Float[Tensor, " C"]:
    """Return weights in inverse proportion to each class's share, 1 where all are equally frequent; 0 for none."""
    counts = Counter(utterance.label for utterance in utterances)
    shares = torch.tensor([counts[label] * len(classes) / len(utterances) for label in classes])
    return torch.where(shares > 0, 1 / shares, torch.zeros_like(shares))


def _save_best(learner: Learner, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    learner.save_model(folder / "best.safetensors")
    content = {"development_macro_f": learner.progress.best, "epoch": learner.progress.best_epoch}
    write_atomically(folder / "best.json", json.dumps(content).encode())
