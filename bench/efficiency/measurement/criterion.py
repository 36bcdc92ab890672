"""When to stop sampling: once the median is precise enough, between minimums and a maximum of time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.efficiency.correlation import variance_inflation

Stop = Literal["converged", "cap", "contaminated"]


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """When a series of samples ends.

    Attributes:
        relative_error: The series has converged at this standard error of the median, as a fraction of it.
        minimum_samples: The fewest samples before ``maximum_seconds``.
        fewest_samples: The fewest samples after ``maximum_seconds``, as in long calls.
        minimum_seconds: The shortest wall time, so that clocks and temperature take effect.
        maximum_seconds: Wall time after which sampling ends, once the fewest samples are taken.
    """

    relative_error: float
    minimum_samples: int = 20
    fewest_samples: int = 10
    minimum_seconds: float
    maximum_seconds: float

    def verdict(self, samples: Sequence[float], *, elapsed_s: float) -> Stop | None:
        """Return why to stop after these samples and this wall time; None to continue."""
        capped = elapsed_s >= self.maximum_seconds
        floor = self.fewest_samples if capped else self.minimum_samples
        if len(samples) < floor or elapsed_s < self.minimum_seconds:
            return None
        if median_error(samples) <= self.relative_error:
            return "converged"
        return "cap" if capped else None


def median_error(samples: Sequence[float]) -> float:
    """Return the standard error of the median as a fraction of it; infinite for fewer than four samples.

    It is half the distance between two order statistics: those sqrt(n f) / 2 ranks below and above the middle, or the
    first and last. Without correlation f is 1, and that many ranks are one standard deviation of the binomial count of
    samples below the true median. Correlation raises the variance of that count by the factor f. This needs no density
    estimate and holds for skewed and heavy tails (J. W. McKean and R. M. Schrader, Communications in Statistics B 13,
    1984, pages 751 to 773).

    Args:
        samples: In the order in which they were taken, since `variance_inflation` depends on it.
    """
    count = len(samples)
    if count < 4:
        return math.inf
    ordered = sorted(samples)
    half = min(math.sqrt(count * variance_inflation(samples)) / 2, (count - 1) / 2)
    low, middle, high = (_at(ordered, (count - 1) / 2 + side * half) for side in (-1, 0, 1))
    return (high - low) / 2 / middle


def _at(ordered: Sequence[float], rank: float) -> float:
    """Return the value at a rank, counted from 0, interpolated between neighbours."""
    below = math.floor(rank)
    return ordered[below] + (rank - below) * (ordered[math.ceil(rank)] - ordered[below])
