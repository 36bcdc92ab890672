"""Measures known answers with the instruments of a sweep; `bench.efficiency.doctor.verdicts` judges them."""

import gc
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from bench.efficiency import isolation
from bench.efficiency.doctor.verdicts import (
    GPU_TIME,
    SINGLE_CALL,
    SLEEP_S,
    Diagnosis,
    Finding,
    KindMs,
    Repetitions,
    RunTimes,
    judge_allocations,
    judge_card,
    judge_cycles,
    judge_load,
    judge_memory_set,
    judge_repetitions,
    judge_sleep,
    summarize,
    without_result,
)
from bench.efficiency.failures import describe
from bench.efficiency.inputs import RandomFeatures
from bench.efficiency.isolation import Death, Ready
from bench.efficiency.measurement.execution import bind
from bench.efficiency.measurement.latency import WARM_UP_CALLS, measure_latency
from bench.efficiency.measurement.memory import GIB, peak_bytes
from bench.efficiency.measurement.telemetry import Monitor
from bench.efficiency.settings import Case, Setting
from bench.environment import available_memory_gib, gpu_uuid
from bench.gpu import Card
from mixers import stack
from mixers.support.precision import DTYPES

RUNS = 6  # of each case, each in a process of its own

# Two numbers of cycles, whose difference is free of the launch: half a millisecond and five at 2 GHz.
CYCLES = (10**6, 10**7)

COPIED_BYTES = {"cuda": GIB, "cpu": GIB // 4}  # half of it is still far more than the caches hold

# Multiples of 2 MiB, which a GPU's allocator does not round; small, large and small again.
ALLOCATED_BYTES = (2 * 2**20, 32 * 2**20, 4 * 2**20)

_CHECK_LIMIT_S = 300.0  # the first check waits for the import of the libraries, from a cold disk
_CASE_LIMIT_S = 600.0  # without prepared kernel configurations a first call takes minutes

# On a GPU one case that is bound by launches and one that is not; on a CPU a case that takes milliseconds.
CASES = {
    "cuda": (
        Case(name="kda/fla", setting=Setting(preset="matched", precision="bfloat16"), seconds=10.0),
        Case(name="sa/sdpa", setting=Setting(preset="matched", precision="bfloat16"), seconds=100.0),
    ),
    "cpu": (Case(name="sa/reference", setting=Setting(preset="released", precision="float32"), seconds=1.0),),
}


def examine(device_type: str, *, runs: int = RUNS, on_step: Callable[[str], object] = lambda _: None) -> Diagnosis:
    """Check the instruments on this machine, in processes of their own.

    Args:
        device_type: ``cuda`` or ``cpu``.
        runs: How often each case is measured.
        on_step: Called with a description of each step before it begins.
    """
    findings = []
    for name in CHECKS:
        on_step(name)
        findings.append(check_in_process(name, device_type))
    repetitions = repeat(device_type, runs=runs, on_step=on_step)
    findings += [judge_repetitions(each, device_type=device_type) for each in repetitions]
    return Diagnosis(findings=findings, repetitions=repetitions)


def check_quiet(device_type: str) -> Finding:
    """Look for other load on this machine."""
    if device_type == "cpu":
        return judge_load(os.getloadavg()[0], cores=os.cpu_count() or 1)
    torch.cuda.synchronize()  # NVML now counts this process; if it does not, it hides other processes too
    card = Card(gpu_uuid())
    return judge_card(others=card.other_processes(), reasons=card.throttle_reasons())


def check_sleep(device_type: str) -> Finding:
    """Time a call of known length: a sleep, or on a GPU a kernel that counts clock cycles."""
    if device_type == "cpu":
        medians = _medians_ms(partial(time.sleep, SLEEP_S), _observer(device_type), device_type)
        return judge_sleep(medians[SINGLE_CALL])
    monitor = Monitor(Card(gpu_uuid()))
    short, long = (_medians_ms(partial(torch.cuda._sleep, cycles), monitor.observe, device_type) for cycles in CYCLES)
    cycle_ns = {kind: 1e6 * (long[kind] - short[kind]) / (CYCLES[1] - CYCLES[0]) for kind in long}
    return judge_cycles(cycle_ns, clock_mhz=monitor.conditions().sm_clock_mhz)


def check_memory_set(device_type: str) -> Finding:
    """Time a copy and a set, both limited by the memory."""
    free = torch.cuda.mem_get_info()[0] if device_type == "cuda" else int(available_memory_gib() * GIB)
    source = torch.ones(min(COPIED_BYTES[device_type], free // 4) // 4, device=device_type)
    target = torch.empty_like(source)
    half = target[: target.numel() // 2]
    observe = _observer(device_type)
    return judge_memory_set(
        _medians_ms(partial(target.copy_, source), observe, device_type),
        _medians_ms(half.zero_, observe, device_type),
        size=source.nbytes,
    )


def check_allocation(device_type: str) -> Finding:
    """Measure the peak of two known allocations at once, beside an older one that must not count."""
    older = allocate_twice(64 * 2**20, device_type)
    calls = [partial(allocate_twice, size, device_type) for size in ALLOCATED_BYTES]
    peaks = [peak_bytes(call, device_type=device_type) for call in calls]
    del older
    return judge_allocations(peaks, known=[2 * size for size in ALLOCATED_BYTES])


CHECKS = {
    "quiet machine": check_quiet,
    "sleep": check_sleep,
    "memory set": check_memory_set,
    "allocation": check_allocation,
}


def check_in_process(name: str, device_type: str) -> Finding:
    """Run a check in a process of its own. If the process dies, the check has failed."""
    try:
        return isolation.call(check, name, device_type, limit_s=_CHECK_LIMIT_S)
    except RuntimeError as error:  # the process died
        return without_result(name, str(error))


def check(name: str, device_type: str) -> Finding:
    """Run a check in this process. If it raises an error, it has failed."""
    try:
        return CHECKS[name](device_type)
    except Exception as error:  # libraries raise every kind
        return without_result(name, describe(error))


def repeat(device_type: str, *, runs: int, on_step: Callable[[str], object] = lambda _: None) -> list[Repetitions]:
    """Time the cases in turn, each run in a process of its own, as a sweep does.

    Args:
        device_type: ``cuda`` or ``cpu``.
        runs: How often.
        on_step: Called with a description of each step before it begins.
    """
    times: dict[Case, list[RunTimes]] = {case: [] for case in CASES[device_type]}
    order = list(times) * runs
    on_step(f"preparing {len(order)} processes")
    for position, (case, child) in enumerate(zip(order, _children(order, device_type), strict=True), start=1):
        on_step(f"{case.label}: process {position} of {len(order)}")
        times[case].append(_times_of(child))
    return [summarize(case.label, times[case]) for case in times]


def time_case(cases: Sequence[Case], *, device_type: str, prepare: bool = False) -> Iterator[RunTimes | Ready]:
    """Time one case; yield its medians, or why there are none.

    Args:
        cases: The one case.
        device_type: ``cuda`` or ``cpu``.
        prepare: Whether to yield ``Ready`` once everything is compiled.
    """
    (case,) = cases
    call: Callable[[], object] | None = None
    failure = ""
    try:
        call = _compiled_call(case, device_type)
    except Exception as error:  # libraries raise every kind
        failure = describe(error)
    if prepare:
        yield Ready()
    medians_ms: KindMs = {}
    try:
        medians_ms = _medians_ms(call, _observer(device_type), device_type) if call else {}
    except Exception as error:  # libraries raise every kind
        failure = describe(error)
    yield RunTimes(medians_ms=medians_ms, failure=failure)


CaseProcess = isolation.Child[Case, RunTimes]


def _children(cases: Sequence[Case], device_type: str) -> Iterator[CaseProcess | Death]:
    """Start a process for each case. On a GPU all are started at once, compile side by side and wait for their turn."""
    work = partial(time_case, device_type=device_type, prepare=device_type == "cuda")
    started = (CaseProcess(work, (case,)) for case in cases)
    if device_type == "cpu":
        yield from started
        return
    children = list(started)
    answers = [child.ready(limit_s=_CASE_LIMIT_S) for child in children]
    for child, answer in zip(children, answers, strict=True):
        if isinstance(answer, Death):
            child.kill()
        yield answer if isinstance(answer, Death) else child


def _times_of(child: CaseProcess | Death) -> RunTimes:
    """Let a process time its case, and end it."""
    if isinstance(child, Death):
        return RunTimes(medians_ms={}, failure=child.reason)
    (outcome,) = child.results(limit_s=_CASE_LIMIT_S)
    child.kill()
    return RunTimes(medians_ms={}, failure=outcome.reason) if isinstance(outcome, Death) else outcome


def _compiled_call(case: Case, device_type: str) -> Callable[[], object]:
    """Return a function that issues the call of a case, compiled."""
    mixer, _, implementation = case.name.partition("/")
    dtype = DTYPES[case.setting.precision]
    model = stack.build(mixer, implementation=implementation, preset=case.setting.preset).to(device_type, dtype)
    x = RandomFeatures(width=model.width, seed=0).features(case.seconds).to(device_type, dtype)
    call = bind(model, x)
    call()
    if device_type == "cuda":
        torch.cuda.synchronize()
    gc.collect()
    gc.freeze()  # later collections need not look at the libraries again
    return call


def _observer(device_type: str) -> Callable[[int], int]:
    """Return a function that reads the GPU's clock between windows of samples."""
    return Monitor(Card(gpu_uuid())).observe if device_type == "cuda" else lambda _: 0


def _medians_ms(call: Callable[[], object], observe: Callable[[int], int], device_type: str) -> KindMs:
    """Time a call as a sweep does. A kind of time that could not be taken is NaN."""
    for _ in range(WARM_UP_CALLS):
        call()
    latency = measure_latency(call, device_type=device_type, observe=observe)
    single = {SINGLE_CALL: latency.single.median}
    queue = latency.gpu
    return single if queue is None else {GPU_TIME: queue.median if queue.samples_ms else math.nan, **single}


def allocate_twice(size: int, device_type: str) -> torch.Tensor:
    """Allocate this many bytes repeatedly, two at most at the same time; return one of them."""
    for _ in range(2):
        torch.empty(size, dtype=torch.uint8, device=device_type)
    kept = torch.empty(size, dtype=torch.uint8, device=device_type)
    torch.empty(size, dtype=torch.uint8, device=device_type)
    return kept
