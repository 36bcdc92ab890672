"""Is a case faster or slower than before, by several processes on each side?

Times differ between processes by more than they vary within one. So a process counts as one observation: its median.
The test is exact for any distribution, and it is that of Wilcoxon, Mann and Whitney.
"""

import functools
import math
import statistics
from collections.abc import Sequence
from fractions import Fraction

from bench.efficiency.noise import spread
from bench.reporting.efficiency import verdict
from bench.reporting.efficiency.verdict import RESOLUTION, THRESHOLD, Judgement, judge, judgement_of

# Of five processes on each side, all of one side must be faster than all of the other. The cases of a mixer share its
# processes, and a host's state shifts whole sweeps. So with a level of 5 %, up to 6 of 77 cases were false alarms
# between two sweeps of the same code; with 1 % up to 3 (reports/nvidia-h100/repeats.jsonl has those with 1 %).
ALPHA = 0.01


def judge_processes(
    before: Sequence[float],
    after: Sequence[float],
    *,
    allowance: float = 0.0,
) -> Judgement:
    """Compare the times of a case in several processes before and after.

    Args:
        before: The median of each process, in any unit.
        after: Likewise, in the same unit.
        allowance: Largest difference that something other than the code explains, as a fraction.

    Raises:
        ValueError: A side has no process, or a time is not positive and finite.
    """
    if not before or not after or not all(0 < time < math.inf for time in (*before, *after)):
        raise ValueError("each side needs a process, and times must be positive and finite")
    low, high = ratio_interval(before, after, alpha=ALPHA)
    return judgement_of(before, after, low, high, threshold=THRESHOLD, resolution=RESOLUTION, allowance=allowance)


def judge_series(
    before: Sequence[Sequence[float]], after: Sequence[Sequence[float]], *, allowance: float = 0.0
) -> Judgement:
    """Compare the GPU's times of a case, of one process or more on each side.

    One process on each side is judged by its samples. Otherwise a process is one observation, and what processes of one
    side differ by is noise. Too few for the ranks to exclude anything have the interval that spans those of all pairs
    of a process before and one after, which is at least as wide.

    Args:
        before: The times of each process in any unit, in the order in which they were taken.
        after: Likewise, in the same unit.
        allowance: Largest difference that something other than the code explains, as a fraction.
    """
    pairs = [judge(one, other, allowance=allowance) for one in before for other in after]
    if len(pairs) == 1:
        return pairs[0]
    early, late = ([statistics.median(series) for series in side] for side in (before, after))
    low, high = ratio_interval(early, late, alpha=verdict.ALPHA)
    if math.isinf(high):
        low, high = min(pair.low for pair in pairs), max(pair.high for pair in pairs)
    return judgement_of(early, late, low, high, allowance=max(allowance, spread(early), spread(late)))


def ratio_interval(before: Sequence[float], after: Sequence[float], *, alpha: float) -> tuple[float, float]:
    """Return the interval of the factor between two samples, from the ratios of all pairs.

    Its ends are the k-th smallest and the k-th largest ratio, with the largest k for which 2 P(U < k) <= alpha, where U
    is the number of pairs in which ``after`` is smaller, if both sides have the same distribution (J. L. Hodges and
    E. L. Lehmann, Annals of Mathematical Statistics 34, 1963, pages 598 to 611). It excludes 1 exactly where the test
    of H. B. Mann and D. R. Whitney (the same annals 18, 1947, pages 50 to 60) finds a difference. It is exact for
    continuous distributions and conservative where values repeat.

    Args:
        before: Times in any unit.
        after: Times in the same unit.
        alpha: Highest probability that the interval misses the factor.

    Returns:
        The interval; 0 and infinity if there are too few values for this level.
    """
    rank = _rank(len(before), len(after), alpha)
    if rank == 0:
        return 0.0, math.inf
    ratios = sorted(late / early for early in before for late in after)
    return ratios[rank - 1], ratios[-rank]


@functools.cache
def _rank(before: int, after: int, alpha: float) -> int:
    """Return the k of `ratio_interval`; 0 if even all ratios do not reach the level."""
    allowed = math.floor(Fraction(alpha) / 2 * math.comb(before + after, before))  # orders of all values
    rank, orders = 0, _orders(before, after, 0)
    while orders <= allowed:
        rank += 1
        orders += _orders(before, after, rank)
    return rank


@functools.cache
def _orders(before: int, after: int, pairs: int) -> int:
    """Return in how many orders of all values exactly this many pairs have the smaller value ``after``."""
    if pairs < 0:
        return 0
    if before == 0 or after == 0:
        return int(pairs == 0)
    # The largest value of all is one of `before`, then it is larger than every `after`; or it is one of `after`.
    return _orders(before - 1, after, pairs - after) + _orders(before, after - 1, pairs)
