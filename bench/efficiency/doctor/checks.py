"""Gets known answers by what a sweep measures with; `bench.efficiency.doctor.verdicts` says what they mean."""

import gc
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from bench.efficiency import isolation
from bench.efficiency.doctor.verdicts import (
    GPU_TIME,
    SINGLE_CALL,
    SLEEP_S,
    Diagnosis,
    Finding,
    Outcome,
    Repetitions,
    judge_allocations,
    judge_card,
    judge_cycles,
    judge_load,
    judge_memory_set,
    judge_repetitions,
    judge_sleep,
    lost,
    summed_up,
)
from bench.efficiency.inputs import RandomFeatures
from bench.efficiency.isolation import Death, Ready
from bench.efficiency.measurement.execution import bind
from bench.efficiency.measurement.latency import WARM_UP_CALLS, measure_latency
from bench.efficiency.measurement.memory import GIB, peak_bytes
from bench.efficiency.measurement.telemetry import Monitor
from bench.efficiency.selection import default_precision
from bench.environment import available_memory_gib, gpu_uuid
from bench.gpu import Card
from mixers import stack
from mixers.support.precision import DTYPES

Result = TypeVar("Result")

RUNS = 6  # of each case, each in a process of its own

# Two numbers of cycles, so that what a launch costs drops out: half a millisecond and five at 2 GHz.
CYCLES = (10**6, 10**7)

COPIED_BYTES = {"cuda": GIB, "cpu": GIB // 4}  # of which even half is far more than the caches hold

# Multiples of 2 MiB, which a GPU's allocator gives out without rounding; small, large and small again.
ALLOCATED_BYTES = (2 * 2**20, 32 * 2**20, 4 * 2**20)

_CHECK_LIMIT_S = 300.0  # the first waits for the import of the libraries, from a cold disk
_CASE_LIMIT_S = 600.0  # without prepared kernel configurations a first call takes minutes


@dataclass(frozen=True, kw_only=True)
class Case:
    """A mixer in one implementation at one length, in seconds."""

    mixer: str
    implementation: str
    preset: str
    seconds: float

    @property
    def name(self) -> str:
        """As messages write it."""
        return f"{self.mixer}/{self.implementation} at {self.seconds:g} s"


# On a GPU one that is bound by launches and one that is not; on a CPU what takes milliseconds.
CASES = {
    "cuda": (
        Case(mixer="kda", implementation="fla", preset="matched", seconds=10.0),
        Case(mixer="sa", implementation="sdpa", preset="matched", seconds=100.0),
    ),
    "cpu": (Case(mixer="sa", implementation="reference", preset="released", seconds=1.0),),
}


def examine(device_type: str, *, runs: int = RUNS, tell: Callable[[str], object] = lambda _: None) -> Diagnosis:
    """Check this machine, in processes of their own.

    Args:
        device_type: ``cuda`` or ``cpu``.
        runs: How often each case is measured.
        tell: Told what is being done, before it is done.
    """
    findings = []
    for name in CHECKS:
        tell(name)
        findings.append(check_apart(name, device_type))
    repetitions = repeat(device_type, runs=runs, tell=tell)
    findings += [judge_repetitions(each, device_type=device_type) for each in repetitions]
    return Diagnosis(findings=findings, repetitions=repetitions)


def check_quiet(device_type: str) -> Finding:
    """Look for what else this machine is doing."""
    if device_type == "cpu":
        return judge_load(os.getloadavg()[0], cores=os.cpu_count() or 1)
    torch.cuda.synchronize()  # from here on NVML counts this process; where it does not, it hides others too
    card = Card(gpu_uuid())
    return judge_card(others=card.other_processes(), reasons=card.throttle_reasons())


def check_sleep(device_type: str) -> Finding:
    """Time what lasts for a known time: on a GPU a kernel that counts clock cycles."""
    if device_type == "cpu":
        medians = _medians_ms(partial(time.sleep, SLEEP_S), _observer(device_type), device_type)
        return judge_sleep(medians[SINGLE_CALL])
    monitor = Monitor(Card(gpu_uuid()))
    short, long = (_medians_ms(partial(torch.cuda._sleep, cycles), monitor.observe, device_type) for cycles in CYCLES)
    cycle_ns = {kind: 1e6 * (long[kind] - short[kind]) / (CYCLES[1] - CYCLES[0]) for kind in long}
    return judge_cycles(cycle_ns, clock_mhz=monitor.conditions().sm_clock_mhz)


def check_memory_set(device_type: str) -> Finding:
    """Time a copy and a set, of which both are limited by the memory."""
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
    """Measure the peak of known allocations, of which two stand at once, while another stands that does not count."""
    standing = _allocate(device_type, size=64 * 2**20)
    calls = [partial(_allocate, device_type, size=size) for size in ALLOCATED_BYTES]
    peaks = [peak_bytes(call, device_type=device_type) for call in calls]
    del standing
    return judge_allocations(peaks, known=[2 * size for size in ALLOCATED_BYTES])


CHECKS = {
    "quiet machine": check_quiet,
    "sleep": check_sleep,
    "memory set": check_memory_set,
    "allocation": check_allocation,
}


def check_apart(name: str, device_type: str) -> Finding:
    """Do a check in a process of its own; one of which it dies has not passed."""
    try:
        return isolation.call(check, name, device_type, limit_s=_CHECK_LIMIT_S)
    except RuntimeError as error:  # the process died
        return lost(name, str(error))


def check(name: str, device_type: str) -> Finding:
    """Do a check in this process."""
    outcome = _attempt(partial(CHECKS[name], device_type))
    return lost(name, outcome) if isinstance(outcome, str) else outcome


def repeat(device_type: str, *, runs: int, tell: Callable[[str], object] = lambda _: None) -> list[Repetitions]:
    """Time the cases in turn, each run in a process of its own, as a sweep does.

    Args:
        device_type: ``cuda`` or ``cpu``.
        runs: How often.
        tell: Told what is being done, before it is done.
    """
    outcomes: dict[Case, list[Outcome]] = {case: [] for case in CASES[device_type]}
    order = list(outcomes) * runs
    tell(f"preparing {len(order)} processes")
    for position, (case, child) in enumerate(zip(order, _children(order, device_type), strict=True), start=1):
        tell(f"{case.name}: process {position} of {len(order)}")
        outcomes[case].append(_timed(child))
    return [summed_up(case.name, outcomes[case]) for case in outcomes]


def _timed(child: "Child | Death") -> Outcome:
    """Let a child time its case, and end it."""
    if isinstance(child, Death):
        return child.reason
    (outcome,) = child.results(limit_s=_CASE_LIMIT_S)
    child.kill()
    return outcome.reason if isinstance(outcome, Death) else outcome


def time_case(cases: Sequence[Case], *, device_type: str, prepare: bool = False) -> Iterator[Outcome | Ready]:
    """Time one case; yield its medians in ms, or why there are none.

    Args:
        cases: The one.
        device_type: ``cuda`` or ``cpu``.
        prepare: Whether to yield ``Ready`` once all is compiled.
    """
    (case,) = cases
    call = _attempt(partial(_prepared, case, device_type))
    if prepare:
        yield Ready()
    yield call if isinstance(call, str) else _attempt(partial(_medians_ms, call, _observer(device_type), device_type))


Child = isolation.Child[Case, Outcome]


def _children(cases: Sequence[Case], device_type: str) -> Iterator[Child | Death]:
    """Start a process for each; on a GPU all at once, so that they compile side by side, and rest till their turn."""
    work = partial(time_case, device_type=device_type, prepare=device_type == "cuda")
    started = (Child(work, (case,)) for case in cases)
    if device_type == "cpu":
        yield from started
        return
    children = list(started)
    answers = [child.ready(limit_s=_CASE_LIMIT_S) for child in children]
    for child, answer in zip(children, answers, strict=True):
        if isinstance(answer, Death):
            child.kill()
        yield answer if isinstance(answer, Death) else child


def _prepared(case: Case, device_type: str) -> Callable[[], object]:
    """Return what issues the call, compiled."""
    dtype = DTYPES[default_precision(case.preset, device_type=device_type)]
    model = stack.build(case.mixer, implementation=case.implementation, preset=case.preset).to(device_type, dtype)
    x = RandomFeatures(width=model.width, seed=0).features(case.seconds).to(device_type, dtype)
    call = bind(model, x)
    call()
    if device_type == "cuda":
        torch.cuda.synchronize()
    gc.collect()
    gc.freeze()  # the collections before each series need not look at the libraries again
    return call


def _attempt(work: Callable[[], Result]) -> Result | str:
    """Return what the work returns, or in words what it raised."""
    try:
        return work()
    except Exception as error:  # of whatever kind a library has
        lines = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__}: {lines[0]}"


def _observer(device_type: str) -> Callable[[int], int]:
    """Return what looks at the GPU's clock between windows of samples."""
    return Monitor(Card(gpu_uuid())).observe if device_type == "cuda" else lambda _: 0


def _medians_ms(call: Callable[[], object], observe: Callable[[int], int], device_type: str) -> dict[str, float]:
    """Time a call as a sweep does; where a kind of time could not be taken, it is not a number."""
    for _ in range(WARM_UP_CALLS):
        call()
    latency = measure_latency(call, device_type=device_type, observe=observe)
    single = {SINGLE_CALL: latency.single.median}
    queue = latency.full_queue
    return single if queue is None else {GPU_TIME: queue.median if queue.samples_ms else math.nan, **single}


def _allocate(device_type: str, *, size: int) -> torch.Tensor:
    """Take so many bytes twice, one after the other, and once more beside those to return: twice the size at most."""
    for _ in range(2):
        torch.empty(size, dtype=torch.uint8, device=device_type)
    kept = torch.empty(size, dtype=torch.uint8, device=device_type)
    torch.empty(size, dtype=torch.uint8, device=device_type)
    return kept
