"""What the terminal shows after a sweep: figures at the shortest and longest length, and cases without a figure."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bench.efficiency.records import Record, Status
from bench.reporting.efficiency.overview import baseline_name, names_of, title_of
from bench.reporting.efficiency.quantities import (
    MEMORY,
    Quantity,
    conclusive_time,
    gpu_clocks,
    gpu_time,
    has_gpu_time,
    latency,
    memory,
    nonconforming,
    refusal,
    unchecked,
    unconverged,
)
from bench.reporting.formats import NOTHING, enumeration, millions, rounded_down, significant, span

# What PyTorch's out-of-memory messages, of a GPU and of a host, say before the number of bytes.
_BYTES = re.compile(r"[.:,]?\s*(?:you )?tried to allocate", re.IGNORECASE)


_LESS_PRECISE, _LAUNCH_BOUND, _DIFFERS = "~", "*", "!"


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Which columns a summary has.

    Attributes:
        ends: The shortest and the longest length, or the only one.
        baseline: The mixer that others are compared with; None without one.
        time: The time of both ends: the GPU's if any is known, otherwise that of single calls.
        multiples: What is compared with the baseline, by the unit: the conclusive time, and memory.
        captions: What stands below the table.
    """

    ends: tuple[float, ...]
    baseline: str | None
    time: Quantity
    multiples: dict[str, Quantity]
    captions: tuple[str, ...]

    @property
    def on_gpu(self) -> bool:
        """Whether single calls have a column of their own."""
        return self.time is gpu_time


def summary(records: Sequence[Record]) -> Table:
    """Return one row for each mixer/implementation: time and memory at the shortest and longest length.

    The time is the GPU's if any is known. Then one more column shows single calls at the shortest length, where the
    host matters most; an asterisk marks those that are launch-bound. Several processes show their spread. A tilde marks
    what did not converge, an exclamation mark what differs from its reference. If the sweep has a baseline, more
    columns compare with it at the longest length. A case without a figure shows its status; a case that was not
    measured shows a dash.
    """
    cases = {(record.name, record.seconds): record for record in records}
    layout = _layout(records)
    table = _empty_table(layout, title=title_of(records))
    for name in names_of(records):
        first = next(record for record in records if record.name == name)
        shown = [cases.get((name, seconds)) for seconds in layout.ends]
        longest, reference = shown[-1], cases.get((layout.baseline or "", layout.ends[-1]))
        differs = any(record.conforms is False for record in records if record.name == name)
        table.add_row(
            f"{name} {_DIFFERS}" if differs else name,
            "yes" if first.causal else "no",
            millions(first.parameters),
            *(_time(case, layout) for case in shown),
            *([_calls(shown[0])] if layout.on_gpu else []),
            *(_figure(case, memory) for case in shown),
            *(_multiple(longest, reference, quantity) for quantity in layout.multiples.values()),
        )
    return table


def _layout(records: Sequence[Record]) -> _Layout:
    lengths = sorted({record.seconds for record in records})
    on_gpu, baseline = has_gpu_time(records), baseline_name(records)
    bound = any(each.launch_bound for each in records if each.seconds == lengths[0] and each.latency_ms)
    time = {label: each for label, each in conclusive_time(records).items() if any(map(each, records))}
    compared = time | {MEMORY: memory}
    captions = []
    if on_gpu:
        captions.append(f"GPU ms: the GPU alone, {gpu_clocks(records)}")
        captions.append(f"call: ms of a single call from Python on this host, {_of_processes(records)}")
    elif any(each.latency_ms_low for each in records):
        captions.append(f"ms: {_of_processes(records)}")
    if baseline:
        clock = " by GPU time" if on_gpu else ""
        captions.append(f"x: at {lengths[-1]:g} s, as a multiple of {baseline}'s{clock}")
    if on_gpu and bound:
        captions.append(
            f"{_LAUNCH_BOUND}: launch-bound: the host takes longer to issue the call than the GPU to run it"
        )
    captions += [] if time else [refusal(records)]
    less_precise = unconverged(records)
    captions += [f"{_LESS_PRECISE}: {less_precise}"] if less_precise else []
    differing = nonconforming(records)
    captions += [f"{_DIFFERS}: {differing}"] if differing else []
    captions += [unchecked(records)]
    return _Layout(
        ends=tuple(dict.fromkeys((lengths[0], lengths[-1]))),
        baseline=baseline,
        time=gpu_time if on_gpu else latency,
        multiples={{MEMORY: "GiB"}.get(label, "ms"): each for label, each in compared.items()} if baseline else {},
        captions=tuple(filter(None, captions)),
    )


def _of_processes(records: Sequence[Record]) -> str:
    """Return what the figures of single calls are, by how many processes timed them."""
    counts = [each.processes for each in records if each.latency_ms]
    if max(counts, default=1) == 1:
        return "of one process"
    return f"median of {span(counts, str)} processes, and lowest-highest"


def _empty_table(layout: _Layout, *, title: str) -> Table:
    """Return the table without rows. With headers of several lines and no padding it fits 80 columns."""
    table = Table(title=Text(title), box=SIMPLE_HEAD, show_edge=False, padding=0, min_width=100)
    table.add_column("mixer", no_wrap=True)
    table.add_column("causal", no_wrap=True)
    table.add_column("params\n(M)", no_wrap=True, justify="right")
    for seconds in layout.ends:
        table.add_column(f"{'GPU ' if layout.on_gpu else ''}ms\n{seconds:g} s", justify="right", overflow="ellipsis")
    if layout.on_gpu:
        table.add_column(f"call\n{layout.ends[0]:g} s", justify="right")
    for seconds in layout.ends:
        table.add_column(f"GiB at\n{seconds:g} s", justify="right", overflow="ellipsis")
    for unit in layout.multiples:
        table.add_column(f"x {unit}", no_wrap=True, justify="right")
    table.caption = Text("\n".join(layout.captions), style="table.caption") if layout.captions else None
    return table


def _time(record: Record | None, layout: _Layout) -> str:
    """Return the cell of one case's time, with a mark if it did not converge."""
    mark = _LESS_PRECISE if record and record.converged is False and layout.time(record) else ""
    return mark + (_figure(record, gpu_time) if layout.on_gpu else f"{_figure(record, latency)}{_spread(record)}")


def _calls(record: Record | None) -> str:
    """Return the cell of one case's single calls, with their spread, and a mark if they are launch-bound."""
    mark = _LAUNCH_BOUND if record and record.launch_bound else ""
    return f"{_figure(record, latency)}{mark}{_spread(record)}"


def _spread(record: Record | None) -> str:
    """Return the lowest and the highest median of one process, short enough for a line of the cell."""
    if record is None or record.latency_ms_low is None or record.latency_ms_high is None:
        return ""
    low, high = (f"{ms:.1f}" if ms < 10 else f"{ms:.0f}" for ms in (record.latency_ms_low, record.latency_ms_high))
    return f" {low}-{high}"


def _figure(record: Record | None, quantity: Quantity) -> str:
    """Return the cell of one case: its figure, or the status if it failed."""
    if record is None:
        return NOTHING
    value = quantity(record)
    return record.status if value is None and record.status != "ok" else significant(value)


def _multiple(record: Record | None, reference: Record | None, quantity: Quantity) -> str:
    """Return a case's figure as a multiple of the baseline's; a dash where either has none."""
    value = quantity(record) if record else None
    unit = quantity(reference) if reference else None
    return NOTHING if value is None or not unit else significant(value / unit)


def failures(records: Sequence[Record]) -> list[str]:
    """Return a line for each case without a figure; one for neighbouring lengths that failed in the same way.

    Where memory ran out, the line also says how much was asked for and how long a sequence fits, if known.
    """
    lines = []
    for name in names_of(records):
        cases = sorted((record for record in records if record.name == name), key=lambda record: record.seconds)
        for (status, reason, _), group in itertools.groupby(cases, key=_failure):
            if status != "ok":
                alike = list(group)
                lengths = enumeration(f"{record.seconds:g}" for record in alike)
                lines.append(f"{name} at {lengths} s: {': '.join(filter(None, [status, reason]))}{_extent(alike)}")
    return lines


def _failure(record: Record) -> tuple[Status, str, float | None]:
    """Return what cases that failed in the same way share."""
    error = " ".join(record.error.split())
    # The rest of PyTorch's message differs for every length: the number of bytes and the state of the whole device.
    reason = _BYTES.split(error)[0] if record.status == "oom" else error
    return record.status, reason, record.longest_fitting_seconds


def _extent(alike: Sequence[Record]) -> str:
    """Return how much memory was asked for, a range where that differs, and the longest length that fits."""
    sizes = [record.oom_requested_gib for record in alike if record.oom_requested_gib is not None]
    longest = alike[0].longest_fitting_seconds
    parts = [f"{span(sizes, significant)} GiB asked for"] if sizes else []
    parts += [] if longest is None else [f"up to {rounded_down(longest)} s fit" if longest else "no length fits"]
    return f" ({'; '.join(parts)})" if parts else ""
