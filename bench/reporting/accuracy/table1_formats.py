"""Table 1 as CSV, Markdown and LaTeX, and on the terminal. Needs no torch."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from bench.accuracy.evaluation import intervals
from bench.files import write_atomically
from bench.reporting.accuracy import published
from bench.reporting.accuracy.evaluations import Row
from bench.reporting.accuracy.table1 import Cell, Table1, read
from bench.reporting.formats import NOTHING, interval, millions, span, two_decimals
from bench.reporting.table_files import write_table
from mixers.support.errors import UserError

TABLE_FILES = "table1"
PAIRS_FILES = "pairs"

DEMONSTRATION = "DEMONSTRATION: a synthetic corpus and random encoders; these figures say nothing about the mixers."

_SPLITS_IN_A_ROW = 3  # as many as fit 80 columns


def write(runs: Sequence[Path], output: Path) -> Table1:
    """Write the table of some runs, and a second one of all pairs of mixers, as CSV, Markdown and LaTeX (booktabs).

    Args:
        runs: Folders that `sbench train` made, evaluated.
        output: A folder; made if needed.

    Returns:
        The table.

    Raises:
        UserError: `read` cannot make the table, or a file cannot be written.
    """
    table = read(runs)
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_atomically(output / f"{TABLE_FILES}.csv", _csv(table).encode())
        write_atomically(output / f"{TABLE_FILES}.md", _markdown(table).encode())
        write_atomically(output / f"{TABLE_FILES}.tex", _latex(table).encode())
        if table.pairs:
            write_table(_pairs(table), output / PAIRS_FILES)
    except OSError as error:
        raise UserError(
            f"the table cannot be written into {output}: {error.strerror}", hint="Give another --output."
        ) from None
    return table


def render(table: Table1) -> Group:
    """Return what the terminal shows: a block for each encoder measured, the pairs that differ, and the notes."""
    parts: list[Text | Table] = [Text(DEMONSTRATION, style="bold yellow")] if table.demo else []
    measured = {column: splits for column in table.columns if (splits := _measured(table, column))}
    for column, splits in measured.items():
        for first in range(0, len(splits), _SPLITS_IN_A_ROW):
            parts += [_block(table, column, splits[first : first + _SPLITS_IN_A_ROW]), Text()]
    missing = [column for column in table.columns if column not in measured]
    parts += [Text(f"not measured: {', '.join(missing)}")] if missing else []
    parts += [Text(line) for line in _differing(table)]
    parts += [Text(note, style="dim") for note in table.notes]
    return Group(*parts)


def _csv(table: Table1) -> str:
    """Return a row for each cell, in full precision; empty fields where there is no figure."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        (
            *("mixer", "direction", "parameters", "encoder", "split", "paper_percent", "macro_f_percent"),
            *("spread_percent", "seeds", "low_percent", "high_percent", "difference_points", "preset", "demonstration"),
        )
    )
    for (row, column, split), cell in table.cells.items():
        parameters = span(table.parameters[row.mixer], str) if table.parameters[row.mixer] else ""
        figures = (cell.paper, cell.ours, cell.spread, cell.seeds, cell.low, cell.high, cell.difference)
        writer.writerow((*row, parameters, column, split, *figures, table.preset, table.demo))
    return buffer.getvalue()


def _markdown(table: Table1) -> str:
    columns = [f"{column} {_split(split)}" for column in table.columns for split in table.splits]
    lines = [line for row in table.rows for line in _lines(table, row)]
    alignment = ("left", "right", "left", *("right" for _ in columns))
    grid = tabulate(
        lines,
        headers=["Mechanism", "Parameters (M)", "", *columns],
        tablefmt="github",
        disable_numparse=True,
        colalign=alignment,
    )
    demo = f"**{DEMONSTRATION}**\n\n" if table.demo else ""
    return demo + grid + "\n\n" + "".join(f"- {note}\n" for note in table.notes)


def _latex(table: Table1) -> str:
    """Return a tabular with booktabs rules, two header lines, and the notes below.

    Pandas' Styler has neither partial rules under the headers nor rows of notes, so this writes the lines itself.
    """
    splits = len(table.splits)
    width = 3 + splits * len(table.columns)
    heads = [f"\\multicolumn{{{splits}}}{{c}}{{{_escape(column)}}}" for column in table.columns]
    rules = [f"\\cmidrule(lr){{{first}-{first + splits - 1}}}" for first in range(4, width, splits)]
    names = [_escape(_split(split)) for split in table.splits] * len(table.columns)
    blocks = ["\n".join(f"{' & '.join(map(_escape, line))} \\\\" for line in _lines(table, row)) for row in table.rows]
    notes = [*([DEMONSTRATION] if table.demo else []), *table.notes]
    return "\n".join(
        [
            f"\\begin{{tabular}}{{lrl*{{{width - 3}}}{{r}}}}",
            "\\toprule",
            f" & & & {' & '.join(heads)} \\\\",
            "".join(rules),
            f"Mechanism & Parameters (M) & & {' & '.join(names)} \\\\",
            "\\midrule",
            "\n\\addlinespace\n".join(blocks),
            "\\bottomrule",
            *(f"\\multicolumn{{{width}}}{{l}}{{{_escape(note)}}} \\\\" for note in notes),
            "\\end{tabular}\n",
        ]
    )


def _lines(table: Table1, row: Row) -> list[list[str]]:
    """Return the lines of a row in Markdown and LaTeX: one for each kind of figure, two if it was not measured."""
    cells = [table.cells[row, column, split] for column in table.columns for split in table.splits]
    parameters = span(table.parameters[row.mixer], millions)
    lines = [
        [_in_words(table, row), parameters, "paper", *(two_decimals(cell.paper) for cell in cells)],
        ["", "", "ours", *(two_decimals(cell.ours) for cell in cells)],
    ]
    if any(cell.seeds for cell in cells):
        lines += [
            ["", "", "spread", *(_spread(cell) for cell in cells)],
            ["", "", f"{1 - intervals.ALPHA:.0%}", *(_interval(cell) for cell in cells)],
            ["", "", "difference", *(_signed(cell.difference) for cell in cells)],
        ]
    return lines


def _block(table: Table1, column: str, splits: Sequence[str]) -> Table:
    """Return one encoder's column for the terminal, narrow enough for 80 characters."""
    block = Table(title=Text(column), box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    block.add_column("mixer", no_wrap=True)
    block.add_column("params\n(M)", justify="right", no_wrap=True)
    for split in splits:
        block.add_column(f"{_split(split)}\n95 % interval\npaper (difference)", justify="right", no_wrap=True)
    for row in table.rows:
        cells = [table.cells[row, column, split] for split in splits]
        name = "\n".join(_name(table, row))
        block.add_row(name, span(table.parameters[row.mixer], millions), *map(_stacked, cells))
    return block


def _stacked(cell: Cell) -> str:
    """Return a cell for the terminal, with a line for each kind of figure."""
    lines = [NOTHING] if cell.ours is None else [f"{two_decimals(cell.ours)} {_spread(cell)}", _interval(cell)]
    if cell.paper is not None:
        difference = "" if cell.difference is None else f" ({_signed(cell.difference)})"
        lines.append(f"{two_decimals(cell.paper)}{difference}")
    return "\n".join(lines)


def _differing(table: Table1) -> Iterator[str]:
    """Yield how many pairs of mixers differ, then each of them."""
    if not table.pairs:
        return
    differing = [pair for pair in table.pairs if pair.comparison.verdict != "no difference told"]
    yield (
        f"{len(differing)} of {len(table.pairs)} pairs of mixers differ, each tested at {intervals.ALPHA:.0%}: if none "
        f"differed, up to {intervals.ALPHA * len(table.pairs):.1f} would be found by chance"
    )
    for pair in differing:
        points = pair.comparison.difference
        yield (
            f"  {pair.column}, {_split(pair.split)}: {_in_words(table, pair.first)} {pair.comparison.verdict} than "
            f"{_in_words(table, pair.second)} by {two_decimals(100 * abs(points.value))} points "
            f"({interval(100 * points.low, 100 * points.high, _signed)}), {_seeds(pair.seeds)}"
        )


def _pairs(table: Table1) -> pd.DataFrame:
    """Return a row for each pair, with the interval over speakers of the difference in points."""
    rows = [
        {
            "encoder": pair.column,
            "split": pair.split,
            "mixer": pair.first.mixer,
            "direction": pair.first.direction,
            "other": pair.second.mixer,
            "its direction": pair.second.direction,
            "seeds": pair.seeds,
            "difference (points)": 100 * pair.comparison.difference.value,
            "low": 100 * pair.comparison.difference.low,
            "high": 100 * pair.comparison.difference.high,
            "p (speakers)": pair.comparison.p_speakers,
            "p (seeds)": pair.comparison.p_seeds,
            "mixer is": pair.comparison.verdict,
            **({"note": DEMONSTRATION} if table.demo else {}),
        }
        for pair in table.pairs
    ]
    return pd.DataFrame(rows)


def _measured(table: Table1, column: str) -> list[str]:
    """Return the splits that any mixer was measured on with an encoder."""
    return [split for split in table.splits if any(table.cells[row, column, split].seeds for row in table.rows)]


def _name(table: Table1, row: Row) -> list[str]:
    """Return the mixer of a row, and its direction where the directions of the table differ."""
    name = published.MIXERS.get(row.mixer, row.mixer)
    return [name] if row.direction is None or len(table.directions) == 1 else [name, row.direction]


def _in_words(table: Table1, row: Row) -> str:
    """Return ``KDA``, or ``KDA (alternating)`` where the directions of the table differ."""
    mixer, *direction = _name(table, row)
    return f"{mixer} ({direction[0]})" if direction else mixer


def _split(split: str) -> str:
    return published.SPLITS.get(split, split)


def _signed(value: float | None) -> str:
    return two_decimals(value, signed=True)


def _spread(cell: Cell) -> str:
    """Return the spread and its number of seeds, ``± 0.41 (3)``; for a single seed ``(1 seed)``."""
    if cell.spread is None:
        return f"({_seeds(cell.seeds)})" if cell.seeds else NOTHING
    return f"± {cell.spread:.2f} ({cell.seeds})"


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _interval(cell: Cell) -> str:
    """Return the ends of the interval; a dash if there were too few speakers."""
    return NOTHING if (cell.low, cell.high) == (0, 100) else interval(cell.low, cell.high, two_decimals)


def _escape(text: str) -> str:
    """Return text with LaTeX's special characters escaped, and with a minus sign before numbers."""
    escaped = re.sub(r"[&%$#_{}~^\\]", lambda found: _LATEX.get(found[0], f"\\{found[0]}"), text)
    return re.sub(r"^([+-])(?=\d)", r"$\1$", escaped).replace("±", r"$\pm$")


_LATEX = {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
