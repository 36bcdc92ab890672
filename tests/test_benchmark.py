"""Cases for pytest-benchmark: `pytest --benchmark`. Each mixer at three lengths, in the default precision."""

import functools
import time

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench.devices import choose_device
from bench.efficiency.cases import Contestant, choose_contestants, choose_settings
from bench.efficiency.inputs import RandomFeatures
from bench.efficiency.latency import SINGLE_CALLS, WARM_UP_CALLS, gpu_clock
from bench.efficiency.memory import GIB, peak_bytes
from mixers import stack
from mixers.base import SequenceModel
from mixers.precision import DTYPES

DEVICE_TYPE = choose_device("auto")
SETTINGS = choose_settings(device_type=DEVICE_TYPE)
DTYPE = DTYPES[SETTINGS[0].precision]
SECONDS = (10.0, 100.0, 400.0) if DEVICE_TYPE == "cuda" else (1.0, 2.0, 4.0)
CLOCK = gpu_clock if DEVICE_TYPE == "cuda" else time.perf_counter


@functools.lru_cache(maxsize=1)
def model_of(contestant: Contestant) -> SequenceModel:
    model = stack.build(contestant.mixer, implementation=contestant.implementation, preset="matched")
    return model.to(DEVICE_TYPE, DTYPE)


@pytest.mark.benchmark(timer=CLOCK, min_rounds=SINGLE_CALLS.minimum_samples, disable_gc=True)
@pytest.mark.parametrize("seconds", SECONDS, ids=lambda seconds: f"{seconds:g}s")
@pytest.mark.parametrize(
    "contestant",
    choose_contestants([], settings=SETTINGS, device_type=DEVICE_TYPE),
    ids=lambda contestant: contestant.name,
)
def test_latency(benchmark: BenchmarkFixture, contestant: Contestant, seconds: float) -> None:
    model = model_of(contestant)
    x = RandomFeatures(width=model.width, seed=0).features(seconds).to(DEVICE_TYPE, DTYPE)
    with torch.inference_mode():
        for _ in range(WARM_UP_CALLS):
            model(x)
        benchmark(model, x)
        peak = peak_bytes(lambda: model(x), device_type=DEVICE_TYPE) / GIB
    benchmark.extra_info.update(frames=x.shape[1], parameters=model.parameter_count(), peak_memory_gib=peak)
