"""CUDA graphs of calls."""

import pytest
import torch

from bench.efficiency.measurement.execution import capture


@pytest.mark.gpu
@pytest.mark.usefixtures("always_collecting")
def test_a_capture_destroys_no_graph_that_was_dropped() -> None:
    """CUDA forbids it, and the capture would fail. Here each graph is in a loop, so that it waits for a collection."""
    x = torch.zeros(8, device="cuda")
    for _ in range(3):
        loop: list[object] = [capture(lambda: [x + number for number in range(50)])]
        loop.append(loop)
