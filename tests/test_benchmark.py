"""Cases for pytest-benchmark: `pytest --benchmark`. Each mixer at three lengths, in the default precision.

And on a GPU what we have kernels of our own for, beside the library's: FoX's attention without the projections around
it, and a layer of LightNet: `pytest --benchmark -m gpu`.
"""

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.nn import functional as F

from bench.efficiency import sweep
from bench.efficiency.inputs import RandomFeatures
from bench.efficiency.measurement.execution import bind
from bench.efficiency.measurement.latency import GPU_TIME, SINGLE_CALLS, WARM_UP_CALLS, measure_latency
from bench.efficiency.measurement.limits import measure_limits
from bench.efficiency.measurement.memory import GIB, peak_bytes
from bench.efficiency.measurement.sizes import sizes_of
from bench.efficiency.selection import choose_contestants, choose_settings
from bench.efficiency.settings import Contestant, Plan, Setting
from bench.environment import choose_device
from bench.gpu import gpu_clock
from mixers import autotuning, stack
from mixers.base import SequenceModel
from mixers.fox import ForgettingAttention
from mixers.support.precision import DTYPES

DEVICE_TYPE = choose_device("auto")
SETTINGS = choose_settings(device_type=DEVICE_TYPE)
DTYPE = DTYPES[SETTINGS[0].precision]
SECONDS = (10.0, 100.0, 400.0) if DEVICE_TYPE == "cuda" else (1.0, 2.0, 4.0)
CLOCK = gpu_clock if DEVICE_TYPE == "cuda" else time.perf_counter
LONGEST_S = 0.5  # of a case; after its least number of rounds


@pytest.fixture(scope="session", autouse=True)
def _compiled(request: pytest.FixtureRequest) -> None:
    """Compile what the chosen cases need side by side, as a sweep does. One after the other it takes minutes."""
    if DEVICE_TYPE == "cuda":
        chosen = [item for item in request.session.items if isinstance(item, pytest.Function)]
        cases: list[tuple[str, Any]] = [(str(item.originalname), item.callspec.params) for item in chosen]
        models = dict.fromkeys(case["contestant"] for name, case in cases if name not in MIXERS)
        layers = dict.fromkeys(layer_of(MIXERS[name], case) for name, case in cases if name in MIXERS)
        sweep.prepare(plan_of(models, SECONDS), plan_of(layers, SECONDS[-1:]))


def plan_of(contestants: Iterable[Contestant], seconds: tuple[float, ...]) -> Plan:
    return Plan(contestants=tuple(contestants), seconds=seconds, device_type="cuda", seed=0, time_budget_s=None)


def layer_of(mixer: str, case: Mapping[str, str]) -> Contestant:
    """Return the layer that runs the kernels of a case."""
    setting = Setting(preset="layer", precision=case["precision"], pass_=PASSES[case["part"]])
    return Contestant(mixer=mixer, implementation=case["implementation"], setting=setting)


@functools.lru_cache(maxsize=1)
def model_of(contestant: Contestant) -> SequenceModel:
    setting = contestant.setting
    model = stack.build(
        contestant.mixer,
        implementation=contestant.implementation,
        preset=setting.preset,
        direction=setting.direction,
    )
    return model.to(DEVICE_TYPE, DTYPE)


@pytest.mark.benchmark(timer=CLOCK, min_rounds=SINGLE_CALLS.minimum_samples, max_time=LONGEST_S, disable_gc=True)
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
INPUTS = 3  # in turn
ROUNDS = 10
SAMPLES = 50  # of the GPU's own time
PASSES = {"forward": "inference", "forward and backward": "training"}
MIXERS = {"test_fox_attention": "fox", "test_lightnet_layer": "lightnet"}
limits = functools.cache(measure_limits)
PRODUCTS = {"forward": 2, "forward and backward": 7}  # of L x L x D, and half of each is the future's


@pytest.fixture
def _products_in(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else before)
    yield
    torch.set_float32_matmul_precision(before)


def of_a_kernel(test: Callable[..., None]) -> Callable[..., None]:
    """Make a benchmark one of a GPU, a case for each precision and each of the passes."""
    for mark in (
        pytest.mark.parametrize("part", PASSES),
        pytest.mark.parametrize("precision", ["bfloat16", "tf32"]),
        pytest.mark.usefixtures("_products_in"),
        pytest.mark.benchmark(timer=CLOCK, min_rounds=ROUNDS, max_time=LONGEST_S, disable_gc=True),
        pytest.mark.gpu,
    ):
        test = mark(test)
    return test


def measure(benchmark: BenchmarkFixture, calls: Iterable[Callable[[], object]], *, floor_ms: float) -> None:
    """Measure calls in turn, each on another input; and by the GPU's own time, since calls so short show the host's."""
    turns = itertools.cycle(calls)

    def call() -> object:
        return next(turns)()

    with autotuning.compiling_side_by_side():
        for _ in range(WARM_UP_CALLS):
            call()
    benchmark(call)
    enough = replace(GPU_TIME, minimum_samples=SAMPLES, maximum_seconds=60.0)
    own = measure_latency(call, device_type="cuda", gpu_time=enough).gpu
    assert own is not None
    assert len(own.samples_ms) >= SAMPLES
    peak = peak_bytes(call, device_type="cuda") / GIB
    benchmark.extra_info.update(
        gpu_ms=own.median, gpu_samples=len(own.samples_ms), floor_ms=floor_ms, peak_memory_gib=peak
    )


@pytest.mark.parametrize("implementation", ["flex", "triton"])
@of_a_kernel
def test_fox_attention(benchmark: BenchmarkFixture, part: str, precision: str, implementation: str) -> None:
    load, dtype = ForgettingAttention.implementations[implementation].operator, DTYPES[precision]
    assert load
    attend = load()
    generator = torch.Generator("cuda").manual_seed(0)

    def bound() -> Callable[[], object]:
        q, k, v, upstream = (
            torch.randn(1, FRAMES, HEADS, WIDTH, device="cuda", dtype=dtype, generator=generator) for _ in range(4)
        )
        log_forget = F.logsigmoid(torch.randn(1, FRAMES, HEADS, device="cuda", generator=generator))
        values = [each.requires_grad_(part != "forward") for each in (q, k, v, log_forget)]

        def call() -> object:
            o = attend(*values, None)
            return o if part == "forward" else torch.autograd.grad(o, values, upstream)

        return call

    flops = PRODUCTS[part] * FRAMES * (FRAMES + 1) * HEADS * WIDTH
    floor_ms = limits(precision).floor_ms(flops=flops, minimum_bytes=0)
    measure(benchmark, [bound() for _ in range(INPUTS)], floor_ms=floor_ms)


@pytest.mark.parametrize("implementation", ["fla", "triton"])
@of_a_kernel
def test_lightnet_layer(benchmark: BenchmarkFixture, part: str, precision: str, implementation: str) -> None:
    model = stack.build("lightnet", implementation=implementation, preset="layer").to("cuda", DTYPES[precision])
    inputs = (RandomFeatures(width=model.width, seed=seed).features(400.0) for seed in range(INPUTS))
    calls = [bind(model, x.to("cuda", DTYPES[precision]), pass_=PASSES[part]) for x in inputs]
    sizes = sizes_of(model, batch=1, frames=FRAMES, pass_=PASSES[part])
    assert sizes.flops is not None
    assert sizes.minimum_bytes is not None
    floor_ms = limits(precision).floor_ms(flops=sizes.flops, minimum_bytes=sizes.minimum_bytes)
    measure(benchmark, calls, floor_ms=floor_ms)
