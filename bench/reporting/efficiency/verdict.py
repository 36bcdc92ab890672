"""Is a case faster or slower than before? Pure functions of its raw samples: no files, no clock, no randomness.

No distribution is assumed: times have heavy tails, several modes and, from timers that count in steps, many equal
values. Neighbours may be alike, which widens the interval. Some causes shift a whole run, for instance clocks or
another user of the machine. No interval contains them, so the verdict also has a threshold and an allowance.
"""

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from bench.efficiency.correlation import variance_inflation
from mixers.support.errors import UserError

Verdict = Literal["faster", "slower", "no difference", "noisy"]

ALPHA = 0.05  # of one case: how often its interval may miss the true ratio

# With enough samples any difference is significant, also between two runs of the same code. nvbench takes 0.5 %, asv
# 10 %. Nobody chooses a mixer for less than 1 %.
THRESHOLD = 0.01

# "No difference" means that a difference of this size is ruled out; otherwise the case is noisy. CI stops a slowdown of
# this size (`--fail-on-slower 5%`), so a case too noisy to show it must not read as "no difference".
RESOLUTION = 0.05


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the samples of one case say.

    Attributes:
        median_before: In the unit of the samples.
        median_after: In the unit of the samples.
        ratio: ``median_after / median_before``: above 1 is slower.
        low, high: Confidence interval of the ratio; 0 and infinity if there are too few samples.
        verdict: What follows from the ratio and its interval.
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

    The interval of the ratio follows from the intervals of both medians by Bonferroni's inequality. Each misses its
    median with a probability of at most ``alpha / 2``, so both hold with a probability of at least ``1 - alpha``.

    Args:
        before: Times in any unit, in the order in which they were taken.
        after: Times in the same unit, likewise.
        alpha: Highest probability that the interval misses the true ratio.
        threshold: Smallest difference that counts, as a fraction.
        resolution: Difference that "no difference" must rule out, as a fraction.
        allowance: Largest difference that something other than the code explains, as a fraction. It counts as noise.

    Raises:
        ValueError: A side has no samples or one that is not a time, or the thresholds contradict each other.
    """
    if not 0 <= threshold < resolution:
        raise ValueError(f"the threshold, {threshold}, must be from 0 to below the resolution, {resolution}")
    if not 0 <= allowance < math.inf:
        raise ValueError(f"the allowance, {allowance}, must be finite and not negative")
    if not all(0 < time < math.inf for time in (*before, *after)):
        raise ValueError("times must be positive and finite")
    low_before, high_before = median_interval(before, alpha=alpha / 2, inflation=variance_inflation(before))
    low_after, high_after = median_interval(after, alpha=alpha / 2, inflation=variance_inflation(after))
    low = low_after / high_before
    high = high_after / low_before if low_before else math.inf
    limits = {"threshold": threshold, "resolution": resolution, "allowance": allowance}
    return judgement_of(before, after, low, high, **limits)


def judgement_of(
    before: Sequence[float], after: Sequence[float], low: float, high: float, **limits: float
) -> Judgement:
    """Return what follows from two sides and the interval of their ratio.

    Args:
        before: Times in any unit, of which the median counts.
        after: Times in the same unit, likewise.
        low: Lower end of the interval.
        high: Upper end of the interval.
        **limits: As for `decide`.
    """
    median_before, median_after = statistics.median(before), statistics.median(after)
    ratio = median_after / median_before
    return Judgement(
        median_before=median_before,
        median_after=median_after,
        ratio=ratio,
        low=low,
        high=high,
        verdict=decide(ratio, low, high, **limits),
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

    - ``slower`` or ``faster``: the interval excludes 1, and the ratio is off by more than ``threshold`` and
      ``allowance``. A wide interval that excludes 1 still tells the direction.
    - ``no difference``: the ratio is off by at most ``threshold``, and the interval rules out a difference of
      ``resolution``.
    - ``noisy``: everything else.

    Both directions count alike: 1 % means a ratio of 1.01 or of 1 / 1.01.
    """
    significant = low > 1 or high < 1
    if significant and _distance(ratio) > max(threshold, allowance):
        return "slower" if ratio > 1 else "faster"
    ruled_out = low > 0 and max(_distance(low), _distance(high)) <= resolution
    return "no difference" if ruled_out and _distance(ratio) <= threshold else "noisy"


def median_interval(samples: Sequence[float], *, alpha: float, inflation: float = 1.0) -> tuple[float, float]:
    """Return two of the samples that enclose the true median with a probability of at least ``1 - alpha``.

    They are the k-th smallest and the k-th largest, with the largest k for which 2 P(Binomial(n, 1/2) < k) <= alpha:
    exact for continuous distributions, conservative where values repeat (W. R. Thompson, Annals of Mathematical
    Statistics 7, 1936, page 122; H. A. David and H. N. Nagaraja, Order Statistics, third edition, section 7.1).
    Correlated samples say as much as fewer independent ones: the ranks are those of that many samples, stretched, and
    the whole range if they are too few. For independent samples `scipy.stats.quantile_test` gives the same interval,
    but takes 1000 times as long, and 2 s to import.

    Args:
        samples: In any order.
        alpha: Highest probability that the interval misses the median.
        inflation: By which factor correlation raises the variance of the median, as `variance_inflation` tells.

    Returns:
        The interval, ends included; 0 and infinity, which enclose every time, if there are too few samples.

    Raises:
        ValueError: ``alpha`` is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
    if _rank(len(samples), alpha) == 0:
        return 0.0, math.inf
    independent = max(1, math.floor(len(samples) / inflation))
    rank = max(1, _rank(independent, alpha) * len(samples) // independent)
    ordered = sorted(samples)
    return ordered[rank - 1], ordered[-rank]


def slower_than(judgement: Judgement, fraction: float) -> bool:
    """Tell whether a case is called slower and its ratio exceeds ``1 + fraction``.

    The verdict has a threshold of its own, so a smaller fraction changes nothing. A noisy case never counts.
    """
    return judgement.verdict == "slower" and _distance(judgement.ratio) > fraction


def medians_agree(judgement: Judgement) -> bool:
    """Tell whether the medians differ by no more than the threshold, whatever the verdict."""
    return _distance(judgement.ratio) <= THRESHOLD


def parse_fraction(text: str) -> float:
    """Return the fraction that a text such as ``5%`` or ``0.05`` means.

    Raises:
        UserError: It is not a fraction, or it is ambiguous like ``5``.
    """
    number, percent, rest = text.strip().partition("%")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if rest or not 0 <= value < (math.inf if percent else 1):
        raise UserError(f"{text!r} is not a fraction", hint="Write it like 5% or 0.05.")
    return value / 100 if percent else value


@functools.cache
def _rank(count: int, alpha: float) -> int:
    """Return the k of ``median_interval``; 0 if even the whole range of the samples does not reach the level."""
    # Counted in outcomes of `count` coin tosses, of which there are 2**count: integers, so nothing is rounded.
    allowed = math.floor(Fraction(alpha) / 2 * 2**count)
    rank, outcomes, total = 0, 1, 1
    while total <= allowed:
        rank += 1
        outcomes = outcomes * (count - rank + 1) // rank
        total += outcomes
    return rank


def _distance(ratio: float) -> float:
    """Return how far a ratio is from 1, as a fraction, the same for a ratio and its inverse."""
    # Rounded, because 1.01 - 1 is more than 0.01, and timers that count in steps do give differences of exactly 1 %.
    return round(max(ratio, 1 / ratio) - 1, 12)
