"""The tables of a report: each over all settings, in three forms, with notes on what is not concluded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.efficiency.records import Record
from bench.reporting.efficiency import analysis
from bench.reporting.efficiency.choices import choices, left_out
from bench.reporting.efficiency.crossings import crossings
from bench.reporting.efficiency.mechanisms import mechanisms
from bench.reporting.efficiency.overview import by_setting, distinguish
from bench.reporting.efficiency.quantities import conclusive_time, refusal
from bench.reporting.table_files import write_table

_TABLES = {
    "costs": analysis.costs,
    "growth": analysis.growth,
    "crossings": crossings,
    "floors": analysis.floors,
    "capacities": analysis.capacities,
    "choices": choices,
    "mechanisms": mechanisms,
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table over all settings; with several settings, a first column names them. Notes say what it leaves out."""

    name: str
    frame: pd.DataFrame
    notes: tuple[str, ...]


def tables(records: Sequence[Record]) -> Iterator[Table]:
    """Yield each table of a report. One without rows has only its notes."""
    groups = by_setting(records)
    labels = distinguish(groups)
    for name, make in _TABLES.items():
        parts = [make(alike) for alike in groups.values()]
        if len(groups) > 1:
            for part, label in zip(parts, labels.values(), strict=True):
                part.insert(0, "setting", label)
        whole = pd.concat([part for part in parts if len(part.columns) > 1] or parts, ignore_index=True)
        notes = [note for setting, alike in groups.items() for note in _notes(name, alike, labels[setting])]
        yield Table(name=name, frame=whole, notes=tuple(dict.fromkeys(notes)))


def write_tables(records: Sequence[Record], folder: Path) -> None:
    """Write each table.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    folder.mkdir(exist_ok=True)
    for table in tables(records):
        write_table(table.frame, folder / table.name, notes=table.notes)


def _notes(table: str, records: Sequence[Record], label: str) -> list[str]:
    """Return what a table of one setting leaves out, and why."""
    left = left_out(records) if table in ("choices", "crossings") else ""
    refuses = table == "crossings" or (table in ("choices", "growth") and not conclusive_time(records))
    prefix = f"{label}: " if label else ""
    return [*([f"{prefix}{left}"] if left else []), *filter(None, [refusal(records) if refuses else ""])]
