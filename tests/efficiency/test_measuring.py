"""Known answers: calls whose time and memory are known before they are measured."""

import itertools
import time
from functools import partial

import pytest
import torch

from bench.efficiency.forecast import Forecast
from bench.efficiency.measurement.execution import PASSES, bind, capture
from bench.efficiency.measurement.latency import SINGLE_CALLS, busy, measure_latency
from bench.efficiency.measurement.memory import GIB, measure_memory, peak_bytes
from bench.efficiency.settings import RELEASED_TEXT_TOKENS
from bench.speech import frames_of, samples_of
from mixers import stack

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def test_latency_of_a_known_sleep() -> None:
    latency = measure_latency(lambda: time.sleep(0.004), device_type="cpu")
    samples = latency.single.samples_ms
    assert len(samples) >= SINGLE_CALLS.minimum_samples
    assert sum(samples) >= 0.9e3 * SINGLE_CALLS.minimum_seconds
    assert 4.0 <= latency.single.median < 8.0
    assert latency.single.percentile(5) <= latency.single.median <= latency.single.percentile(95)
    assert latency.full_queue is None
    assert latency.host_ms is None
    assert latency.launch_bound is None


@pytest.mark.gpu
def test_times_on_the_gpu_are_proportional_to_the_cycles_slept() -> None:
    short, long = (measure_latency(partial(torch.cuda._sleep, cycles), device_type="cuda") for cycles in (10**6, 10**7))
    assert 8 < long.single.median / short.single.median < 12
    assert short.full_queue is not None
    assert long.full_queue is not None
    assert 9 < long.full_queue.median / short.full_queue.median < 11
    assert long.launch_bound is False


@pytest.mark.gpu
@pytest.mark.parametrize("cold_cache", [False, True])
def test_behind_a_full_queue_the_host_s_time_is_not_measured(cold_cache: bool) -> None:
    x = torch.randn(1000, device="cuda")

    def slow_to_issue() -> None:
        x.add(1)
        time.sleep(0.002)
        x.add(1)

    latency = measure_latency(slow_to_issue, device_type="cuda", cold_cache=cold_cache)
    assert latency.full_queue is not None
    assert latency.single.median > 2
    assert latency.host_ms is not None
    assert latency.host_ms > 2
    assert latency.full_queue.median < 0.2
    assert latency.launch_bound is True


@pytest.mark.gpu
def test_a_call_that_waits_for_the_gpu_cannot_be_issued_ahead() -> None:
    x = torch.randn(1000, device="cuda")

    def waits() -> float:
        return x.sum().item()

    latency = measure_latency(waits, device_type="cuda")
    assert latency.full_queue is not None
    assert latency.full_queue.stop == "contaminated"
    assert latency.full_queue.samples_ms == ()
    assert latency.launch_bound is None


@pytest.mark.gpu
def test_a_cold_cache_is_slower() -> None:
    x = torch.randn(4 * 2**20, device="cuda")  # 16 MiB, which stay in the cache of any card since the A100
    warm, cold = (
        measure_latency(lambda: x.sum(), device_type="cuda", cold_cache=cold_cache) for cold_cache in (False, True)
    )
    assert warm.full_queue is not None
    assert cold.full_queue is not None
    assert cold.full_queue.median > 1.1 * warm.full_queue.median


@pytest.mark.gpu
def test_busy_lasts_about_as_long_as_it_says() -> None:
    latency = measure_latency(partial(busy, 5.0), device_type="cuda")
    assert 4.5 < latency.single.median < 10
    assert latency.full_queue is latency.single  # to issue it takes next to nothing
    assert measure_latency(partial(busy, 0.1), device_type="cuda").full_queue is not latency.single


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
        assert peak_bytes(partial(allocate, device, mebibytes=mebibytes), device_type=device) == 2 * mebibytes * 2**20
    del standing


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("frames", [512, 1024, 2048])
def test_eager_attention_keeps_two_score_matrices_to_the_byte(device: str, frames: int) -> None:
    """When the softmax is taken there lie, beside both matrices, queries, keys and values."""
    model = stack.build("sa", implementation="eager", preset="released").to(device)
    x = torch.randn(1, frames, 1024, device=device)
    with torch.inference_mode():
        model(x)
        memory = measure_memory(lambda: model(x), model=model, x=x, device_type=device)
    scores, features = 4 * 4 * frames**2, 4 * frames * 1024
    assert memory.peak == 2 * scores + 3 * features
    assert memory.input == features
    assert memory.weights == 4 * (4 * 1024 * 1024 + 1024)
    if device == "cuda":
        assert memory.reserved is not None
        assert memory.reserved >= memory.peak + memory.input + memory.weights
    else:
        assert memory.reserved is None


@pytest.mark.gpu
@pytest.mark.parametrize("pass_", PASSES)
def test_a_graph_takes_what_the_call_takes_that_it_captures(pass_: str) -> None:
    model = stack.build("sa", implementation="sdpa", preset="layer").to("cuda", torch.bfloat16)
    call = bind(model, torch.randn(1, 2048, 1024, device="cuda", dtype=torch.bfloat16), pass_=pass_)
    call()
    capture(call)  # cuBLAS sets up its workspace for the stream of captures
    eager, graph = (peak_bytes(each, device_type="cuda") for each in (call, partial(capture, call)))
    assert graph == pytest.approx(eager, abs=2**20)


def test_the_papers_memory_at_400_s_is_that_of_the_text_that_released_appends() -> None:
    """Beside the matrices, queries, keys and values lies the sequence itself, which is put together within the call."""
    frames = frames_of(samples_of(400.0)) + RELEASED_TEXT_TOKENS
    assert round((2 * 4 * 4 * frames**2 + 4 * 4 * frames * 1024) / GIB, 2) == 12.35


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
