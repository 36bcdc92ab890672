"""Two sweeps side by side: which cases became faster or slower, and what else is not the same. Needs no torch."""

import dataclasses
import itertools
import math
import typing
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from bench.efficiency.noise import LAUNCH_GAPS_MS, PROCESSES_DIFFER
from bench.efficiency.records import Record, Samples
from bench.efficiency.settings import Case, Setting
from bench.efficiency.store import read_header, read_records, read_samples
from bench.reporting.efficiency.overview import distinguish
from bench.reporting.efficiency.verdict import (
    ALPHA,
    RESOLUTION,
    THRESHOLD,
    Judgement,
    Verdict,
    judge,
    medians_agree,
    slower_than,
)
from mixers.support.errors import UserError, unknown_name

# What both sides of a pair must share for their ratio to be about the code. A sweep of another precision or on another
# GPU is still compared, for that may be the question, but it is said. Parameters: of another size, it is another model.
_ALIKE = ("device", "device_type", *(field.name for field in dataclasses.fields(Setting)), "input", "parameters")

# The times that two sweeps can be compared by, each with its series of samples; the first that both have is taken.
_SERIES = {"gpu": "gpu_ms", "latency": "latency_ms"}

_MEANING = {
    "gpu": "of the GPU alone, its launch queue kept full (gpu_ms)",
    "latency": "of single calls, each begun on an idle device (latency_ms)",
}

# The allocator's books are exact, so this leaves out only what nobody would act on.
_MEMORY_THRESHOLD = 0.01

_STYLES: dict[Verdict, str] = {"faster": "green", "slower": "bold red", "no difference": "", "noisy": "yellow"}

_LEGEND = (
    f"ratio: median after / before, with its {1 - ALPHA:.0%} interval. faster, slower: the interval excludes 1 and the "
    f"ratio is off by more than {PROCESSES_DIFFER:.1%}, by which two processes may differ, and what the GPU's clocks, "
    "as far as they fell, and the gaps between kernels explain. no difference: it is off by at most "
    f"{THRESHOLD:.0%}, and a difference of {RESOLUTION:.0%} is ruled out. noisy: all else."
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One case that has a figure on both sides.

    Attributes:
        before, after: Its records.
        judgement: What its samples of the time compared say, in ms; None where a side has none.
    """

    before: Record
    after: Record
    judgement: Judgement | None

    @property
    def memory_differs(self) -> bool:
        """Whether the peaks differ by more than 1 %, or only one side knows its peak."""
        before, after = self.before.peak_memory_gib, self.after.peak_memory_gib
        if before is None or after is None:
            return before != after
        return not math.isclose(before, after, rel_tol=_MEMORY_THRESHOLD)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that two sweeps say about each other.

    Attributes:
        before, after: Their folders.
        by: The time that is compared: ``gpu`` or ``latency``.
        warnings: Why the pairing makes no sense; empty where it does.
        pairs: The cases with a figure on both sides, in the order in which they were measured before.
        unpaired: Every other case and the reason.
        labels: What tells each setting from the others.
        environment: Name, value before and value after of what differs; None where one side does not know it.
    """

    before: Path
    after: Path
    by: str
    warnings: tuple[str, ...]
    pairs: tuple[Pair, ...]
    unpaired: tuple[tuple[Case, str], ...]
    labels: dict[Setting, str]
    environment: tuple[tuple[str, Any, Any], ...]

    def name(self, case: Case) -> str:
        """Return mixer and implementation, and the setting where there are several."""
        return f"{case.name} {self.labels[case.setting]}".rstrip()


@dataclass(frozen=True, kw_only=True)
class _Sweep:
    """One folder: what was to be measured, its records and their samples, and its environment."""

    planned: frozenset[Case]
    records: dict[Case, Record]
    samples: dict[Case, Samples]
    environment: dict[str, Any]

    @property
    def settings(self) -> list[Setting]:
        """All settings of its cases."""
        return list(dict.fromkeys(case.setting for case in self.records))

    def named_like(self, other: "_Sweep") -> "_Sweep":
        """Return a sweep in one setting under the setting of another one, so that their cases pair all the same."""
        (own,), (setting,) = self.settings, other.settings

        def renamed(case: Case) -> Case:
            return dataclasses.replace(case, setting=setting)

        planned = frozenset(renamed(case) for case in self.planned if case.setting == own)
        records = {renamed(case): record for case, record in self.records.items()}
        samples = {renamed(case): each for case, each in self.samples.items()}
        return dataclasses.replace(self, planned=planned, records=records, samples=samples)

    def times(self, case: Case, by: str) -> list[float]:
        """Return the samples of one time in ms; none where there are none."""
        return getattr(self.samples[case], _SERIES[by]) if case in self.samples else []


def compare(before: Path, after: Path, *, by: str | None = None) -> Comparison:
    """Compare two folders that ``sbench sweep`` made.

    Args:
        before: One folder.
        after: The other.
        by: ``gpu``, the time of the GPU alone, or ``latency``, that of single calls; None for the GPU's where any case
            has it on both sides, else that of single calls. All cases are compared by the same.

    Raises:
        UserError: A file is missing or damaged, the sweeps have no case in common, or there is no such time.
    """
    if by is not None and by not in _SERIES:
        raise unknown_name("time", by, _SERIES)
    one, other = _read(before), _read(after)
    if not one.records.keys() & other.records.keys() and len(one.settings) == len(other.settings) == 1:
        other = other.named_like(one)
    common = [case for case in one.records if case in other.records]
    if not common:
        raise UserError(
            f"{before} and {after} have no case in common",
            hint="Cases pair by mixer, implementation and seconds, and by setting where a sweep has several.",
        )
    paired = [case for case in common if _reason(case, one, other) is None]
    if by is None:
        by = "gpu" if any(one.times(case, "gpu") and other.times(case, "gpu") for case in paired) else "latency"
    pairs = tuple(_pair(case, one, other, by=by) for case in paired)
    warnings = list(_mismatches([(one.records[case], other.records[case]) for case in common]))
    if not any(pair.judgement for pair in pairs):
        warnings.append(_nothing(by))
    return Comparison(
        before=before,
        after=after,
        by=by,
        warnings=tuple(warnings),
        pairs=pairs,
        unpaired=tuple(
            (case, reason) for case in one.records | other.records if (reason := _reason(case, one, other)) is not None
        ),
        labels=distinguish([*one.settings, *other.settings]),
        environment=tuple(
            (name, one.environment.get(name), other.environment.get(name))
            for name in one.environment | other.environment
            if one.environment.get(name) != other.environment.get(name)
        ),
    )


def slower(comparison: Comparison, fraction: float) -> list[str]:
    """Return a line for each case that is called slower by more than a fraction, or that has no figure any more.

    Raises:
        UserError: No case has samples on both sides, so that an empty list would pass for good news.
    """
    if not any(pair.judgement for pair in comparison.pairs):
        hint = "Only a GPU gives gpu_ms; --by latency compares single calls." if comparison.by == "gpu" else ""
        raise UserError(f"{_nothing(comparison.by)}, so none can be slower", hint=hint)
    lost = [f"{comparison.name(case)} at {case.seconds:g} s: {why}" for case, why in comparison.unpaired if _lost(why)]
    return lost + [
        f"{comparison.name(pair.before.case)} at {pair.before.seconds:g} s: {_ratio(pair.judgement.ratio)} "
        f"({_interval(pair.judgement)}), {_figure(pair.judgement.median_before)} -> "
        f"{_figure(pair.judgement.median_after)} ms"
        for pair in comparison.pairs
        if pair.judgement and slower_than(pair.judgement, fraction)
    ]


def _lost(reason: str) -> bool:
    return reason.startswith("ok -> ")


def tally(comparison: Comparison) -> str:
    """Return how often each verdict was given, how many cases got none, and how many medians agree."""
    judgements = [pair.judgement for pair in comparison.pairs if pair.judgement]
    counts = Counter(judgement.verdict for judgement in judgements)
    parts = [f"{counts[verdict]} {verdict}" for verdict in typing.get_args(Verdict)]
    missing = len(comparison.unpaired) + len(comparison.pairs) - len(judgements)
    verdicts = ", ".join(parts + ([f"{missing} without a verdict"] if missing else []))
    agreeing = sum(map(medians_agree, judgements))
    return f"{verdicts}; {agreeing} of {len(judgements)} medians within {THRESHOLD:.0%}" if judgements else verdicts


def render(comparison: Comparison) -> Group:
    """Return what the terminal shows: warnings, verdicts, their tally, then cases without one, memory, environment."""
    parts: list[Text | Table] = [
        *(Text(f"WARNING: {warning}", style="bold yellow") for warning in comparison.warnings),
        Text(f"before: {comparison.before}\nafter:  {comparison.after}\ntime:   {_MEANING[comparison.by]}"),
        *_times(comparison),
        Text(tally(comparison), style="bold"),
        *_without_verdict(comparison),
        *_memory(comparison),
        *_environment(comparison),
    ]
    return Group(*parts)


def _read(folder: Path) -> _Sweep:
    records = {record.case: record for record in read_records(folder)}
    header = read_header(folder)
    samples = {each.case: each for each in read_samples(folder)}
    return _Sweep(planned=frozenset(header.cases), records=records, samples=samples, environment=header.environment)


def _reason(case: Case, one: _Sweep, other: _Sweep) -> str | None:
    """Return why a case has no figure on both sides; None where it has."""
    before, after = one.records.get(case), other.records.get(case)
    if before is None:
        return "only after"
    if after is None:
        return f"{before.status} -> not measured yet" if case in other.planned else "only before"
    if before.status == after.status:
        return None if before.status == "ok" else f"{before.status} before and after"
    error = " ".join((after.error or before.error).split())
    return f"{before.status} -> {after.status}{f': {error}' if error else ''}"


def _pair(case: Case, one: _Sweep, other: _Sweep, *, by: str) -> Pair:
    before, after = one.records[case], other.records[case]
    times = one.times(case, by), other.times(case, by)
    judgement = judge(*times, allowance=_explained(before, after, by=by)) if all(times) else None
    return Pair(before=before, after=after, judgement=judgement)


def _explained(before: Record, after: Record, *, by: str) -> float:
    """Return the largest difference, as a fraction, that something other than the code explains or has been seen."""
    gaps = LAUNCH_GAPS_MS[before.execution] / before.gpu_ms if by == "gpu" and before.gpu_ms else 0.0
    return PROCESSES_DIFFER + gaps + _explained_by_clocks(before, after, by=by)


def _explained_by_clocks(before: Record, after: Record, *, by: str) -> float:
    """Return the largest difference, as a fraction, that the GPU's clocks explain; 0 where a side does not know them.

    It is that between the higher of the two usual clocks and the lowest reading of either side: a case that was
    throttled in one sweep alone is not slower for its code. A launch-bound call takes the host's time instead.
    """
    usual = [record.sm_clock_mhz for record in (before, after) if record.sm_clock_mhz]
    lowest = [record.sm_clock_mhz_min for record in (before, after) if record.sm_clock_mhz_min]
    known = len(usual) == len(lowest) == 2
    of_host = by == "latency" and before.launch_bound and after.launch_bound
    return max(usual) / min(lowest) - 1 if known and not of_host else 0.0


def _nothing(by: str) -> str:
    return f"no case has samples of {_SERIES[by]} on both sides"


def _mismatches(common: list[tuple[Record, Record]]) -> Iterator[str]:
    """Say which settings differ, so that the pairing makes no sense."""
    for field in _ALIKE:
        both = [(getattr(before, field), getattr(after, field)) for before, after in common]
        # The count of parameters is None where the model could not be built.
        differing = [(before, after) for before, after in both if before != after and None not in (before, after)]
        if differing:
            changes = "; ".join(f"{before} -> {after}" for before, after in dict.fromkeys(differing))
            extent = "" if len(differing) == len(common) else f" ({len(differing)} of {len(common)} cases)"
            yield f"not like with like: {field.rstrip('_')}, {changes}{extent}"


def _times(comparison: Comparison) -> Iterator[Table | Text]:
    # Without padding, and with headers of two lines, this fits 80 columns; a long name folds before a number would.
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("case", overflow="fold")
    for header in ("seconds", "before\nms", "after\nms", "ratio", "interval"):
        table.add_column(header, no_wrap=True, justify="right")
    table.add_column("verdict", no_wrap=True)
    for pair in comparison.pairs:
        if pair.judgement:
            table.add_row(
                comparison.name(pair.before.case),
                f"{pair.before.seconds:g}",
                _figure(pair.judgement.median_before),
                _figure(pair.judgement.median_after),
                _ratio(pair.judgement.ratio),
                _interval(pair.judgement),
                Text(pair.judgement.verdict, style=_STYLES[pair.judgement.verdict]),
            )
    if table.row_count:
        yield table
        yield Text(_LEGEND, style="dim")


def _without_verdict(comparison: Comparison) -> Iterator[Text]:
    missing = f"no samples of {_SERIES[comparison.by]}"
    cases = [
        *comparison.unpaired,
        *((pair.before.case, missing) for pair in comparison.pairs if not pair.judgement),
    ]
    lines = [
        f"  {name} at {', '.join(f'{case.seconds:g}' for case, _ in alike)} s: {reason}"
        for (name, reason), alike in itertools.groupby(cases, key=lambda each: (comparison.name(each[0]), each[1]))
    ]
    yield from _section("without a verdict:", lines)


def _memory(comparison: Comparison) -> Iterator[Table | Text]:
    differing = [pair for pair in comparison.pairs if pair.memory_differs]
    if comparison.pairs and not differing:
        yield Text(f"\npeak memory: within {_MEMORY_THRESHOLD:.0%} in every case with a figure on both sides")
    if not differing:
        return
    yield Text(f"\npeak memory that differs by more than {_MEMORY_THRESHOLD:.0%}:")
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("case", overflow="fold")
    for header in ("seconds", "before\nGiB", "after\nGiB", "ratio"):
        table.add_column(header, no_wrap=True, justify="right")
    for pair in differing:
        before, after = pair.before.peak_memory_gib, pair.after.peak_memory_gib
        ratio = _ratio(after / before) if before and after is not None else "-"
        figures = ("-" if value is None else _figure(value) for value in (before, after))
        table.add_row(comparison.name(pair.before.case), f"{pair.before.seconds:g}", *figures, ratio)
    yield table


def _environment(comparison: Comparison) -> Iterator[Text]:
    if not comparison.environment:
        yield Text("\nenvironment: the same")
    lines = [f"  {name}: {_value(before)} -> {_value(after)}" for name, before, after in comparison.environment]
    yield from _section("environment, before -> after:", lines)


def _section(heading: str, lines: Iterable[str]) -> Iterator[Text]:
    text = "\n".join(lines)
    if text:
        yield Text(f"\n{heading}\n{text}")


def _value(value: object) -> str:
    return "(not recorded)" if value is None else str(value) or "(none)"


def _figure(value: float) -> str:
    """Return a number with four significant digits, enough for 1 %, and no exponent: ``0.3000``, ``12350``."""
    return f"{Decimal(f'{value:.3e}'):f}"


def _ratio(value: float) -> str:
    """Return a ratio to a thousandth, one below a tenth with four significant digits."""
    return f"{value:.3f}" if value >= 0.1 else _figure(value)


def _interval(judgement: Judgement) -> str:
    """Return the ends of the interval; a dash where there were too few samples for one."""
    return "-" if math.isinf(judgement.high) else f"{_ratio(judgement.low)} to {_ratio(judgement.high)}"
