"""What the terminal shows of sides: warnings, verdicts, memory, environment, and what fails a gate in CI."""

import itertools
import typing
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from bench.efficiency.noise import PROCESSES_DIFFER
from bench.reporting.efficiency.comparison import MEMORY_THRESHOLD, Comparison, listed, no_verdict
from bench.reporting.efficiency.process_verdict import ALPHA as ALPHA_OF_PROCESSES
from bench.reporting.efficiency.verdict import (
    ALPHA,
    RESOLUTION,
    THRESHOLD,
    Judgement,
    Verdict,
    medians_agree,
    slower_than,
)
from bench.reporting.formats import NOTHING, four_digits, interval, ratio
from mixers.support.errors import UserError

_MEANING = {
    "gpu": "of the GPU alone (gpu_ms)",
    "latency": "of single calls, each begun on an idle device (latency_ms)",
}

_STYLES: dict[Verdict, str] = {"faster": "green", "slower": "bold red", "no difference": "", "noisy": "yellow"}

_NOISE = {
    "gpu": f"by more than noise explains: {PROCESSES_DIFFER:.1%} between two processes, the GPU's clocks if they fell, "
    "and the gaps between kernels",
    "latency": "by more than processes of one side differ in that case, and by more than {repeats:.1%}, the middle of "
    "what they differ by in all cases here. Each process counts as one observation",
}

_NOISE_OF_REPEATS = ", and by more than repeats differ by. Each sweep counts as one observation"

_LEVEL = {"gpu": 1 - ALPHA, "latency": 1 - ALPHA_OF_PROCESSES}

_LEGEND = (
    "ratio: median after / before, with its {level:.0%} interval. faster, slower: the interval excludes 1, and "
    f"the ratio is off {{noise}}. no difference: the ratio is off by at most {THRESHOLD:.0%}, and a "
    f"difference of {RESOLUTION:.0%} is ruled out. noisy: everything else."
)


def slower(comparisons: Sequence[Comparison], fraction: float) -> list[str]:
    """Return a line for each case that is slower by more than a fraction, or that has lost its figure.

    Raises:
        UserError: No case of a side can be judged, so an empty list would look like good news.
    """
    several = len(comparisons) > 1
    return [
        f"{listed(comparison.after)}: {line}" if several else line
        for comparison in comparisons
        for line in _offending(comparison, fraction)
    ]


def _offending(comparison: Comparison, fraction: float) -> list[str]:
    if not comparison.judgements:
        sides = f"{listed(comparison.before)} and {listed(comparison.after)}"
        hint = "Only a GPU gives gpu_ms; --by latency compares single calls." if comparison.by == "gpu" else ""
        raise UserError(f"{sides}: {no_verdict(comparison.pairs)}", hint=hint)
    lost = [
        f"{comparison.name(each.case)} at {each.case.seconds:g} s: {each.reason}"
        for each in comparison.unpaired
        if each.lost
    ]
    return lost + [
        f"{comparison.name(pair.before.case)} at {pair.before.seconds:g} s: {ratio(pair.judgement.ratio)} "
        f"({_interval(pair.judgement)}), {four_digits(pair.judgement.median_before)} -> "
        f"{four_digits(pair.judgement.median_after)} ms"
        for pair in comparison.pairs
        if pair.judgement and slower_than(pair.judgement, fraction)
    ]


def tally(comparison: Comparison) -> str:
    """Return how often each verdict was given, how many cases got none, and how many medians agree."""
    judgements = comparison.judgements
    *counts, (_, missing) = _counts(comparison)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts)
    verdicts += f", {missing} without a verdict" if missing else ""
    agreeing = sum(map(medians_agree, judgements))
    return f"{verdicts}; {agreeing} of {len(judgements)} medians within {THRESHOLD:.0%}" if judgements else verdicts


def _counts(comparison: Comparison) -> list[tuple[str, int]]:
    """Return how often each verdict was given, and last how many cases got none."""
    counts = Counter(judgement.verdict for judgement in comparison.judgements)
    missing = len(comparison.unpaired) + len(comparison.pairs) - counts.total()
    return [*((verdict, counts[verdict]) for verdict in typing.get_args(Verdict)), ("without a verdict", missing)]


def render(*comparisons: Comparison) -> Group:
    """Return what the terminal shows of each comparison with one base, and how the verdicts of several add up."""
    return Group(*_separated(map(_one, comparisons)), *(_together(comparisons) if len(comparisons) > 1 else ()))


def _one(comparison: Comparison) -> Group:
    """Return warnings, verdicts, their tally, then cases without one, memory, environment."""
    sides = f"before: {_sweeps(comparison.before)}\nafter:  {_sweeps(comparison.after)}"
    parts: list[Text | Table] = [
        *(Text(f"WARNING: {warning}", style="bold yellow") for warning in comparison.warnings),
        Text(f"{sides}\ntime:   {_MEANING[comparison.by]}"),
        *_times(comparison),
        Text(tally(comparison), style="bold"),
        *_without_verdict(comparison),
        *_memory(comparison),
        *_environment(comparison),
    ]
    return Group(*parts)


def _separated(groups: Iterable[Group]) -> Iterator[Group | Text]:
    for number, group in enumerate(groups):
        if number:
            yield Text("")
        yield group


def _together(comparisons: Sequence[Comparison]) -> Iterator[Table | Text]:
    yield Text(f"\nall sides, compared with {_sweeps(comparisons[0].before)}:")
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("after", overflow="fold")
    for verdict, _ in _counts(comparisons[0]):
        table.add_column(verdict.replace(" ", "\n", 1), no_wrap=True, justify="right")
    for comparison in comparisons:
        table.add_row(listed(comparison.after), *(str(count) for _, count in _counts(comparison)))
    yield table
    judged = sum(len(comparison.judgements) for comparison in comparisons)
    yield Text(
        f"Each of the {judged} verdicts has the level of its interval by itself, so more sides have more false ones. "
        "All sides share the base: if it is off, all are.",
        style="dim",
    )


def _sweeps(folders: Sequence[Path]) -> str:
    return listed(folders) + (f" ({len(folders)} sweeps, pooled)" if len(folders) > 1 else "")


def _times(comparison: Comparison) -> Iterator[Table | Text]:
    table = _table("before\nms", "after\nms", "ratio", "interval")
    table.add_column("verdict", no_wrap=True)
    for pair in comparison.pairs:
        if pair.judgement:
            table.add_row(
                comparison.name(pair.before.case),
                f"{pair.before.seconds:g}",
                four_digits(pair.judgement.median_before),
                four_digits(pair.judgement.median_after),
                ratio(pair.judgement.ratio),
                _interval(pair.judgement),
                Text(pair.judgement.verdict, style=_STYLES[pair.judgement.verdict]),
            )
    if table.row_count:
        yield table
        noise = _NOISE[comparison.by].format(repeats=max(comparison.repeats or 0.0, THRESHOLD))
        if comparison.by == "gpu" and len(comparison.before) + len(comparison.after) > 2:
            noise += _NOISE_OF_REPEATS
        yield Text(_LEGEND.format(level=_LEVEL[comparison.by], noise=noise), style="dim")


def _table(*numbers: str) -> Table:
    """Return an empty table of cases. It fits 80 columns, and a long name folds before a number does."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("case", overflow="fold")
    for header in ("seconds", *numbers):
        table.add_column(header, no_wrap=True, justify="right")
    return table


def _without_verdict(comparison: Comparison) -> Iterator[Text]:
    cases = [
        *((each.case, each.reason) for each in comparison.unpaired),
        *((pair.before.case, pair.refusal) for pair in comparison.pairs if not pair.judgement),
    ]
    lines = [
        f"  {name} at {', '.join(f'{case.seconds:g}' for case, _ in alike)} s: {reason}"
        for (name, reason), alike in itertools.groupby(cases, key=lambda each: (comparison.name(each[0]), each[1]))
    ]
    yield from _section("without a verdict:", lines)


def _memory(comparison: Comparison) -> Iterator[Table | Text]:
    differing = [pair for pair in comparison.pairs if pair.memory_differs]
    if comparison.pairs and not differing:
        yield Text(f"\npeak memory: within {MEMORY_THRESHOLD:.0%} in every case with a figure on both sides")
    if not differing:
        return
    yield Text(f"\npeak memory that differs by more than {MEMORY_THRESHOLD:.0%}:")
    table = _table("before\nGiB", "after\nGiB", "ratio")
    for pair in differing:
        before, after = pair.before.peak_memory_gib, pair.after.peak_memory_gib
        change = ratio(after / before) if before and after is not None else NOTHING
        figures = (four_digits(before), four_digits(after), change)
        table.add_row(comparison.name(pair.before.case), f"{pair.before.seconds:g}", *figures)
    yield table


def _environment(comparison: Comparison) -> Iterator[Text]:
    if not comparison.environment:
        yield Text("\nenvironment: the same")
    lines = [f"  {each.name}: {_value(each.before)} -> {_value(each.after)}" for each in comparison.environment]
    yield from _section("environment, before -> after:", lines)


def _section(heading: str, lines: Iterable[str]) -> Iterator[Text]:
    text = "\n".join(lines)
    if text:
        yield Text(f"\n{heading}\n{text}")


def _value(value: object) -> str:
    return "(not recorded)" if value is None else str(value) or "(none)"


def _interval(judgement: Judgement) -> str:
    return interval(judgement.low, judgement.high, ratio)
