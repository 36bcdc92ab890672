"""What known answers say of a machine: is it fit to be believed, and what can it tell apart?

Every verdict is a pure function of measured numbers; `bench.efficiency.doctor` measures them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bench.efficiency.noise import LAUNCH_GAPS_MS

GPU_TIME, SINGLE_CALL = "GPU time", "single call"

Outcome = dict[str, float] | str  # median of each kind of time in ms, or why there is none

CLOCK_TOLERANCE = 0.05  # an H200 took 1 to 2 % longer than by the clock that NVML reads between the calls

SLEEP_S = 0.02
SLEEP_TOLERANCE = 0.1  # waking takes well below 2 ms, unless the processor has other work
TIMER_SLACK_S = 50e-6  # by which Linux may wake a process late, to wake several at once

# Writing half a buffer against copying all of it, both in bytes moved a second. A set takes no longer than the copy
# that writes as much, which makes half the bandwidth. At most it makes one and a half: a processor that copies also
# reads what it overwrites, three transfers of which two count, and a GPU's copy reaches two thirds of its bandwidth.
# A fifth on top is for noise: two virtual cores of an EPYC gave 0.56 to 0.93, neighbours or not. A timer that does not
# wait finds the two equally long, which makes a quarter.
SET_TO_COPY = (0.4, 1.8)

# Nobody chooses a mixer for less than 1 %; on a GPU what the gaps between launches explain comes on top. A CPU is for
# trying things out, and need not tell as much; two virtual cores of a shared host, where processes differ by 15 to
# 100 % even at rest, still do not pass.
LARGEST_SPREAD = {"cuda": 0.01, "cpu": 0.1}


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
    gaps = LAUNCH_GAPS_MS["eager"] / min(repetitions.medians_ms[kind]) if device_type == "cuda" else 0.0
    limit = LARGEST_SPREAD[device_type] + gaps
    spreads = {kind: spread(medians) for kind, medians in repetitions.medians_ms.items()}
    return Finding(
        check=name,
        expected=f"{len(repetitions.medians_ms[kind])} processes within {_percent(limit)} ({kind})",
        measured=_percentages(spreads),
        passed=spreads[kind] <= limit,
    )


def summed_up(case: str, outcomes: Sequence[Outcome]) -> Repetitions:
    """Return the medians of a case, of which each process gave those of all kinds, or why the first gave none."""
    given = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    reasons = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if any(math.isnan(time_ms) for medians in given for time_ms in medians.values()):
        reasons.append("no window of samples was clean")
    if reasons:
        return Repetitions(case=case, medians_ms={}, failure=reasons[0])
    return Repetitions(case=case, medians_ms={kind: [medians[kind] for medians in given] for kind in given[0]})


def _percentages(fractions: Mapping[str, float]) -> str:
    return ", ".join(f"{_percent(fraction)} ({kind})" for kind, fraction in fractions.items())


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 0.1 else f"{100 * fraction:.0f} %"
