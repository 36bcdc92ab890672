"""Records as a data frame, as CSV and as a table for the terminal."""

import itertools
import typing
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bench.efficiency.records import COLUMNS, Record, Status
from bench.reporting.atomic import write_atomically
from bench.reporting.overview import baseline_name, names_of, title_of

# Nullable integers: one missing count would otherwise turn the column into floats, and 20020000 into 20020000.0.
_DTYPES = {
    bool: "bool",
    int: "int64",
    int | None: "Int64",
    float: "float64",
    float | None: "float64",
    str: "str",
    Status: "str",
}

_NOT_MEASURED = "-"


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

    Where the sweep has a baseline, two more columns compare with it at the longest length. A case without a figure
    shows its status, one that was not measured a dash.
    """
    cases = {(record.name, record.seconds): record for record in records}
    lengths = sorted({record.seconds for record in records})
    ends = list(dict.fromkeys((lengths[0], lengths[-1])))
    baseline = baseline_name(records)

    # Without padding, and with headers of several lines, this fits 80 columns; where there is room it spreads to 100.
    table = Table(title=Text(title_of(records)), box=SIMPLE_HEAD, show_edge=False, padding=0, min_width=100)
    table.add_column("mixer", no_wrap=True)
    table.add_column("causal", no_wrap=True)
    table.add_column("params\n(M)", no_wrap=True, justify="right")
    for header in [f"{unit} at\n{seconds:g} s" for unit in ("ms", "GiB") for seconds in ends]:
        table.add_column(header, justify="right", overflow="ellipsis")
    for unit in ("ms", "GiB") if baseline else ():
        table.add_column(f"x {unit}", no_wrap=True, justify="right")
    if baseline:
        table.caption = f"x: at {ends[-1]:g} s, as a multiple of {baseline}'s"

    for name in names_of(records):
        first = next(record for record in records if record.name == name)
        figures = [_figure(cases.get((name, seconds)), of) for of in (_latency, _memory) for seconds in ends]
        longest, reference = cases.get((name, ends[-1])), cases.get((baseline or "", ends[-1]))
        ratios = [_ratio(longest, reference, of) for of in (_latency, _memory) if baseline]
        table.add_row(name, "yes" if first.causal else "no", _millions(first.parameters), *figures, *ratios)
    return table


def failures(records: Sequence[Record]) -> list[str]:
    """Return a line for each case without a figure; one for neighbouring lengths that failed in the same way."""
    lines = []
    for name in names_of(records):
        cases = sorted((record for record in records if record.name == name), key=lambda record: record.seconds)
        for (status, error), alike in itertools.groupby(cases, key=lambda record: (record.status, record.error)):
            if status != "ok":
                reason = ": ".join(filter(None, [status, " ".join(error.split())]))
                lines.append(f"{name} at {_enumerate(f'{record.seconds:g}' for record in alike)} s: {reason}")
    return lines


def _latency(record: Record) -> float | None:
    return record.latency_ms


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


def _millions(count: int | None) -> str:
    return _NOT_MEASURED if count is None else f"{count / 1e6:.2f}"


def _enumerate(items: Iterable[str]) -> str:
    """Return ``50``, ``50 and 75`` or ``50, 75 and 100``."""
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last
