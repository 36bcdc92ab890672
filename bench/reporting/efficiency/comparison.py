"""Two sides and more: which cases became faster or slower, and what else differs. Needs no torch."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.efficiency.records import Record
from bench.efficiency.settings import Case, Setting
from bench.reporting.efficiency.agreement import mismatches
from bench.reporting.efficiency.case_verdict import SERIES, by_gpu_time, by_latency, what_processes_differ_by
from bench.reporting.efficiency.overview import distinguish
from bench.reporting.efficiency.sides import Side, read_sides
from bench.reporting.efficiency.verdict import Judgement
from mixers.support.errors import UserError, unknown_name

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
    """Everything that two sides say about each other.

    Attributes:
        before, after: The folders of each: one sweep, or its repeats.
        by: The time that is compared: ``gpu`` or ``latency``.
        warnings: Why the sides are not comparable; empty where they are.
        repeats: How far processes of one side differ in single calls of the same case, as a fraction: in the middle of
            all cases of both sides. None by GPU time, or if a side has one process.
        pairs: The cases with a figure on both sides, in the order in which they were measured before.
        unpaired: Every other case.
        labels: What tells each setting from the others.
        environment: What differs in the environment.
    """

    before: tuple[Path, ...]
    after: tuple[Path, ...]
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


def compare(before: Path, after: Path, *, by: str | None = None) -> Comparison:
    """Compare two folders that ``sbench sweep`` made, as `compare_sides` does."""
    (comparison,) = compare_sides([[before], [after]], by=by)
    return comparison


def compare_sides(sides: Sequence[Sequence[Path]], *, by: str | None = None) -> list[Comparison]:
    """Compare each side with the first.

    Args:
        sides: The folders of each: one sweep, or repeats of it, whose processes are pooled.
        by: ``gpu``, the time of the GPU alone, or ``latency``, that of single calls. None means the GPU's if each side
            has it for any case that the first has too, otherwise that of single calls. All cases of all sides are
            compared by the same time.

    Returns:
        One for each side but the first, in their order.

    Raises:
        UserError: There are fewer than two sides, a folder is given twice, a file is missing or damaged, the sweeps of
            one side are no repeats of one, two sides have no case in common, or there is no such time.
    """
    if by is not None and by not in SERIES:
        raise unknown_name("time", by, SERIES)
    base, *others = read_sides(sides)
    others = [_pairing_with(base, other) for other in others]
    if by is None:
        by = (
            "gpu"
            if all(any(base.gpu_ms(case) and side.gpu_ms(case) for case in _paired(base, side)) for side in others)
            else "latency"
        )
    return [_compare(base, other, by=by) for other in others]


def _pairing_with(base: Side, other: Side) -> Side:
    """Return the other side with its cases in the base's setting if each has just one.

    Raises:
        UserError: They have no case in common.
    """
    if not base.records.keys() & other.records.keys() and len(base.settings) == len(other.settings) == 1:
        other = other.moved_to(base.settings[0])
    if not base.records.keys() & other.records.keys():
        raise UserError(
            f"{listed(base.folders)} and {listed(other.folders)} have no case in common",
            hint="Cases pair by mixer, implementation and seconds, and by setting if a sweep has several.",
        )
    return other


def _paired(one: Side, other: Side) -> list[Case]:
    """Return the cases with a figure on both sides."""
    return [case for case in one.records if _why_unpaired(case, one, other) is None]


def _compare(one: Side, other: Side, *, by: str) -> Comparison:
    repeats = what_processes_differ_by(one, other) if by == "latency" else None
    pairs = tuple(_pair(case, one, other, by=by, repeats=repeats or 0.0) for case in _paired(one, other))
    unpaired = (_why_unpaired(case, one, other) for case in one.records | other.records)
    warnings = [f"the sweeps differ in {each}" for each in mismatches(one.records, other.records)]
    if pairs and not any(pair.judgement for pair in pairs):
        warnings.append(no_verdict(pairs))
    return Comparison(
        before=one.folders,
        after=other.folders,
        by=by,
        warnings=tuple(warnings),
        repeats=repeats,
        pairs=pairs,
        unpaired=tuple(each for each in unpaired if each),
        labels=distinguish([*one.settings, *other.settings]),
        environment=tuple(_changes(one.environment, other.environment)),
    )


def no_verdict(pairs: Sequence[Pair]) -> str:
    """Return what is said of two sides in which no case can be judged."""
    return f"no case can be judged: {'; '.join(dict.fromkeys(pair.refusal for pair in pairs))}"


def listed(folders: Sequence[Path]) -> str:
    """Return the folders of a side as the command line takes them."""
    return ",".join(map(str, folders))


def _why_unpaired(case: Case, one: Side, other: Side) -> Unpaired | None:
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


def _pair(case: Case, one: Side, other: Side, *, by: str, repeats: float) -> Pair:
    judged, refusal = by_gpu_time(case, one, other) if by == "gpu" else by_latency(case, one, other, repeats=repeats)
    return Pair(before=one.records[case], after=other.records[case], judgement=judged, refusal=refusal)


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    for name in before | after:
        if before.get(name) != after.get(name):
            yield Change(name=name, before=before.get(name), after=after.get(name))
