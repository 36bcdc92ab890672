"""Predictions of time and memory from calls that follow a power law."""

import itertools
from functools import partial

import pytest

from bench.efficiency.forecast import Forecast


def power_law(frames: int, *, power: float) -> tuple[float, float]:
    """Seconds and GiB of a call that takes a second and a GiB at 1,000 frames."""
    return (frames / 1000) ** power, (frames / 1000) ** power


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_forecast_of_time(power: float) -> None:
    """A long case has 14 calls; finding out takes two at each step on the way."""
    forecast = Forecast(partial(power_law, power=power), free_gib=float("inf"))
    assert forecast.obstacle(1000, seconds_left=30) == ""
    seconds = 14 * 4**power
    assert f"would take about {seconds:.0f} s" in forecast.obstacle(4000, seconds_left=0.9 * seconds)


@pytest.mark.parametrize(
    ("needed", "left", "said"),
    [
        (2.4, 1.6, "would take about 2.4 s; 1.6 s are left"),
        (2.44, 2.43, "would take about 2.5 s; 2.4 s are left"),
        (0.0123, 0.0, "would take about 0.013 s; 0 s are left"),
        (12.2, 12.1, "would take about 13 s; 12 s are left"),
        (140.0, 9.96, "would take about 140 s; 9.9 s are left"),
        (140.0, -1.0, "would take about 140 s; 0 s are left"),
    ],
)
def test_what_a_case_needs_reads_as_more_than_what_is_left(needed: float, left: float, said: str) -> None:
    forecast = Forecast(lambda _: (needed / 14, 0.0), free_gib=float("inf"))
    assert forecast.obstacle(49, seconds_left=left + 2 * needed / 14).startswith(said)


@pytest.mark.parametrize(
    ("later", "seconds_left", "spare_s"),
    [
        ([], 2.0, 2.0),
        ([], 100.0, 3.0),  # no case takes all
        ([], -1.0, 0.0),
        ([2000], 68.0, 2.0),  # 16 calls of 2 s, twice as slow as now, are reserved
        ([2000, 10**9], 70.0, 2.0),  # what would not fit needs no reserve
    ],
)
def test_what_longer_cases_leave_of_the_budget_is_spare(later: list[int], seconds_left: float, spare_s: float) -> None:
    forecast = Forecast(partial(power_law, power=1.0), free_gib=float("inf"))
    assert forecast.obstacle(1000, seconds_left=60) == ""
    assert forecast.spare_s(later, seconds_left=seconds_left) == pytest.approx(spare_s)


def test_forecast_of_memory_never_tries_what_might_not_fit() -> None:
    tried: list[int] = []

    def attempt(frames: int) -> tuple[float, float]:
        tried.append(frames)
        return 1e-3, power_law(frames, power=2)[1]

    forecast = Forecast(attempt, free_gib=20.0)
    assert forecast.obstacle(4000, seconds_left=60) == ""
    assert "5000 frames might take 25 GiB; 20 GiB are free" in forecast.obstacle(5000, seconds_left=60)
    assert "GiB are free" in forecast.obstacle(20_000, seconds_left=60)
    assert max(tried) == 4000
    assert all(longer <= 4 * shorter for shorter, longer in itertools.pairwise(tried))
