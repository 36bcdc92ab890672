"""How far two processes that measure the same may differ. Each allowance has the measurement behind it."""

from collections.abc import Sequence

# The same short call behind a full queue can take this much longer in one process than in another, the same process at
# every call. The reason is the gaps between its launches: the same calls as CUDA graphs, which need no launches, agree
# far better. Two sweeps of an H200 differed by up to 0.019 ms for calls of less than 0.5 ms (kda at 10 s), four
# processes on an H100 by up to 0.023 ms (kda at 10 s). Two sweeps of an H100 as graphs differed by up to 0.007 ms
# (sa/sdpa at 25 s).
_LAUNCH_GAPS_MS = {"graph": 0.007, "queue": 0.025, "calls": 0.025}


def launch_gaps(*, gpu_clock: str, gpu_ms: float) -> float:
    """Return the share of a call's GPU time that gaps between its launches explain.

    Args:
        gpu_clock: How the time was taken, as a record has it.
        gpu_ms: The time.
    """
    return _LAUNCH_GAPS_MS[gpu_clock] / gpu_ms


# Any call may differ by this share, in a CUDA graph too, for no reason that the card reports: two sweeps of the same
# code on an H200 differed by a little more than 1 %.
PROCESSES_DIFFER = 0.015

# Single calls of the same code differ between processes by a factor of up to 3, far more than within one. So a
# conclusion from them needs this many processes: with five on each side, an exact test can tell two mixers apart.
PROCESSES_NEEDED = 5


def spread(medians: Sequence[float]) -> float:
    """Return the largest ratio of any two values, minus 1."""
    return max(medians) / min(medians) - 1
