"""Is one case of a side faster or slower than in another side? Chooses the test and what counts as noise."""

import statistics

from bench.efficiency.noise import PROCESSES_DIFFER, PROCESSES_NEEDED, spread
from bench.efficiency.records import Record
from bench.efficiency.settings import Case
from bench.reporting.efficiency.process_verdict import judge_processes, judge_series
from bench.reporting.efficiency.quantities import launch_gaps_of
from bench.reporting.efficiency.sides import Side
from bench.reporting.efficiency.verdict import Judgement

# The times that two sides can be compared by, each with its series of samples. The first that both have is taken.
SERIES = {"gpu": "gpu_ms", "latency": "latency_ms"}


def what_processes_differ_by(one: Side, other: Side) -> float | None:
    """Return how far processes of one side differ in single calls, as a fraction, in the middle of all cases.

    None if a side has no case of several processes.
    """
    sides = [[side.process_medians(case) for case in side.records] for side in (one, other)]
    spreads = [[spread(medians) for medians in side if len(medians) > 1] for side in sides]
    return statistics.median(spreads[0] + spreads[1]) if all(spreads) else None


def by_gpu_time(case: Case, one: Side, other: Side) -> tuple[Judgement | None, str]:
    """Judge the time of the GPU alone. Return the judgement, or None and the reason."""
    before, after = one.gpu_ms(case), other.gpu_ms(case)
    if not before or not after:
        return None, f"no samples of {SERIES['gpu']} on both sides"
    return judge_series(before, after, allowance=_allowance(one.records[case], other.records[case])), ""


def by_latency(case: Case, one: Side, other: Side, *, repeats: float) -> tuple[Judgement | None, str]:
    """Judge single calls. What processes of one side differ by in this case, or in the middle of all, is noise."""
    before, after = one.process_medians(case), other.process_medians(case)
    if not before or not after:
        return None, f"no samples of {SERIES['latency']} on both sides"
    if min(len(before), len(after)) < PROCESSES_NEEDED:
        return None, (
            f"single calls of {len(before)} and {len(after)} processes. They differ between processes, so a verdict "
            f"needs {PROCESSES_NEEDED} on each side: sbench sweep --processes {PROCESSES_NEEDED}, or more repeats"
        )
    return judge_processes(before, after, allowance=max(repeats, spread(before), spread(after))), ""


def _allowance(before: Record, after: Record) -> float:
    """Return the largest difference of GPU times, as a fraction, that something other than the code explains."""
    return PROCESSES_DIFFER + max(map(launch_gaps_of, (before, after))) + _explained_by_clocks(before, after)


def _explained_by_clocks(before: Record, after: Record) -> float:
    """Return the largest difference, as a fraction, that the GPU's clocks explain; 0 where a side does not know them.

    It is the difference between the higher of the two usual clocks and the lowest reading of either side. So a case
    that was throttled in one sweep only does not count as slower.
    """
    usual = [record.sm_clock_mhz for record in (before, after) if record.sm_clock_mhz]
    lowest = [record.sm_clock_mhz_min for record in (before, after) if record.sm_clock_mhz_min]
    return max(usual) / min(lowest) - 1 if len(usual) == len(lowest) == 2 else 0.0
