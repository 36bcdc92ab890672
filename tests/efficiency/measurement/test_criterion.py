"""Sampling ends between floors and a cap, once the median is known."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.efficiency.measurement.criterion import Criterion, median_error

CRITERION = Criterion(relative_error=0.01, minimum_samples=20, minimum_seconds=0.2, maximum_seconds=1.0)

STEADY, WILD = [1.0] * 20, [1.0, 2.0] * 10

times = st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=200)


@pytest.mark.parametrize(
    ("samples", "elapsed_s", "verdict"),
    [
        (STEADY[:19], 0.9, None),
        (STEADY[:9], 5.0, None),
        (STEADY[:10], 1.0, "converged"),
        (WILD[:10], 1.0, "cap"),
        (STEADY, 0.1, None),
        (STEADY, 0.2, "converged"),
        (WILD, 0.9, None),
        (WILD, 1.0, "cap"),
        ([], 0.0, None),
    ],
)
def test_verdict(samples: list[float], elapsed_s: float, verdict: str | None) -> None:
    assert CRITERION.verdict(samples, elapsed_s=elapsed_s) == verdict


@given(times, st.floats(0.01, 100))
def test_the_error_has_no_unit_and_no_order(samples: list[float], unit: float) -> None:
    shuffled = random.Random(0).sample(samples, len(samples))
    assert median_error([unit * time for time in shuffled]) == pytest.approx(median_error(samples), rel=1e-6, abs=1e-9)


@given(times)
def test_the_error_lies_within_the_spread(samples: list[float]) -> None:
    assert 0 <= median_error(samples) <= (max(samples) - min(samples)) / min(samples)


def test_few_samples_say_nothing() -> None:
    assert median_error([1.0] * 3) == math.inf


@pytest.mark.parametrize("count", [10, 20, 50, 200])
def test_the_error_is_the_standard_deviation_of_the_median(count: int) -> None:
    """Known for the normal distribution: about 1.2533 sigma / sqrt(n)."""
    generator = random.Random(count)
    repeated = [[generator.gauss(100, 5) for _ in range(count)] for _ in range(400)]
    true = statistics.stdev(statistics.median(samples) for samples in repeated) / 100
    estimated = statistics.mean(median_error(samples) for samples in repeated)
    assert 0.85 * true < estimated < 1.15 * true
