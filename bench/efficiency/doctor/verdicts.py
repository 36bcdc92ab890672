"""Judges a machine by known answers: are its figures right, and which differences does it resolve?

Every verdict is a pure function of measured numbers, which `bench.efficiency.doctor.checks` takes.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bench.efficiency.noise import launch_gaps, spread

GPU_TIME, SINGLE_CALL = "GPU time", "single call"

_REPEATED = "A/A: "  # begins the names of checks of a case in several processes

KindMs = Mapping[str, float]  # a time in ms for each kind: `GPU_TIME` (on a GPU) and `SINGLE_CALL`

CLOCK_TOLERANCE = 0.05  # an H200 took 1 to 2 % longer than the clock that NVML reads between the calls says

SLEEP_S = 0.02
SLEEP_TOLERANCE = 0.1  # waking takes far less than 2 ms, unless the processor has other work
TIMER_SLACK_S = 50e-6  # Linux may wake a process this late, to wake several at once

# Bandwidth of writing half a buffer, as a fraction of that of copying all of it (bytes read and written a second).
# Lowest: a set takes no longer than a copy that writes as much, which gives 0.5. Highest: 1.5, for two reasons. A
# processor that copies also reads what it overwrites, so only two of three transfers count. And a GPU's copy reaches
# two thirds of its bandwidth. A fifth is added for noise: two virtual cores of an EPYC gave 0.56 to 0.93, with and
# without other load. A timer that does not wait measures both as equally long, which gives 0.25.
SET_TO_COPY = (0.4, 1.8)

# Nobody chooses a mixer for less than 1 %. On a GPU the allowance for gaps between launches is added. A CPU is for
# trials and need not resolve as much. Two virtual cores of a shared host still fail: there processes differ by 15 to
# 100 % even without load.
LARGEST_SPREAD = {"cuda": 0.01, "cpu": 0.1}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check, in words.

    Attributes:
        check: Its name.
        expected: The known answer.
        measured: The measured answer, or why there is none.
        passed: Whether the two agree.
    """

    check: str
    expected: str
    measured: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class RunTimes:
    """What one process measured of a case.

    Attributes:
        medians_ms: The median of each kind of time; empty if the process failed.
        failure: Why there are none; otherwise empty.
    """

    medians_ms: KindMs
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Repetitions:
    """One case, measured in several processes.

    Attributes:
        case: Its name and length.
        medians_ms: For each kind of time, one median for each process.
        failure: Why there are none; otherwise empty.
    """

    case: str
    medians_ms: Mapping[str, Sequence[float]]
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The results of all checks.

    Attributes:
        findings: One for each check.
        repetitions: One for each case that was measured repeatedly.
    """

    findings: Sequence[Finding]
    repetitions: Sequence[Repetitions]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(finding.passed for finding in self.findings)


def table(diagnosis: Diagnosis) -> Table:
    """Return a table with a row for each check."""
    listing = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for column in ("check", "expected", "measured", "verdict"):
        listing.add_column(column, no_wrap=column == "check")
    for finding in diagnosis.findings:
        verdict = Text("pass", style="green") if finding.passed else Text("FAIL", style="bold red")
        listing.add_row(Text(finding.check), Text(finding.expected), Text(finding.measured), verdict)
    return listing


def as_json(diagnosis: Diagnosis, *, device_type: str) -> dict[str, Any]:
    """Return what `sbench doctor --json` prints; fractions are of 1."""
    return {
        "device_type": device_type,
        "passed": diagnosis.passed,
        "smallest_difference": _largest_spreads(diagnosis.repetitions),
        **dataclasses.asdict(diagnosis),
    }


def smallest_difference(repetitions: Sequence[Repetitions]) -> str:
    """Return in words the smallest difference that is resolved: the largest between two runs of the same case."""
    return _percentages(_largest_spreads(repetitions)) or "unknown, since no case could be measured"


def _largest_spreads(repetitions: Sequence[Repetitions]) -> dict[str, float]:
    """Return for each kind of time the largest difference between two runs of the same case."""
    largest: dict[str, float] = {}
    for each in repetitions:
        for kind, medians in each.medians_ms.items():
            largest[kind] = max(largest.get(kind, 0.0), spread(medians))
    return largest


def advice(diagnosis: Diagnosis, *, device_type: str) -> list[str]:
    """Return what to do where processes that measured the same differ too much, however quiet the machine was."""
    measured = {f"{_REPEATED}{each.case}" for each in diagnosis.repetitions if not each.failure}
    if all(each.passed for each in diagnosis.findings if each.check in measured):
        return []
    if device_type == "cuda":
        return ["Measured again, the same code differs. End other work on this GPU, and wait until it is cool."]
    return [
        "Measured again, the same code differs: other work or, on a virtual machine, other guests share the processor.",
        "End other work, or conclude from several processes only: sbench sweep --processes 5",
    ]


def without_result(check: str, reason: str) -> Finding:
    """Return the finding of a check that gave no result. It has failed."""
    return Finding(check=check, expected="a result", measured=reason, passed=False)


def judge_load(load: float, *, cores: int) -> Finding:
    """Judge how busy a CPU is, by its load average over the last minute."""
    return Finding(
        check="quiet machine",
        expected=f"load average below {cores}, the number of cores",
        measured=f"{load:.2f}",
        passed=load < cores,
    )


def judge_card(*, others: int | None, reasons: set[str]) -> Finding:
    """Judge whether an idle GPU is free.

    Args:
        others: How many processes of others use it; None if NVML hides them, which is no failure.
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
        clock_mhz: The clock as NVML read it; None if it does not report it.
    """
    known = 1e3 / clock_mhz if clock_mhz else math.nan
    return Finding(
        check="sleep",
        expected=f"{known:.4f} ns per cycle, within {_percent(CLOCK_TOLERANCE)}" if clock_mhz else "a clock from NVML",
        measured="\n".join(f"{time_ns:.4f} ns ({kind})" for kind, time_ns in cycle_ns.items()),
        passed=all(abs(time_ns / known - 1) <= CLOCK_TOLERANCE for time_ns in cycle_ns.values()),
    )


def judge_sleep(median_ms: float) -> Finding:
    """Judge the time of a sleep of ``SLEEP_S``. It may be longer, but not shorter."""
    shortest, longest = 1e3 * SLEEP_S, 1e3 * (SLEEP_S * (1 + SLEEP_TOLERANCE) + TIMER_SLACK_S)
    return Finding(
        check="sleep",
        expected=f"{shortest:g} to {longest:g} ms",
        measured=f"{median_ms:.2f} ms",
        passed=shortest <= median_ms <= longest,
    )


def judge_memory_set(copy_ms: KindMs, set_ms: KindMs, *, size: int) -> Finding:
    """Judge the time of setting memory by the time of copying it.

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
    """Judge how far apart the medians of a case are: of GPU time, or on a CPU of single calls."""
    name = f"{_REPEATED}{repetitions.case}"
    if repetitions.failure:
        return without_result(name, repetitions.failure)
    kind = GPU_TIME if device_type == "cuda" else SINGLE_CALL
    shortest_ms = min(repetitions.medians_ms[kind])
    gaps = launch_gaps(gpu_clock="queue", gpu_ms=shortest_ms) if device_type == "cuda" else 0.0
    limit = LARGEST_SPREAD[device_type] + gaps
    spreads = {kind: spread(medians) for kind, medians in repetitions.medians_ms.items()}
    return Finding(
        check=name,
        expected=f"{len(repetitions.medians_ms[kind])} processes within {_percent(limit)} ({kind})",
        measured=_percentages(spreads),
        passed=spreads[kind] <= limit,
    )


def summarize(case: str, runs: Sequence[RunTimes]) -> Repetitions:
    """Return the medians of a case by kind of time, or the first reason why a run has none."""
    reasons = [run.failure for run in runs if run.failure]
    if any(math.isnan(time_ms) for run in runs for time_ms in run.medians_ms.values()):
        reasons.append("no window of samples was clean")
    if reasons:
        return Repetitions(case=case, medians_ms={}, failure=reasons[0])
    kinds = runs[0].medians_ms
    return Repetitions(case=case, medians_ms={kind: [run.medians_ms[kind] for run in runs] for kind in kinds})


def _percentages(fractions: Mapping[str, float]) -> str:
    return ", ".join(f"{_percent(fraction)} ({kind})" for kind, fraction in fractions.items())


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.1 else f"{100 * fraction:.0f} %"
