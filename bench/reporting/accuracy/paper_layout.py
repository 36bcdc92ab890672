"""The paper's Table 1 in its own layout, of the mixers, encoders and splits that both the paper and we have."""

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from tabulate import tabulate

from bench.accuracy.evaluation import intervals
from bench.reporting.accuracy.differing import differing
from bench.reporting.accuracy.evaluations import Row
from bench.reporting.accuracy.table import AccuracyTable, Cell, Key
from bench.reporting.accuracy.words import DEMONSTRATION, ends, escape, row_name, signed, split_name, spread
from bench.reporting.formats import NOTHING, millions, span, two_decimals

PAPER_FILES = "table1"

_Item = TypeVar("_Item", bound=Hashable)


def texts(table: AccuracyTable) -> dict[str, str | None]:
    """Return the table as Markdown and LaTeX by file name; None if no figure of the paper stands beside ours."""
    both = {key: cell for key, cell in table.cells.items() if cell.paper is not None}
    if not both:
        return {f"{PAPER_FILES}.md": None, f"{PAPER_FILES}.tex": None}
    rows = _kept(table.rows, (key.row for key in both))
    columns = _kept(table.columns, (key.column for key in both))
    splits = _kept(table.splits, (key.split for key in both))
    lines = [_lines(table, both, row, columns, splits) for row in rows]
    return {
        f"{PAPER_FILES}.md": _markdown(table, lines, columns, splits),
        f"{PAPER_FILES}.tex": _latex(table, lines, columns, splits),
    }


def with_notes(grid: str, table: AccuracyTable) -> str:
    """Return a Markdown table with the notes and the pairs that differ below."""
    demo = f"**{DEMONSTRATION}**\n\n" if table.demo else ""
    return demo + grid + "\n\n" + "".join(f"- {line.strip()}\n" for line in (*differing(table), *table.notes))


def _kept(items: Iterable[_Item], wanted: Iterable[_Item]) -> list[_Item]:
    chosen = set(wanted)
    return [item for item in items if item in chosen]


def _lines(
    table: AccuracyTable, cells: dict[Key, Cell], row: Row, columns: list[str], splits: list[str]
) -> list[list[str]]:
    """Return the lines of a row, one for each kind of figure."""
    own = [cells.get(Key(row, column, split)) for column in columns for split in splits]

    def line(figure: Callable[[Cell], str]) -> list[str]:
        return [NOTHING if cell is None else figure(cell) for cell in own]

    parameters = span(table.parameters_of(row.mixer, columns), millions)
    return [
        [row_name(table, row), parameters, "paper", *line(lambda cell: two_decimals(cell.paper))],
        ["", "", "ours", *line(lambda cell: two_decimals(cell.ours))],
        ["", "", "spread", *line(spread)],
        ["", "", f"{1 - intervals.ALPHA:.0%}", *line(lambda cell: ends(cell.low, cell.high))],
        ["", "", "difference", *line(lambda cell: signed(cell.difference))],
    ]


def _markdown(table: AccuracyTable, lines: list[list[list[str]]], columns: list[str], splits: list[str]) -> str:
    figures = [f"{column} {split_name(split)}" for column in columns for split in splits]
    grid = tabulate(
        [line for block in lines for line in block],
        headers=["Mechanism", "Parameters (M)", "", *figures],
        tablefmt="github",
        disable_numparse=True,
        colalign=("left", "right", "left", *("right" for _ in figures)),
    )
    return with_notes(grid, table)


def _latex(table: AccuracyTable, lines: list[list[list[str]]], columns: list[str], splits: list[str]) -> str:
    """Return a tabular with booktabs rules, two header lines, and the notes below.

    Pandas' Styler has neither partial rules under the headers nor rows of notes, so this writes the lines itself.
    """
    width = 3 + len(splits) * len(columns)
    heads = [f"\\multicolumn{{{len(splits)}}}{{c}}{{{escape(column)}}}" for column in columns]
    rules = [f"\\cmidrule(lr){{{first}-{first + len(splits) - 1}}}" for first in range(4, width + 1, len(splits))]
    names = [escape(split_name(split)) for split in splits] * len(columns)
    blocks = ["\n".join(f"{' & '.join(map(escape, line))} \\\\" for line in block) for block in lines]
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
            *(f"\\multicolumn{{{width}}}{{l}}{{{escape(note)}}} \\\\" for note in table.notes),
            "\\end{tabular}\n",
        ]
    )
