"""A sweep that takes seconds, quicker in this process, and the command in a process of its own."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from bench.efficiency import isolation
from bench.efficiency.measurement import latency
from bench.efficiency.measurement.criterion import Criterion

FAST = ("sa/sdpa", "fox", "--lengths", "0.1,0.2", "--preset", "released", "--device", "cpu")

SBENCH = (sys.executable, "-c", "from bench.start import main; main()")


def measure_quickly(monkeypatch: pytest.MonkeyPatch, *, samples: int) -> None:
    """Let sweeps on a CPU measure in this process, and take this many samples of each case, however imprecise."""
    few = Criterion(
        relative_error=1e9, minimum_seconds=0, maximum_seconds=0, minimum_samples=samples, fewest_samples=samples
    )
    monkeypatch.setattr(isolation, "run", _in_this_process)
    monkeypatch.setattr(latency, "CPU_CALLS", few)
    monkeypatch.setattr(latency, "_WINDOW_S", 0.0)


def _in_this_process(
    work: Callable[[Sequence[Any]], Iterable[Any]],
    items: Sequence[Any],
    *,
    limit_s: float,  # noqa: ARG001
    first: object = None,  # noqa: ARG001
) -> Iterator[Any]:
    yield from work(items)
