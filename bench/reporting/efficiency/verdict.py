"""Is a case faster or slower than before? Pure functions of its raw samples: no files, no clock, no randomness.

Nothing is assumed of the distribution: times have heavy tails, several modes and, from timers that count in steps,
many equal values. The samples must be independent draws for the level to hold. What shifts a whole run (clocks, another
neighbour on the machine) is in no sample of the other run and so in no interval; the practical threshold stands for it.
"""

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from mixers.support.errors import UserError

Verdict = Literal["faster", "slower", "no difference", "noisy"]

ALPHA = 0.05  # for each case; intervals that must not overlap differ by chance far more rarely than this allows

# With enough samples any difference is significant, also the one between two runs of the same code, which no interval
# knows of. nvbench takes 0.5 %, asv 10 %; nobody chooses a mixer for less than 1 %.
THRESHOLD = 0.01

# "No difference" promises that one of this size is ruled out; a case that still allows it is noisy. It is the slowdown
# that CI is to stop (`--fail-on-slower 5%`): a case too wild to show it must not read as if there were none.
RESOLUTION = 0.05


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the samples of one case say.

    Attributes:
        median_before: In the unit of the samples.
        median_after: In the unit of the samples.
        ratio: ``median_after / median_before``: above 1 is slower.
        low, high: Confidence interval of the ratio; 0 and infinity where there are too few samples for any.
        verdict: What follows from these.
    """

    median_before: float
    median_after: float
    ratio: float
    low: float
    high: float
    verdict: Verdict


def judge(
    before: Sequence[float],
    after: Sequence[float],
    *,
    alpha: float = ALPHA,
    threshold: float = THRESHOLD,
    resolution: float = RESOLUTION,
    allowance: float = 0.0,
) -> Judgement:
    """Compare the times of a case before and after.

    The interval of the ratio joins the two medians' intervals by Bonferroni's inequality: each misses its median with a
    probability of at most ``alpha / 2``, so both hold with one of at least ``1 - alpha``.

    Args:
        before: Times in any unit, in any order.
        after: Times in the same unit.
        alpha: Highest probability that the interval misses the true ratio.
        threshold: Smallest difference that counts, as a fraction.
        resolution: Largest difference that "no difference" may leave possible, as a fraction.
        allowance: Largest difference that something other than the code explains, as a fraction: it counts as noise.

    Raises:
        ValueError: A side has no samples or one that is no time, or the rule contradicts itself.
    """
    if not 0 <= threshold < resolution:
        raise ValueError(f"the threshold, {threshold}, must be from 0 to below the resolution, {resolution}")
    if not 0 <= allowance < math.inf:
        raise ValueError(f"the allowance, {allowance}, must be finite and not negative")
    if not all(0 < time < math.inf for time in (*before, *after)):
        raise ValueError("times must be positive and finite")
    low_before, high_before = median_interval(before, alpha=alpha / 2)
    low_after, high_after = median_interval(after, alpha=alpha / 2)
    low = low_after / high_before
    high = high_after / low_before if low_before else math.inf
    median_before, median_after = statistics.median(before), statistics.median(after)
    ratio = median_after / median_before
    return Judgement(
        median_before=median_before,
        median_after=median_after,
        ratio=ratio,
        low=low,
        high=high,
        verdict=decide(ratio, low, high, threshold=threshold, resolution=resolution, allowance=allowance),
    )


def decide(
    ratio: float,
    low: float,
    high: float,
    *,
    threshold: float = THRESHOLD,
    resolution: float = RESOLUTION,
    allowance: float = 0.0,
) -> Verdict:
    """Return the verdict on a ratio and its confidence interval.

    A difference comes first: an interval that is wide but excludes 1 still tells the direction, and the ratio says that
    it matters, unless something else explains it, up to ``allowance``. What is left may be called the same only where
    the medians agree within ``threshold`` and the interval rules out a difference of ``resolution``; the rest is noise.
    Differences count alike in both directions: 1 % means a ratio of 1.01 or of 1 / 1.01.
    """
    significant = low > 1 or high < 1
    if significant and _distance(ratio) > max(threshold, allowance):
        return "slower" if ratio > 1 else "faster"
    ruled_out = low > 0 and max(_distance(low), _distance(high)) <= resolution
    return "no difference" if ruled_out and _distance(ratio) <= threshold else "noisy"


def median_interval(samples: Sequence[float], *, alpha: float) -> tuple[float, float]:
    """Return two of the samples that enclose the true median with a probability of at least ``1 - alpha``.

    They are the k-th smallest and the k-th largest, with the largest k for which 2 P(Binomial(n, 1/2) < k) <= alpha:
    exact for continuous distributions, conservative where values repeat (W. R. Thompson, Annals of Mathematical
    Statistics 7, 1936, page 122; H. A. David and H. N. Nagaraja, Order Statistics, third edition, section 7.1).

    Returns:
        The interval, ends included; 0 and infinity, between which every time lies, where there are too few samples.

    Raises:
        ValueError: ``alpha`` is no probability between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
    rank = _rank(len(samples), alpha)
    if rank == 0:
        return 0.0, math.inf
    ordered = sorted(samples)
    return ordered[rank - 1], ordered[-rank]


def slower_than(judgement: Judgement, fraction: float) -> bool:
    """Tell whether a case is called slower and its ratio exceeds ``1 + fraction``.

    A fraction below the threshold of the verdict asks for no more than the verdict does; a noisy case never counts.
    """
    return judgement.verdict == "slower" and _distance(judgement.ratio) > fraction


def medians_agree(judgement: Judgement) -> bool:
    """Tell whether the medians differ by no more than the threshold, whatever the verdict."""
    return _distance(judgement.ratio) <= THRESHOLD


def parse_fraction(text: str) -> float:
    """Return the fraction that ``5%`` or ``0.05`` means.

    Raises:
        UserError: It means none, or, like ``5``, might mean two.
    """
    number, percent, rest = text.strip().partition("%")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if rest or not 0 <= value < (math.inf if percent else 1):
        raise UserError(f"{text!r} is no fraction", hint="Write it like 5% or 0.05.")
    return value / 100 if percent else value


@functools.cache
def _rank(count: int, alpha: float) -> int:
    """Return the k of ``median_interval``, 0 where even the whole range of the samples does not reach the level."""
    # Counted in whole outcomes of `count` tosses, of which there are 2**count: no rounding can make it less than exact.
    allowed = math.floor(Fraction(alpha) / 2 * 2**count)
    rank, outcomes, total = 0, 1, 1
    while total <= allowed:
        rank += 1
        outcomes = outcomes * (count - rank + 1) // rank
        total += outcomes
    return rank


def _distance(ratio: float) -> float:
    """Return how far a ratio is from 1, as a fraction, the same for a ratio and its inverse."""
    # Rounded, since 1.01 - 1 is more than 0.01: with timers that count in steps, differences of just 1 % do occur.
    return round(max(ratio, 1 / ratio) - 1, 12)
