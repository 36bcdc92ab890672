"""The steps of an epoch: each batch is encoded once, and every learner that draws it takes a step on it.

A seed draws its own order and crops, and all mixers with that seed share its batches. So a step encodes a batch for
each seed. If a run shares its data, all seeds have the same batches, and a step encodes one.

Several processes share the learners, those of a seed together as far as possible. Each process encodes what its own
need. So a learner learns the same with any number of processes, and they exchange only losses and scores.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from bench.accuracy.inputs.feed import Drawn, Feed, Inputs
from bench.accuracy.inputs.orders import shuffled
from bench.accuracy.run import ModelConfig, Run
from bench.accuracy.training.learner import Learner
from bench.accuracy.training.replay import Stage


@dataclass(frozen=True, kw_only=True)
class Group:
    """Learners of this process that draw the same batches: the seed of order and crops, and at least one learner."""

    seed: str
    learners: tuple[Learner, ...]


def deal(run: Run, accelerator: Accelerator) -> list[tuple[ModelConfig, int]]:
    """Return the learners of this process: their configurations and seeds."""
    by_seed = sorted(run.models(), key=lambda model: run.seeds.index(model[1]))
    world, rank = accelerator.num_processes, accelerator.process_index
    return [model for number, model in enumerate(by_seed) if number * world // len(by_seed) == rank]


def build_learners(run: Run, *, class_weights: Tensor | None, accelerator: Accelerator) -> list[Learner]:
    """Build the learners of this process; `class_weights` are those of the loss, (C,), or None for equal ones."""
    return [
        Learner(
            config,
            seed=seed,
            learning_rate=run.learning_rate,
            precision=run.precision,
            class_weights=class_weights,
            device=accelerator.device,
        )
        for config, seed in deal(run, accelerator)
    ]


def groups(run: Run, learners: Sequence[Learner]) -> list[Group]:
    """Return which learners draw the same batches."""
    found: dict[str, list[Learner]] = {}
    for learner in learners:
        seed = str(run.data_seed) if run.shared_data else f"{run.data_seed}.{learner.seed}"
        found.setdefault(seed, []).append(learner)
    return [Group(seed=seed, learners=tuple(each)) for seed, each in found.items()]


class Steps:
    """Takes the steps of some learners.

    Attributes:
        stage: Puts inputs where CUDA graphs find them.
    """

    def __init__(self, groups: Sequence[Group], feed: Feed, *, count: int, batch: int) -> None:
        """Prepare to train.

        Args:
            groups: The learners of this process.
            feed: The training utterances.
            count: Their number.
            batch: Utterances in one step.
        """
        self._groups, self._feed = groups, feed
        self._count, self._batch = count, batch
        self.stage = Stage()

    def epoch(self, epoch: int, *, first: int) -> Iterator[dict[str, Tensor]]:
        """Take the steps of an epoch from one on; yield the loss of each learner before each step."""
        inputs = self.inputs(epoch, first=first)
        for step in range(first, self._count // self._batch):
            losses: dict[str, Tensor] = {}
            for group in self._groups:
                losses |= self.take(group, next(inputs), moment=f"{epoch}/{step}")
            yield losses

    def inputs(self, epoch: int, *, first: int = 0) -> Iterator[Inputs]:
        """Yield what the groups learn from in the first step, one after the other, then in the next step."""
        orders = [self._drawn(group, epoch)[first:] for group in self._groups]
        return self._feed([each for step in zip(*orders, strict=True) for each in step])

    def _drawn(self, group: Group, epoch: int) -> list[Drawn]:
        seed = f"{group.seed}/{epoch}"
        return [(seed, each) for each in shuffled(self._count, batch=self._batch, seed=seed)]

    def take(self, group: Group, inputs: Inputs, *, moment: str) -> dict[str, Tensor]:
        """Take a step with every learner of a group, and return its loss before it."""
        staged = self.stage(inputs)
        return {learner.name: learner.step(staged, moment=moment) for learner in group.learners}


def gather(losses: Mapping[str, Tensor], *, names: Sequence[str], accelerator: Accelerator) -> dict[str, float]:
    """Return the losses of the learners of all processes."""
    zero = torch.zeros((), device=accelerator.device)
    values = torch.stack([losses.get(name, zero) for name in names])
    values = accelerator.reduce(values, reduction="sum")  # one transfer for all
    return dict(zip(names, values.tolist(), strict=True))
