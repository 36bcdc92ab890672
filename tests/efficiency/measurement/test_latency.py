"""Calls whose time is known before they are measured."""

import time
from functools import partial

import pytest
import torch

from bench.efficiency.measurement import latency
from bench.efficiency.measurement.criterion import Criterion
from bench.efficiency.measurement.latency import CPU_CALLS, busy, measure_latency


def test_latency_of_a_known_sleep() -> None:
    found = measure_latency(lambda: time.sleep(0.004), device_type="cpu")
    samples = found.single.samples_ms
    assert len(samples) >= CPU_CALLS.minimum_samples
    assert sum(samples) >= 0.5e3 * CPU_CALLS.minimum_seconds  # other work of the machine falls between the calls
    assert 4.0 <= found.single.median < 8.0
    assert found.single.percentile(5) <= found.single.median <= found.single.percentile(95)
    assert found.gpu is None
    assert found.host_ms is None
    assert found.launch_bound is None


def test_what_does_not_converge_is_sampled_for_the_spare_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    never = Criterion(relative_error=0, minimum_seconds=0, maximum_seconds=0.01, minimum_samples=1, fewest_samples=1)
    monkeypatch.setattr(latency, "CPU_CALLS", never)
    began = time.perf_counter()
    found = measure_latency(lambda: time.sleep(0.001), device_type="cpu", spare_s=0.3)
    assert found.single.stop == "cap"
    assert time.perf_counter() - began >= 0.31


@pytest.mark.gpu
def test_times_on_the_gpu_are_proportional_to_the_cycles_slept() -> None:
    short, long = (measure_latency(partial(torch.cuda._sleep, cycles), device_type="cuda") for cycles in (10**6, 10**7))
    assert 8 < long.single.median / short.single.median < 12
    assert short.gpu is not None
    assert long.gpu is not None
    assert 9 < long.gpu.median / short.gpu.median < 11
    assert long.launch_bound is False


@pytest.mark.gpu
@pytest.mark.parametrize("cold_cache", [False, True])
def test_behind_a_gpu_the_host_s_time_is_not_measured(cold_cache: bool) -> None:
    x = torch.randn(1000, device="cuda")

    def slow_to_issue() -> None:
        x.add(1)
        time.sleep(0.002)
        x.add(1)

    latency = measure_latency(slow_to_issue, device_type="cuda", cold_cache=cold_cache)
    assert latency.gpu is not None
    assert latency.single.median > 2
    assert latency.host_ms is not None
    assert latency.host_ms > 2
    assert latency.gpu.median < 0.2
    assert latency.launch_bound is True


@pytest.mark.gpu
def test_a_graph_that_takes_longer_than_the_call_is_not_used() -> None:
    short, long = (partial(torch.cuda._sleep, cycles) for cycles in (10**6, 10**7))
    other, same = (measure_latency(short, device_type="cuda", replay=replay) for replay in (long, short))
    assert (other.gpu_clock, same.gpu_clock) == ("queue", "graph")
    assert other.gpu is not None
    assert same.gpu is not None
    assert 0.8 < other.gpu.median / same.gpu.median < 1.2


@pytest.mark.gpu
def test_a_call_that_waits_for_the_gpu_cannot_be_issued_ahead() -> None:
    x = torch.randn(1000, device="cuda")

    def waits() -> float:
        return x.sum().item()

    latency = measure_latency(waits, device_type="cuda")
    assert latency.gpu is not None
    assert latency.gpu.stop == "contaminated"
    assert latency.gpu.samples_ms == ()
    assert latency.launch_bound is None


@pytest.mark.gpu
def test_a_cold_cache_is_slower() -> None:
    x = torch.randn(4 * 2**20, device="cuda")  # 16 MiB, which stay in the cache of any card since the A100
    warm, cold = (
        measure_latency(lambda: x.sum(), device_type="cuda", cold_cache=cold_cache) for cold_cache in (False, True)
    )
    assert warm.gpu is not None
    assert cold.gpu is not None
    assert cold.gpu.median > 1.1 * warm.gpu.median


@pytest.mark.gpu
def test_busy_lasts_about_as_long_as_it_says() -> None:
    long, short = (measure_latency(partial(busy, milliseconds), device_type="cuda") for milliseconds in (40.0, 0.1))
    assert 36 < long.single.median < 80
    assert (long.gpu_clock, short.gpu_clock) == ("calls", "queue")  # to issue the long one takes next to nothing
    assert long.gpu is long.single
