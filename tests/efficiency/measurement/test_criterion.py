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
def test_the_error_has_no_unit(samples: list[float], unit: float) -> None:
    assert median_error([unit * time for time in samples]) == pytest.approx(median_error(samples), rel=1e-6, abs=1e-9)


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


def test_levels_that_last_are_less_precise_than_the_same_samples_mixed() -> None:
    generator = random.Random(0)
    levels = [generator.gauss(level, 0.01) for level in (7.08, 7.24, 7.08, 7.08, 7.24) for _ in range(20)]
    mixed = generator.sample(levels, len(levels))
    assert median_error(levels) > 2 * median_error(mixed)
    assert median_error(levels) > 0.005


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_the_error_covers_correlated_samples(correlation: float) -> None:
    """The median of each series, off the truth by less than two standard errors in most of many series."""

    def series(generator: random.Random) -> list[float]:
        noise, values = 0.0, []
        for _ in range(300):
            noise = correlation * noise + math.sqrt(1 - correlation**2) * generator.gauss(0, 1)
            values.append(100 + noise)
        return values

    every = [series(random.Random(seed)) for seed in range(200)]
    covered = [abs(statistics.median(each) - 100) <= 200 * median_error(each) for each in every]
    assert sum(covered) >= 0.85 * len(covered)
