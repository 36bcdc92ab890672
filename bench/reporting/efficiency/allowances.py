"""How far two mixers may differ before one of them is ahead. A pure function of records."""

import math

from scipy import stats

from bench.efficiency.noise import PROCESSES_DIFFER, PROCESSES_NEEDED
from bench.efficiency.records import Record
from bench.reporting.efficiency.quantities import Quantity, gpu_time, latency, launch_gaps_of, memory

CONFIDENCE = 0.95

_NORMAL = float(stats.norm.ppf((1 + CONFIDENCE) / 2))


def allowed(one: Record, other: Record, quantity: Quantity) -> float:
    """Return the largest difference of logarithms that noise explains; infinite where that is not known.

    For both times it follows from the standard errors of both medians, and from what two processes differ by. The GPU's
    time may also differ by the gaps between launches. The errors of single calls are those between processes, with
    Student's factor for the side with fewer processes.
    """
    if quantity is memory:
        return 0.0  # the allocator counts exactly
    if quantity is gpu_time:
        gaps = max(launch_gaps_of(one), launch_gaps_of(other))
        return _NORMAL * math.hypot(one.gpu_error or 0, other.gpu_error or 0) + PROCESSES_DIFFER + gaps
    fewest = min(one.processes, other.processes)
    if quantity is not latency or fewest < PROCESSES_NEEDED:
        return math.inf
    student = float(stats.t.ppf((1 + CONFIDENCE) / 2, fewest - 1))
    return student * math.hypot(one.latency_error or 0, other.latency_error or 0) + PROCESSES_DIFFER


def differ(one: Record, other: Record, quantity: Quantity) -> bool:
    """Tell whether two cases differ by more than noise explains; both must have a figure."""
    figures = quantity(one), quantity(other)
    assert figures[0]
    assert figures[1]
    return abs(math.log(figures[0] / figures[1])) > allowed(one, other, quantity)
