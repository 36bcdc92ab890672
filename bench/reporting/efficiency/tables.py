"""The tables of a report: each over all settings, in three forms, with notes on what is not concluded."""

from collections.abc import Sequence
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


def write_tables(records: Sequence[Record], folder: Path) -> None:
    """Write each table over all settings; with several settings, a first column names them.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    folder.mkdir(exist_ok=True)
    groups = by_setting(records)
    labels = distinguish(groups)
    for name, make in _TABLES.items():
        parts = [make(alike) for alike in groups.values()]
        if len(groups) > 1:
            for part, label in zip(parts, labels.values(), strict=True):
                part.insert(0, "setting", label)
        whole = pd.concat([part for part in parts if len(part.columns) > 1] or parts, ignore_index=True)
        notes = [note for setting, alike in groups.items() for note in _notes(name, alike, labels[setting])]
        write_table(whole, folder / name, notes=list(dict.fromkeys(notes)))


def _notes(table: str, records: Sequence[Record], label: str) -> list[str]:
    """Return what a table of one setting leaves out, and why."""
    left = left_out(records) if table in ("choices", "crossings") else ""
    refuses = table == "crossings" or (table in ("choices", "growth") and not conclusive_time(records))
    prefix = f"{label}: " if label else ""
    return [*([f"{prefix}{left}"] if left else []), *filter(None, [refusal(records) if refuses else ""])]
