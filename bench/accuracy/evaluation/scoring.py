"""Predicts whole recordings in batches of similar length; each is encoded once for all mixers and seeds."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from jaxtyping import Float
from torch import Tensor

from bench.accuracy.inputs.feed import Feed, Inputs


class Classifier(Protocol):
    """What can be scored."""

    @property
    def name(self) -> str:
        """The mixer and seed: ``kda-0``."""

    def predict(self, inputs: Inputs) -> Float[Tensor, "B C"]:
        """Return the probability of each class, in float32."""


def predict(
    learners: Sequence[Classifier],
    feed: Feed,
    batches: Sequence[Sequence[int]],
    *,
    accelerator: Accelerator,
    done: Callable[[int], None] = lambda _: None,
) -> dict[str, Float[Tensor, "utterances C"]]:
    """Return the probabilities of the learners of all processes, in the order of the utterances.

    Args:
        learners: Those of this process.
        feed: The utterances, as whole recordings.
        batches: All of them, each once: `Feed.batches`.
        accelerator: Its processes share the learners.
        done: Called with the number of utterances predicted so far.

    Raises:
        UserError: A recording cannot be read, or its features are not finite.
    """
    found: list[Tensor] = []
    count = 0
    for batch, inputs in zip(batches, feed([("", batch) for batch in batches]), strict=True):
        found += [torch.stack([learner.predict(inputs) for learner in learners])] if learners else []
        count += len(batch)
        done(count)
    order = torch.tensor([index for batch in batches for index in batch]).argsort()
    own = {}
    if learners:
        table = torch.cat(found, dim=1).cpu()[:, order]  # (learners, utterances, C); the host waits only here
        own = {learner.name: rows for learner, rows in zip(learners, table, strict=True)}
    if accelerator.num_processes == 1:
        return own
    return {name: rows for each in gather_object([own]) for name, rows in each.items()}
