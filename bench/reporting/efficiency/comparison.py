"""Two sweeps side by side: which cases became faster or slower, and what else differs. Needs no torch."""

import dataclasses
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.efficiency.noise import PROCESSES_DIFFER, PROCESSES_NEEDED, spread
from bench.efficiency.pooling import by_case, pooled, process_medians
from bench.efficiency.records import Record, Samples
from bench.efficiency.settings import Case, Setting
from bench.efficiency.store import read_header, read_records, read_samples
from bench.reporting.efficiency.overview import distinguish
from bench.reporting.efficiency.process_verdict import judge_processes
from bench.reporting.efficiency.quantities import launch_gaps_of
from bench.reporting.efficiency.verdict import Judgement, judge
from mixers.support.errors import UserError, unknown_name

# What both sides of a pair must share for their ratio to be about the code. Sweeps that differ in one of these, for
# instance in the GPU, are still compared, with a warning. Another number of parameters means another model.
_MUST_AGREE = ("device", "device_type", *(field.name for field in dataclasses.fields(Setting)), "input", "parameters")

# The times that two sweeps can be compared by, each with its series of samples. The first that both have is taken.
SERIES = {"gpu": "gpu_ms", "latency": "latency_ms"}

# The allocator counts exactly, so smaller differences are real, but too small to act on.
MEMORY_THRESHOLD = 0.01


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One case that has a figure on both sides.

    Attributes:
        before, after: Its records.
        judgement: What its samples of the compared time say, in ms; None where they say nothing.
        refusal: Why they say nothing; otherwise empty.
    """

    before: Record
    after: Record
    judgement: Judgement | None
    refusal: str = ""

    @property
    def memory_differs(self) -> bool:
        """Whether the peaks differ by more than 1 %, or only one side knows its peak."""
        before, after = self.before.peak_memory_gib, self.after.peak_memory_gib
        if before is None or after is None:
            return before != after
        return not math.isclose(before, after, rel_tol=MEMORY_THRESHOLD)


@dataclass(frozen=True, kw_only=True)
class Unpaired:
    """One case without a figure on both sides.

    Attributes:
        case: Which one.
        reason: Why it has none.
        lost: Whether it has a figure before, and was to have one after.
    """

    case: Case
    reason: str
    lost: bool = False


@dataclass(frozen=True, kw_only=True)
class Change:
    """One fact about the environment that differs; None where a side does not know it."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that two sweeps say about each other.

    Attributes:
        before, after: Their folders.
        by: The time that is compared: ``gpu`` or ``latency``.
        warnings: Why the sweeps are not comparable; empty where they are.
        repeats: How far processes of one sweep differ in single calls of the same case, as a fraction: in the middle of
            all cases of both sweeps. None by GPU time, or if a side has one process.
        pairs: The cases with a figure on both sides, in the order in which they were measured before.
        unpaired: Every other case.
        labels: What tells each setting from the others.
        environment: What differs in the environment.
    """

    before: Path
    after: Path
    by: str
    warnings: tuple[str, ...]
    repeats: float | None
    pairs: tuple[Pair, ...]
    unpaired: tuple[Unpaired, ...]
    labels: dict[Setting, str]
    environment: tuple[Change, ...]

    @property
    def judgements(self) -> list[Judgement]:
        """Those of all pairs that have one."""
        return [pair.judgement for pair in self.pairs if pair.judgement]

    def name(self, case: Case) -> str:
        """Return mixer and implementation, and the setting where there are several."""
        return f"{case.name} {self.labels[case.setting]}".rstrip()


@dataclass(frozen=True, kw_only=True)
class _Side:
    """One sweep: the planned cases, the records, their samples, and the environment."""

    planned: frozenset[Case]
    records: dict[Case, Record]
    samples: dict[Case, list[Samples]]
    environment: dict[str, Any]

    @property
    def settings(self) -> list[Setting]:
        """All settings of its cases."""
        return list(dict.fromkeys(case.setting for case in self.records))

    def moved_to(self, setting: Setting) -> "_Side":
        """Return this side with its only setting replaced, so its cases pair with cases of that setting."""
        (own,) = self.settings

        def moved(case: Case) -> Case:
            return dataclasses.replace(case, setting=setting)

        planned = frozenset(moved(case) for case in self.planned if case.setting == own)
        records = {moved(case): record for case, record in self.records.items()}
        samples = {moved(case): each for case, each in self.samples.items()}
        return dataclasses.replace(self, planned=planned, records=records, samples=samples)

    def gpu_ms(self, case: Case) -> list[float]:
        """Return the samples of the GPU's time; none where there are none."""
        return next((each.gpu_ms for each in self.samples.get(case, []) if each.gpu_ms), [])

    def process_medians(self, case: Case) -> list[float]:
        """Return the median single call of each process, in ms; none where there are none."""
        return process_medians(self.samples.get(case, []))


def compare(before: Path, after: Path, *, by: str | None = None) -> Comparison:
    """Compare two folders that ``sbench sweep`` made.

    Args:
        before: One folder.
        after: The other.
        by: ``gpu``, the time of the GPU alone, or ``latency``, that of single calls. None means the GPU's if any case
            has it on both sides, otherwise that of single calls. All cases are compared by the same time.

    Raises:
        UserError: A file is missing or damaged, the sweeps have no case in common, or there is no such time.
    """
    if by is not None and by not in SERIES:
        raise unknown_name("time", by, SERIES)
    one, other = _read(before), _read(after)
    if not one.records.keys() & other.records.keys() and len(one.settings) == len(other.settings) == 1:
        other = other.moved_to(one.settings[0])
    common = [case for case in one.records if case in other.records]
    if not common:
        raise UserError(
            f"{before} and {after} have no case in common",
            hint="Cases pair by mixer, implementation and seconds, and by setting if a sweep has several.",
        )
    without_figure = {case: _why_unpaired(case, one, other) for case in one.records | other.records}
    paired = [case for case in common if without_figure[case] is None]
    if by is None:
        by = "gpu" if any(one.gpu_ms(case) and other.gpu_ms(case) for case in paired) else "latency"
    repeats = _repeats(one, other) if by == "latency" else None
    pairs = tuple(_pair(case, one, other, by=by, repeats=repeats or 0.0) for case in paired)
    warnings = list(_mismatches([(one.records[case], other.records[case]) for case in common]))
    if pairs and not any(pair.judgement for pair in pairs):
        warnings.append(no_verdict(pairs))
    return Comparison(
        before=before,
        after=after,
        by=by,
        warnings=tuple(warnings),
        repeats=repeats,
        pairs=pairs,
        unpaired=tuple(unpaired for unpaired in without_figure.values() if unpaired),
        labels=distinguish([*one.settings, *other.settings]),
        environment=tuple(_changes(one.environment, other.environment)),
    )


def no_verdict(pairs: Sequence[Pair]) -> str:
    """Return what is said of two sweeps in which no case can be judged."""
    return f"no case can be judged: {'; '.join(dict.fromkeys(pair.refusal for pair in pairs))}"


def _read(folder: Path) -> _Side:
    records, header, samples = read_records(folder), read_header(folder), read_samples(folder)
    return _Side(
        planned=frozenset(header.cases),
        records={record.case: record for record in pooled(records, samples)},
        samples=by_case(samples),
        environment=header.environment,
    )


def _why_unpaired(case: Case, one: _Side, other: _Side) -> Unpaired | None:
    """Return why a case has no figure on both sides; None if it has."""
    before, after = one.records.get(case), other.records.get(case)
    if before is None:
        return Unpaired(case=case, reason="only after")
    lost = before.status == "ok"
    if after is None:
        if case not in other.planned:
            return Unpaired(case=case, reason="only before")
        return Unpaired(case=case, reason=f"{before.status} -> not measured yet", lost=lost)
    if before.status == after.status:
        return None if lost else Unpaired(case=case, reason=f"{before.status} before and after")
    error = " ".join((after.error or before.error).split())
    reason = f"{before.status} -> {after.status}{f': {error}' if error else ''}"
    return Unpaired(case=case, reason=reason, lost=lost)


def _repeats(one: _Side, other: _Side) -> float | None:
    """Return how far processes of one sweep differ in the middle of all cases; None if a side has no repeats."""
    sides = [[side.process_medians(case) for case in side.records] for side in (one, other)]
    spreads = [[spread(medians) for medians in side if len(medians) > 1] for side in sides]
    return statistics.median(spreads[0] + spreads[1]) if all(spreads) else None


def _pair(case: Case, one: _Side, other: _Side, *, by: str, repeats: float) -> Pair:
    pair = Pair(before=one.records[case], after=other.records[case], judgement=None)
    gpu = by == "gpu"
    judged, refusal = _by_gpu_time(pair, case, one, other) if gpu else _by_latency(case, one, other, repeats=repeats)
    return dataclasses.replace(pair, judgement=judged, refusal=refusal)


def _by_gpu_time(pair: Pair, case: Case, one: _Side, other: _Side) -> tuple[Judgement | None, str]:
    before, after = one.gpu_ms(case), other.gpu_ms(case)
    if not before or not after:
        return None, f"no samples of {SERIES['gpu']} on both sides"
    return judge(before, after, allowance=_allowance(pair.before, pair.after)), ""


def _by_latency(case: Case, one: _Side, other: _Side, *, repeats: float) -> tuple[Judgement | None, str]:
    """Judge single calls. What processes of one sweep differ by in this case, or in the middle of all, is noise."""
    before, after = one.process_medians(case), other.process_medians(case)
    if not before or not after:
        return None, f"no samples of {SERIES['latency']} on both sides"
    if min(len(before), len(after)) < PROCESSES_NEEDED:
        return None, (
            f"single calls of {len(before)} and {len(after)} processes. They differ between processes, so a verdict "
            f"needs {PROCESSES_NEEDED} on each side: sbench sweep --processes {PROCESSES_NEEDED}"
        )
    return judge_processes(before, after, allowance=max(repeats, spread(before), spread(after))), ""


def _allowance(before: Record, after: Record) -> float:
    """Return the largest difference of GPU times, as a fraction, that something other than the code explains."""
    return PROCESSES_DIFFER + max(map(launch_gaps_of, (before, after))) + _explained_by_clocks(before, after)


def _explained_by_clocks(before: Record, after: Record) -> float:
    """Return the largest difference, as a fraction, that the GPU's clocks explain; 0 where a side does not know them.

    It is the difference between the higher of the two usual clocks and the lowest reading of either side. So a case
    that was throttled in one sweep only does not count as slower.
    """
    usual = [record.sm_clock_mhz for record in (before, after) if record.sm_clock_mhz]
    lowest = [record.sm_clock_mhz_min for record in (before, after) if record.sm_clock_mhz_min]
    return max(usual) / min(lowest) - 1 if len(usual) == len(lowest) == 2 else 0.0


def _mismatches(common: list[tuple[Record, Record]]) -> Iterator[str]:
    """Yield what differs and makes the sweeps not comparable."""
    for field in _MUST_AGREE:
        both = [(getattr(before, field), getattr(after, field)) for before, after in common]
        # The number of parameters is None where the model could not be built.
        differing = [(before, after) for before, after in both if before != after and None not in (before, after)]
        if differing:
            changes = "; ".join(f"{before} -> {after}" for before, after in dict.fromkeys(differing))
            extent = "" if len(differing) == len(common) else f" ({len(differing)} of {len(common)} cases)"
            yield f"the sweeps differ in {field.rstrip('_')}: {changes}{extent}"


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    for name in before | after:
        if before.get(name) != after.get(name):
            yield Change(name=name, before=before.get(name), after=after.get(name))
