"""Cases for pytest-benchmark: `pytest --benchmark`. Each mixer at three lengths, in the default precision.

And on a GPU FoX's attention alone, without the projections around it: `pytest --benchmark -k attention`.
"""

import functools
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.nn import functional as F

from bench.devices import choose_device
from bench.efficiency.cases import Contestant, choose_contestants, choose_settings
from bench.efficiency.inputs import RandomFeatures
from bench.efficiency.latency import FULL_QUEUE, SINGLE_CALLS, WARM_UP_CALLS, gpu_clock, measure_latency
from bench.efficiency.limits import measure_limits
from bench.efficiency.memory import GIB, peak_bytes
from mixers import fox, stack, tuned
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


FRAMES, HEADS, WIDTH = 19_999, 4, 256  # 400 s
ROUNDS = 50
PRODUCTS = {"forward": 2, "forward and backward": 7}  # of L x L x D, and half of each is the future's


@pytest.fixture
def _products_in(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else before)
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.gpu
@pytest.mark.benchmark(timer=CLOCK, min_rounds=ROUNDS, disable_gc=True)
@pytest.mark.usefixtures("_products_in")
@pytest.mark.parametrize("implementation", ["flex", "triton"])
@pytest.mark.parametrize("precision", ["bfloat16", "tf32"])
@pytest.mark.parametrize("pass_", PRODUCTS)
def test_attention(benchmark: BenchmarkFixture, pass_: str, precision: str, implementation: str) -> None:
    """On three inputs in turn; and by the GPU's own time, since a call this short shows the host's."""
    attend, dtype = fox.attention(implementation), DTYPES[precision]
    generator = torch.Generator("cuda").manual_seed(0)

    def inputs() -> tuple[list[Tensor], Tensor]:
        q, k, v, upstream = (
            torch.randn(1, FRAMES, HEADS, WIDTH, device="cuda", dtype=dtype, generator=generator) for _ in range(4)
        )
        log_forget = F.logsigmoid(torch.randn(1, FRAMES, HEADS, device="cuda", generator=generator))
        return [each.requires_grad_(pass_ != "forward") for each in (q, k, v, log_forget)], upstream

    turns = itertools.cycle([inputs() for _ in range(3)])

    def call() -> object:
        values, upstream = next(turns)
        o = attend(*values, None)
        return o if pass_ == "forward" else torch.autograd.grad(o, values, upstream)

    with tuned.compiling_side_by_side():
        for _ in range(WARM_UP_CALLS):
            call()
    benchmark(call)
    enough = replace(FULL_QUEUE, minimum_samples=ROUNDS, maximum_seconds=60.0)
    own = measure_latency(call, device_type="cuda", full_queue=enough).full_queue
    assert own is not None
    flops = PRODUCTS[pass_] * FRAMES * (FRAMES + 1) * HEADS * WIDTH
    floor_ms = measure_limits(precision).floor_ms(flops=flops, minimum_bytes=0)
    peak = peak_bytes(call, device_type="cuda") / GIB
    benchmark.extra_info.update(
        gpu_ms=own.median, gpu_samples=len(own.samples_ms), floor_ms=floor_ms, peak_memory_gib=peak
    )
