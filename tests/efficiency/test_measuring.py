"""Known answers: calls whose time and memory are known before they are measured."""

import itertools
import time
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.efficiency.forecast import Forecast
from bench.efficiency.latency import MINIMUM_SAMPLES, MINIMUM_SECONDS, Latency, measure_latency
from bench.efficiency.memory import GIB, peak_memory_gib
from mixers import stack

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def test_latency_of_a_known_sleep() -> None:
    latency = measure_latency(lambda: time.sleep(0.004), device_type="cpu")
    assert len(latency.samples_ms) >= MINIMUM_SAMPLES
    assert sum(latency.samples_ms) >= 1e3 * MINIMUM_SECONDS
    assert 4.0 <= latency.median_ms < 8.0
    assert latency.p05_ms <= latency.median_ms <= latency.p95_ms


@pytest.mark.gpu
def test_latency_on_the_gpu_is_proportional_to_the_cycles_slept() -> None:
    short, long = (
        measure_latency(partial(torch.cuda._sleep, cycles), device_type="cuda").median_ms for cycles in (10**6, 10**7)
    )
    assert 8 < long / short < 12


@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=50))
def test_statistics_lie_within_the_samples(samples: list[float]) -> None:
    latency = Latency(samples_ms=tuple(samples))
    low, high = min(samples), max(samples)
    for value in (latency.median_ms, latency.mean_ms, latency.p05_ms, latency.p95_ms):
        assert low * (1 - 1e-9) <= value <= high * (1 + 1e-9)
    assert latency.p05_ms <= latency.median_ms * (1 + 1e-9)
    assert latency.median_ms <= latency.p95_ms * (1 + 1e-9)


def allocate(device: str, *, mebibytes: int) -> torch.Tensor:
    """Take so much twice, one after the other, and once more beside it to return."""
    for _ in range(2):
        torch.empty(mebibytes * 2**20, dtype=torch.uint8, device=device)
    kept = torch.empty(mebibytes * 2**20, dtype=torch.uint8, device=device)
    torch.empty(mebibytes * 2**20, dtype=torch.uint8, device=device)
    return kept


@pytest.mark.parametrize("device", DEVICES)
def test_peak_of_known_allocations(device: str) -> None:
    standing = allocate(device, mebibytes=64)  # what was there before does not count
    for mebibytes in (2, 32, 4):
        peak = peak_memory_gib(partial(allocate, device, mebibytes=mebibytes), device_type=device)
        assert peak * GIB == 2 * mebibytes * 2**20
    del standing


@pytest.mark.parametrize("device", DEVICES)
def test_eager_attention_keeps_both_score_matrices(device: str) -> None:
    frames, element_size = 1024, 4
    layer = stack.build("sa", implementation="eager", preset="released").to(device)
    x = torch.randn(1, frames, 1024, device=device)
    with torch.inference_mode():
        layer(x)
        peak = peak_memory_gib(lambda: layer(x), device_type=device) * GIB
    scores, features = 4 * frames**2 * element_size, frames * 1024 * element_size
    assert 2 * scores + features <= peak <= 2 * scores + 6 * features


def power_law(frames: int, *, power: float) -> tuple[float, float]:
    """Seconds and GiB of a call that takes a second and a GiB at 1,000 frames."""
    return (frames / 1000) ** power, (frames / 1000) ** power


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_forecast_of_time(power: float) -> None:
    """A case has 24 calls; finding out takes two at each step on the way."""
    forecast = Forecast(partial(power_law, power=power), free_gib=float("inf"))
    assert forecast.obstacle(1000, seconds_left=30) == ""
    seconds = 24 * 4**power
    assert f"would take about {seconds:.0f} s" in forecast.obstacle(4000, seconds_left=0.9 * seconds)


def test_forecast_of_memory_never_tries_what_might_not_fit() -> None:
    tried: list[int] = []

    def attempt(frames: int) -> tuple[float, float]:
        tried.append(frames)
        return 1e-3, power_law(frames, power=2)[1]

    forecast = Forecast(attempt, free_gib=20.0)
    assert forecast.obstacle(4000, seconds_left=60) == ""
    assert "5000 frames might take 25.0 GiB; 20.0 GiB are free" in forecast.obstacle(5000, seconds_left=60)
    assert "GiB are free" in forecast.obstacle(20_000, seconds_left=60)
    assert max(tried) == 4000
    assert all(longer <= 4 * shorter for shorter, longer in itertools.pairwise(tried))
