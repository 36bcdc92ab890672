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
from bench.reporting.efficiency.quantities import Quantity, latency, memory
from bench.reporting.formats import NOTHING, enumeration, millions, rounded_down, significant, span

# What PyTorch's out-of-memory messages, of a GPU and of a host, say before the number of bytes.
_BYTES = re.compile(r"[.:,]?\s*(?:you )?tried to allocate", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Which columns a summary has.

    Attributes:
        ends: The shortest and the longest length, or the only one.
        baseline: The mixer that others are compared with; None without one.
        on_gpu: Whether any GPU time is known.
        launch_bound: Whether any case at the ends is launch-bound.
    """

    ends: tuple[float, ...]
    baseline: str | None
    on_gpu: bool
    launch_bound: bool


def summary(records: Sequence[Record]) -> Table:
    """Return one row for each mixer/implementation: latency and memory at the shortest and longest length.

    An asterisk marks a latency that is launch-bound. If any GPU time is known, one more column shows it at the longest
    length. If the sweep has a baseline, two more columns compare with it there. A case without a figure shows its
    status; a case that was not measured shows a dash.
    """
    cases = {(record.name, record.seconds): record for record in records}
    lengths = sorted({record.seconds for record in records})
    ends = tuple(dict.fromkeys((lengths[0], lengths[-1])))
    layout = _Layout(
        ends=ends,
        baseline=baseline_name(records),
        on_gpu=any(record.gpu_ms is not None for record in records),
        launch_bound=any(record.launch_bound for record in records if record.seconds in ends),
    )
    table = _empty_table(layout, title=title_of(records))
    for name in names_of(records):
        first = next(record for record in records if record.name == name)
        shown = [cases.get((name, seconds)) for seconds in ends]
        longest, reference = shown[-1], cases.get((layout.baseline or "", ends[-1]))
        table.add_row(
            name,
            "yes" if first.causal else "no",
            millions(first.parameters),
            *(_figure(case, latency) + ("*" if case and case.launch_bound else "") for case in shown),
            *([significant(longest.gpu_ms if longest else None)] if layout.on_gpu else []),
            *(_figure(case, memory) for case in shown),
            *(_multiple(longest, reference, quantity) for quantity in (latency, memory) if layout.baseline),
        )
    return table


def _empty_table(layout: _Layout, *, title: str) -> Table:
    """Return the table without rows. With headers of several lines and no padding it fits 80 columns."""
    longest, captions = layout.ends[-1], []
    table = Table(title=Text(title), box=SIMPLE_HEAD, show_edge=False, padding=0, min_width=100)
    table.add_column("mixer", no_wrap=True)
    table.add_column("causal", no_wrap=True)
    table.add_column("params\n(M)", no_wrap=True, justify="right")
    for seconds in layout.ends:
        table.add_column(f"ms at\n{seconds:g} s", justify="right", overflow="ellipsis")
    if layout.on_gpu:
        table.add_column(f"GPU ms\n{longest:g} s", no_wrap=True, justify="right")
        captions.append("GPU ms: the GPU alone, its launch queue kept full")
    for seconds in layout.ends:
        table.add_column(f"GiB at\n{seconds:g} s", justify="right", overflow="ellipsis")
    if layout.baseline:
        for unit in ("ms", "GiB"):
            table.add_column(f"x {unit}", no_wrap=True, justify="right")
        captions.append(f"x: at {longest:g} s, as a multiple of {layout.baseline}'s")
    if layout.launch_bound:
        captions.append("*: launch-bound: the host takes longer to issue the call than the GPU to run it")
    table.caption = "\n".join(captions) or None
    return table


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
    parts += [] if longest is None else [f"up to {rounded_down(longest)} s fit"]
    return f" ({'; '.join(parts)})" if parts else ""
