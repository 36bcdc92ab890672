"""Tables of the page: what each cell shows, and what it is sorted by."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from bench.reporting.formats import NOTHING, cell


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: What it shows.
        number: The number behind it in full precision, which the column is sorted by; None for words.
    """

    text: str
    number: str | None = None


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table.

    Attributes:
        title: Its caption.
        heads: The names of the columns.
        rows: A cell for each head.
        notes: What stands below it.
        unfolded: Whether it is open when the page opens.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    unfolded: bool = False


def of_texts(
    heads: Sequence[str],
    rows: Iterable[Iterable[str]],
    *,
    title: str,
    unfolded: bool = False,
    notes: Sequence[str] = (),
) -> Grid:
    """Return a table of words."""
    cells = tuple(tuple(Cell(text=text) for text in row) for row in rows)
    return Grid(title=title, heads=tuple(heads), rows=cells, unfolded=unfolded, notes=tuple(notes))


def of_frame(frame: pd.DataFrame, *, title: str, notes: Sequence[str] = (), unfolded: bool = False) -> Grid:
    """Return a table of numbers with three significant digits, and of words; a dash where there is nothing."""
    columns = [_column(frame.iloc[:, place].tolist()) for place in range(frame.shape[1])]
    heads = tuple(str(column) for column in frame.columns)
    rows = tuple(zip(*columns, strict=True))
    return Grid(title=title, heads=heads, rows=rows, notes=tuple(notes), unfolded=unfolded)


def _column(values: Sequence[object]) -> list[Cell]:
    numbers = [value for value in values if isinstance(value, float) and not math.isnan(value)]
    return [_cell(value, whole=all(number.is_integer() for number in numbers)) for value in values]


def _cell(value: object, *, whole: bool) -> Cell:
    """Return a cell; in a column of whole numbers, a float has no decimals."""
    if value is None or value is pd.NA or value == "" or (isinstance(value, float) and math.isnan(value)):
        return Cell(text=NOTHING)
    if isinstance(value, bool):
        return Cell(text="yes" if value else "no")
    if isinstance(value, (int, float)):
        return Cell(text=f"{value:.0f}" if whole else cell(value), number=repr(value))
    return Cell(text=str(value))
