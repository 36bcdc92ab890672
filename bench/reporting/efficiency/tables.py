"""Records as a data frame, as CSV and as a table for the terminal."""

import itertools
import re
import typing
from collections.abc import Callable, Iterable, Sequence
from decimal import ROUND_FLOOR, Context, Decimal
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bench.efficiency.records import COLUMNS, Record, Status
from bench.files import write_atomically
from bench.reporting.efficiency.overview import baseline_name, names_of, title_of

# Nullable integers: one missing count would otherwise turn the column into floats, and 20020000 into 20020000.0.
_DTYPES = {
    bool: "bool",
    bool | None: "boolean",
    int: "int64",
    int | None: "Int64",
    float: "float64",
    float | None: "float64",
    str: "str",
    Status: "str",
}

_NOT_MEASURED = "-"

# Where PyTorch's message on memory that ran out comes to the bytes, of a GPU and of a host.
_BYTES = re.compile(r"[.:,]?\s*(?:you )?tried to allocate", re.IGNORECASE)


def to_frame(records: Sequence[Record]) -> pd.DataFrame:
    """Return one row for each record, with the columns of ``records.COLUMNS`` in their order."""
    rows = [record.to_row() for record in records]
    types = typing.get_type_hints(Record).values()
    return pd.DataFrame(
        {
            column: pd.Series([row[column] for row in rows], dtype=_DTYPES[declared])
            for column, declared in zip(COLUMNS, types, strict=True)
        }
    )


def write_csv(records: Sequence[Record], path: Path) -> None:
    """Write one line for each record: floats in full precision, an empty field where there is no figure.

    Raises:
        OSError: The file cannot be written; what was there before is still there.
    """
    write_atomically(path, to_frame(records).to_csv(index=False, lineterminator="\n").encode())


def summary(records: Sequence[Record]) -> Table:
    """Return one row for each mixer/implementation: latency and memory at the shortest and longest length.

    A latency that is launch-bound has an asterisk. Where the GPU's own time is known, one more column shows it at the
    longest length; where the sweep has a baseline, two more compare with it there. A case without a figure shows its
    status, one that was not measured a dash.
    """
    cases = {(record.name, record.seconds): record for record in records}
    lengths = sorted({record.seconds for record in records})
    ends = list(dict.fromkeys((lengths[0], lengths[-1])))
    baseline = baseline_name(records)

    on_gpu = any(record.gpu_ms is not None for record in records)
    captions = []

    # Without padding, and with headers of several lines, this fits 80 columns; where there is room it spreads to 100.
    table = Table(title=Text(title_of(records)), box=SIMPLE_HEAD, show_edge=False, padding=0, min_width=100)
    table.add_column("mixer", no_wrap=True)
    table.add_column("causal", no_wrap=True)
    table.add_column("params\n(M)", no_wrap=True, justify="right")
    for seconds in ends:
        table.add_column(f"ms at\n{seconds:g} s", justify="right", overflow="ellipsis")
    if on_gpu:
        table.add_column(f"GPU ms\n{ends[-1]:g} s", no_wrap=True, justify="right")
        captions.append("GPU ms: the GPU alone, its launch queue kept full")
    for seconds in ends:
        table.add_column(f"GiB at\n{seconds:g} s", justify="right", overflow="ellipsis")
    for unit in ("ms", "GiB") if baseline else ():
        table.add_column(f"x {unit}", no_wrap=True, justify="right")
    if baseline:
        captions.append(f"x: at {ends[-1]:g} s, as a multiple of {baseline}'s")
    if any(record.launch_bound for record in records if record.seconds in ends):
        captions.append("*: launch-bound: the host takes longer to issue the call than the GPU to run it")
    table.caption = "\n".join(captions) or None

    for name in names_of(records):
        first = next(record for record in records if record.name == name)
        measured = [cases.get((name, seconds)) for seconds in ends]
        longest, reference = measured[-1], cases.get((baseline or "", ends[-1]))
        table.add_row(
            name,
            "yes" if first.causal else "no",
            _millions(first.parameters),
            *(_figure(case, _latency) + ("*" if case and case.launch_bound else "") for case in measured),
            *([_gpu_time(longest)] if on_gpu else []),
            *(_figure(case, _memory) for case in measured),
            *(_ratio(longest, reference, of) for of in (_latency, _memory) if baseline),
        )
    return table


def failures(records: Sequence[Record]) -> list[str]:
    """Return a line for each case without a figure; one for neighbouring lengths that failed in the same way.

    Where the memory ran out it also says what was asked for and how long a sequence fits, as far as that is known.
    """
    lines = []
    for name in names_of(records):
        cases = sorted((record for record in records if record.name == name), key=lambda record: record.seconds)
        for (status, reason, _), group in itertools.groupby(cases, key=_failure):
            if status != "ok":
                alike = list(group)
                lengths = _enumerate(f"{record.seconds:g}" for record in alike)
                lines.append(f"{name} at {lengths} s: {': '.join(filter(None, [status, reason]))}{_extent(alike)}")
    return lines


def _failure(record: Record) -> tuple[Status, str, float | None]:
    """Return what cases that failed in the same way share."""
    error = " ".join(record.error.split())
    # PyTorch goes on with the bytes, another number for every length, and with the state of the whole device.
    reason = _BYTES.split(error)[0] if record.status == "oom" else error
    return record.status, reason, record.longest_fitting_seconds


def _extent(alike: Sequence[Record]) -> str:
    """Return what cases that failed in the same way asked for, a range where they differ, and what would fit."""
    sizes = [record.oom_requested_gib for record in alike if record.oom_requested_gib is not None]
    bounds = dict.fromkeys(_significant(size) for size in (min(sizes), max(sizes))) if sizes else ()
    longest = alike[0].longest_fitting_seconds
    parts = [f"{' to '.join(bounds)} GiB asked for"] if bounds else []
    parts += [] if longest is None else [f"up to {_rounded_down(longest)} s fit"]
    return f" ({'; '.join(parts)})" if parts else ""


def _latency(record: Record) -> float | None:
    return record.latency_ms


def _gpu_time(record: Record | None) -> str:
    return _NOT_MEASURED if record is None or record.gpu_ms is None else _significant(record.gpu_ms)


def _memory(record: Record) -> float | None:
    return record.peak_memory_gib


def _figure(record: Record | None, of: Callable[[Record], float | None]) -> str:
    """Return the cell of one case: its figure, else its status."""
    if record is None:
        return _NOT_MEASURED
    value = of(record)
    if value is None:
        return _NOT_MEASURED if record.status == "ok" else record.status
    return _significant(value)


def _ratio(record: Record | None, reference: Record | None, of: Callable[[Record], float | None]) -> str:
    """Return a case's figure as a multiple of the baseline's; a dash where either has none."""
    value = of(record) if record else None
    unit = of(reference) if reference else None
    return _NOT_MEASURED if value is None or not unit else _significant(value / unit)


def _significant(value: float) -> str:
    """Return a number with three significant digits and no exponent: ``0.300``, ``44.8``, ``12300``."""
    return f"{Decimal(f'{value:.2e}'):f}"


def _rounded_down(value: float) -> str:
    """Return three significant digits of a number, never more than it: ``281``, ``2.53``, ``10``."""
    return f"{Context(prec=3, rounding=ROUND_FLOOR).create_decimal_from_float(value):g}"


def _millions(count: int | None) -> str:
    return _NOT_MEASURED if count is None else f"{count / 1e6:.2f}"


def _enumerate(items: Iterable[str]) -> str:
    """Return ``50``, ``50 and 75`` or ``50, 75 and 100``."""
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last
