"""How the accuracy table writes its names and figures, on the terminal and in files."""

import re
from collections.abc import Iterable

from bench.efficiency.records import Record
from bench.reporting import published
from bench.reporting.accuracy.evaluations import NO_DIRECTION, Row
from bench.reporting.accuracy.table import AccuracyTable, Cell
from bench.reporting.formats import NOTHING, interval, significant, two_decimals

DEMONSTRATION = "DEMONSTRATION: a synthetic corpus and random encoders; these figures say nothing about the mixers."

_LENGTH = re.compile(r"-[0-9.]+s$")

_LATEX = {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}


def mixer_name(row: Row) -> str:
    """Return the paper's name of a mixer: ``KDA``."""
    return published.MIXERS.get(row.mixer, row.mixer)


def row_name(table: AccuracyTable, row: Row) -> str:
    """Return ``KDA``, or ``KDA (alternating)`` where the directions of the table differ."""
    one = len(table.directions) <= 1 or row.direction == NO_DIRECTION
    return mixer_name(row) if one else f"{mixer_name(row)} ({row.direction})"


def split_name(split: str) -> str:
    """Return the paper's name of a split: ``T1``."""
    return published.SPLITS.get(split, split)


def of_one_kind(splits: Iterable[str]) -> dict[str, list[str]]:
    """Return splits by their names without a length at the end: ``test1-10s`` and ``test1-30s`` are of ``test1``."""
    found: dict[str, list[str]] = {}
    for split in splits:
        found.setdefault(_LENGTH.sub("", split), []).append(split)
    return found


def signed(value: float | None) -> str:
    """Return a difference in points: ``+0.41``."""
    return two_decimals(value, signed=True)


def spread(cell: Cell) -> str:
    """Return the spread and its number of seeds, ``± 0.41 (3)``; for a single seed ``(1 seed)``."""
    return f"({seeds(cell.seeds)})" if cell.spread is None else f"± {cell.spread:.2f} ({cell.seeds})"


def seeds(count: int) -> str:
    """Return ``1 seed``, ``3 seeds`` or ``no seeds``."""
    return "1 seed" if count == 1 else f"{count or 'no'} seeds"


def gpu_ms(record: Record | None) -> str:
    """Return a GPU time in ms, with ``~`` if it is less precise than asked for; a dash if there is none."""
    mark = "~" if record and record.converged is False else ""
    return f"{mark}{significant(record.gpu_ms if record else None)}"


def ends(low: float, high: float) -> str:
    """Return the ends of an interval in %; a dash if there were too few speakers."""
    return NOTHING if (low, high) == (0, 100) else interval(low, high, two_decimals)


def escape(text: str) -> str:
    """Return text with LaTeX's special characters escaped, and with a minus sign before numbers."""
    escaped = re.sub(r"[&%$#_{}~^\\]", lambda found: _LATEX.get(found[0], f"\\{found[0]}"), text)
    return re.sub(r"^([+-])(?=\d)", r"$\1$", escaped).replace("±", r"$\pm$")
