"""Time of one call: CUDA events around it on a GPU, the performance counter on a CPU."""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

WARM_UP_CALLS = 3  # the first compiles and tunes, the second may still allocate, the third is like all later ones
MINIMUM_SAMPLES = 20
MINIMUM_SECONDS = 0.3


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Times of single calls in the order in which they were taken, in ms."""

    samples_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """Median of the samples."""
        return statistics.median(self.samples_ms)

    @property
    def mean_ms(self) -> float:
        """Mean of the samples."""
        return statistics.fmean(self.samples_ms)

    @property
    def p05_ms(self) -> float:
        """5th percentile of the samples."""
        return statistics.quantiles(self.samples_ms, n=20, method="inclusive")[0]

    @property
    def p95_ms(self) -> float:
        """95th percentile of the samples."""
        return statistics.quantiles(self.samples_ms, n=20, method="inclusive")[-1]


def measure_latency(call: Callable[[], object], *, device_type: str) -> Latency:
    """Time single calls, each begun on an idle device, until there are at least 20 and they fill 0.3 s.

    Python collects no garbage meanwhile.

    Args:
        call: What is timed; it must have been warmed up.
        device_type: ``cuda`` or ``cpu``.
    """
    time_once = _time_on_gpu if device_type == "cuda" else _time_on_cpu
    samples: list[float] = []
    gc.collect()
    gc.disable()
    try:
        while len(samples) < MINIMUM_SAMPLES or sum(samples) < 1e3 * MINIMUM_SECONDS:
            samples.append(time_once(call))
    finally:
        gc.enable()
    return Latency(samples_ms=tuple(samples))


def gpu_clock() -> float:
    """Return the time in seconds once the GPU has done all that it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def _time_on_gpu(call: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def _time_on_cpu(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)
