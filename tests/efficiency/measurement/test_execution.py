"""CUDA graphs of calls."""

import gc
from unittest.mock import MagicMock

import pytest

from bench.efficiency.measurement import execution
from bench.efficiency.measurement.execution import capture


def collections_of_a_capture() -> list[bool]:
    """Whether Python collects garbage, in each call before a capture and in the captured one."""
    collects: list[bool] = []
    capture(lambda: collects.append(gc.isenabled()))
    assert gc.isenabled()
    return collects


@pytest.mark.usefixtures("pretended_captures")
def test_nothing_is_collected_while_a_call_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection could destroy an older graph that was dropped, which CUDA forbids there."""
    monkeypatch.setattr(execution, "_stream_of_captures", MagicMock())
    assert collections_of_a_capture() == [True, True, False]


@pytest.mark.gpu
def test_nor_on_a_gpu() -> None:
    assert collections_of_a_capture() == [True, True, False]
