"""Captured steps."""

import gc
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor, nn

from bench.accuracy.inputs.feed import Inputs
from bench.accuracy.training import replay
from bench.accuracy.training.replay import Replayed


@pytest.mark.usefixtures("pretended_captures")
def test_nothing_is_collected_while_a_step_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection could destroy the graph of a learner that was dropped, which CUDA forbids there."""
    monkeypatch.setattr(replay, "_memory", MagicMock())
    collects: list[bool] = []

    def differentiate(_: Inputs) -> Tensor:
        collects.append(gc.isenabled())
        return torch.zeros(())

    step = Replayed("sa-0", nn.Linear(1, 1), differentiate, lambda: None)
    inputs = Inputs(speech=torch.zeros(1, 2, 1), text=None, text_mask=None, labels=torch.zeros(1, dtype=torch.int64))
    for _ in range(3):
        step(inputs)
    assert collects == [True, True, False]  # a step, the rehearsal and the capture; then a replay
    assert gc.isenabled()
