"""Known answers, got by what a sweep measures with: is this machine fit to be believed, and what can it tell apart?

What measures and what decides are apart: every verdict is a pure function of measured numbers.
"""

import gc
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bench.efficiency import isolation
from bench.efficiency.cases import default_precision
from bench.efficiency.device import available_memory_gib, gpu_uuid
from bench.efficiency.execution import bind
from bench.efficiency.inputs import RandomFeatures
from bench.efficiency.isolation import Death, Ready
from bench.efficiency.latency import WARM_UP_CALLS, measure_latency
from bench.efficiency.memory import GIB, peak_bytes
from bench.efficiency.records import LAUNCH_GAPS_MS
from bench.efficiency.telemetry import Card, Monitor
from mixers import stack
from mixers.precision import DTYPES

Result = TypeVar("Result")

Outcome = dict[str, float] | str  # median of each kind of time in ms, or why there is none

RUNS = 6  # of each case, each in a process of its own

GPU_TIME, SINGLE_CALL = "GPU time", "single call"

# Two numbers of cycles, so that what a launch costs drops out: half a millisecond and five at 2 GHz.
CYCLES = (10**6, 10**7)
CLOCK_TOLERANCE = 0.05  # an H200 took 1 to 2 % longer than by the clock that NVML reads between the calls

SLEEP_S = 0.02
SLEEP_TOLERANCE = 0.1  # waking takes well below 2 ms, unless the processor has other work
TIMER_SLACK_S = 50e-6  # by which Linux may wake a process late, to wake several at once

COPIED_BYTES = {"cuda": GIB, "cpu": GIB // 4}  # of which even half is far more than the caches hold

# Writing half a buffer against copying all of it, both in bytes moved a second. A set takes no longer than the copy
# that writes as much, which makes half the bandwidth. At most it makes one and a half: a processor that copies also
# reads what it overwrites, three transfers of which two count, and a GPU's copy reaches two thirds of its bandwidth.
# A fifth on top is for noise: two virtual cores of an EPYC gave 0.56 to 0.93, neighbours or not. A timer that does not
# wait finds the two equally long, which makes a quarter.
SET_TO_COPY = (0.4, 1.8)

# Multiples of 2 MiB, which a GPU's allocator gives out without rounding; small, large and small again.
ALLOCATED_BYTES = (2 * 2**20, 32 * 2**20, 4 * 2**20)

# Nobody chooses a mixer for less than 1 %; on a GPU what the gaps between launches explain comes on top. A CPU is for
# trying things out, and need not tell as much; two virtual cores of a shared host, where processes differ by 15 to
# 100 % even at rest, still do not pass.
LARGEST_SPREAD = {"cuda": 0.01, "cpu": 0.1}

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


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check gave, in words.

    Attributes:
        check: Its name.
        expected: What is known beforehand.
        measured: What came out, or why nothing did.
        passed: Whether the two agree.
    """

    check: str
    expected: str
    measured: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Repetitions:
    """One case, measured in several processes.

    Attributes:
        case: Its name and length.
        medians_ms: One median a process, for each kind of time.
        failure: Why there are none; else empty.
    """

    case: str
    medians_ms: Mapping[str, Sequence[float]]
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What all checks gave.

    Attributes:
        findings: One a check.
        repetitions: One a case that was measured repeatedly.
    """

    findings: Sequence[Finding]
    repetitions: Sequence[Repetitions]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(finding.passed for finding in self.findings)


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


def table(diagnosis: Diagnosis) -> Table:
    """Return one row for each check."""
    listing = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for column in ("check", "expected", "measured", "verdict"):
        listing.add_column(column, no_wrap=column == "check")
    for finding in diagnosis.findings:
        verdict = Text("pass", style="green") if finding.passed else Text("FAIL", style="bold red")
        listing.add_row(Text(finding.check), Text(finding.expected), Text(finding.measured), verdict)
    return listing


def smallest_difference(repetitions: Sequence[Repetitions]) -> str:
    """Return in words the smallest difference that can be told: the largest between two runs of the same case."""
    largest: dict[str, float] = {}
    for each in repetitions:
        for kind, medians in each.medians_ms.items():
            largest[kind] = max(largest.get(kind, 0.0), spread(medians))
    return _percentages(largest) or "unknown, since no case could be measured"


def spread(medians: Sequence[float]) -> float:
    """Return the largest ratio of any two values, minus 1."""
    return max(medians) / min(medians) - 1


def lost(check: str, reason: str) -> Finding:
    """Return the finding of a check that gave no result."""
    return Finding(check=check, expected="a result", measured=reason, passed=False)


def judge_load(load: float, *, cores: int) -> Finding:
    """Judge how busy a CPU is, by the processes that have run or waited to run over the last minute."""
    return Finding(
        check="quiet machine",
        expected=f"load average below {cores}, the number of cores",
        measured=f"{load:.2f}",
        passed=load < cores,
    )


def judge_card(*, others: int | None, reasons: set[str]) -> Finding:
    """Judge whether a GPU at rest is free.

    Args:
        others: How many processes of others use it; None where NVML hides them, which is held against nobody.
        reasons: What holds its clocks down.
    """
    count = "an unknown number of other processes, which NVML hides" if others is None else f"{others} other processes"
    return Finding(
        check="quiet machine",
        expected="no other process on the GPU\nnothing that holds its clocks down",
        measured=f"{count}\n{', '.join(sorted(reasons)) or 'nothing'}",
        passed=not others and not reasons,
    )


def judge_cycles(cycle_ns: Mapping[str, float], *, clock_mhz: float | None) -> Finding:
    """Judge the time of a clock cycle.

    Args:
        cycle_ns: By each kind of time.
        clock_mhz: As NVML read it meanwhile; None where it does not tell.
    """
    known = 1e3 / clock_mhz if clock_mhz else math.nan
    return Finding(
        check="sleep",
        expected=f"{known:.4f} ns a cycle, within {_percent(CLOCK_TOLERANCE)}" if clock_mhz else "a clock from NVML",
        measured="\n".join(f"{time_ns:.4f} ns ({kind})" for kind, time_ns in cycle_ns.items()),
        passed=all(abs(time_ns / known - 1) <= CLOCK_TOLERANCE for time_ns in cycle_ns.values()),
    )


def judge_sleep(median_ms: float) -> Finding:
    """Judge the time of a sleep of ``SLEEP_S``, which may last longer, but not shorter."""
    shortest, longest = 1e3 * SLEEP_S, 1e3 * (SLEEP_S * (1 + SLEEP_TOLERANCE) + TIMER_SLACK_S)
    return Finding(
        check="sleep",
        expected=f"{shortest:g} to {longest:g} ms",
        measured=f"{median_ms:.2f} ms",
        passed=shortest <= median_ms <= longest,
    )


def judge_memory_set(copy_ms: Mapping[str, float], set_ms: Mapping[str, float], *, size: int) -> Finding:
    """Judge the time of setting memory by that of copying it.

    Args:
        copy_ms: Time of copying a buffer, by each kind of time.
        set_ms: Time of setting half of it.
        size: Bytes of the buffer.
    """
    low, high = SET_TO_COPY
    copied = {kind: 2 * size / time_ms / 1e6 for kind, time_ms in copy_ms.items()}  # GB/s, read plus written
    written = {kind: size / 2 / time_ms / 1e6 for kind, time_ms in set_ms.items()}
    return Finding(
        check="memory set",
        expected=f"writes at {low:g} to {high:g} times the bandwidth of a copy",
        measured="\n".join(
            f"set {written[kind]:,.1f} GB/s, copy {copied[kind]:,.1f} GB/s: {written[kind] / copied[kind]:.2f} ({kind})"
            for kind in copied
        ),
        passed=all(low <= written[kind] / copied[kind] <= high for kind in copied),
    )


def judge_allocations(measured: Sequence[int], *, known: Sequence[int]) -> Finding:
    """Judge peaks of memory, in bytes, by the known ones."""
    return Finding(
        check="allocation",
        expected=f"{', '.join(f'{size / 2**20:g}' for size in known)} MiB, to the byte",
        measured=f"off by {', '.join(f'{peak - size:,}' for peak, size in zip(measured, known, strict=True))} bytes",
        passed=list(measured) == list(known),
    )


def judge_repetitions(repetitions: Repetitions, *, device_type: str) -> Finding:
    """Judge how far apart the medians of a case are: the GPU's time, or on a CPU that of single calls."""
    name = f"A/A: {repetitions.case}"
    if repetitions.failure:
        return lost(name, repetitions.failure)
    kind = GPU_TIME if device_type == "cuda" else SINGLE_CALL
    gaps = LAUNCH_GAPS_MS / min(repetitions.medians_ms[kind]) if device_type == "cuda" else 0.0
    limit = LARGEST_SPREAD[device_type] + gaps
    spreads = {kind: spread(medians) for kind, medians in repetitions.medians_ms.items()}
    return Finding(
        check=name,
        expected=f"{len(repetitions.medians_ms[kind])} processes within {_percent(limit)} ({kind})",
        measured=_percentages(spreads),
        passed=spreads[kind] <= limit,
    )


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


def summed_up(case: str, outcomes: Sequence[Outcome]) -> Repetitions:
    """Return the medians of a case, of which each process gave those of all kinds, or why the first gave none."""
    given = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    reasons = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if any(math.isnan(time_ms) for medians in given for time_ms in medians.values()):
        reasons.append("no window of samples was clean")
    if reasons:
        return Repetitions(case=case, medians_ms={}, failure=reasons[0])
    return Repetitions(case=case, medians_ms={kind: [medians[kind] for medians in given] for kind in given[0]})


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


def _percentages(fractions: Mapping[str, float]) -> str:
    return ", ".join(f"{_percent(fraction)} ({kind})" for kind, fraction in fractions.items())


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.1 else f"{100 * fraction:.0f} %"
