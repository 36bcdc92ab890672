"""When to stop sampling: once the median is known well enough, between floors and a cap."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Stop = Literal["converged", "cap", "contaminated"]


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """What ends a series of samples.

    Attributes:
        relative_error: Standard error of the median, as a fraction of it, that counts as converged.
        minimum_samples: Floor.
        fewest_samples: Floor once the cap is over, as in long calls.
        minimum_seconds: Floor of wall time, so that the clocks and the temperature have had time to show.
        maximum_seconds: Cap of wall time.
    """

    relative_error: float
    minimum_samples: int = 20
    fewest_samples: int = 10
    minimum_seconds: float
    maximum_seconds: float

    def verdict(self, samples: Sequence[float], *, elapsed_s: float) -> Stop | None:
        """Return why to stop after these samples and this wall time; None to go on."""
        capped = elapsed_s >= self.maximum_seconds
        floor = self.fewest_samples if capped else self.minimum_samples
        if len(samples) < floor or elapsed_s < self.minimum_seconds:
            return None
        if median_error(samples) <= self.relative_error:
            return "converged"
        return "cap" if capped else None


def median_error(samples: Sequence[float]) -> float:
    """Return the standard error of the median as a fraction of it; infinite for fewer than four samples.

    Half the distance between the order statistics half a square root of n ranks below and above the middle, one
    standard deviation of the binomial count of samples below the true median. It needs no density estimate and holds
    for skewed and heavy tails (J. W. McKean and R. M. Schrader, Communications in Statistics B 13, 1984, pages 751 to
    773).
    """
    count = len(samples)
    if count < 4:
        return math.inf
    ordered = sorted(samples)
    low, middle, high = (_at(ordered, (count - 1) / 2 + side * math.sqrt(count) / 2) for side in (-1, 0, 1))
    return (high - low) / 2 / middle


def _at(ordered: Sequence[float], rank: float) -> float:
    """Return the value at a rank, counted from 0, between neighbours where it falls between them."""
    below = math.floor(rank)
    return ordered[below] + (rank - below) * (ordered[math.ceil(rank)] - ordered[below])
