"""The tables of a report: each over all settings, in three forms, with notes on what is not concluded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.efficiency.records import Record
from bench.reporting.efficiency import analysis, end_to_end
from bench.reporting.efficiency.choices import left_out
from bench.reporting.efficiency.crossings import crossings
from bench.reporting.efficiency.mechanisms import mechanisms
from bench.reporting.efficiency.overview import by_setting, distinguish, mixers_of, other_parts_of
from bench.reporting.efficiency.quantities import conclusive_time, refusal
from bench.reporting.efficiency.whole import unmatched
from bench.reporting.table_files import write_table

_OF_MIXERS: dict[str, Callable[[Sequence[Record]], pd.DataFrame]] = {
    "costs": analysis.costs,
    "growth": analysis.growth,
    "crossings": crossings,
    "floors": analysis.floors,
    "mechanisms": mechanisms,
}

# These also take the records of encoders and heads.
_OF_WHOLE_SYSTEMS: dict[str, Callable[[Sequence[Record], Sequence[Record]], pd.DataFrame]] = {
    "capacities": end_to_end.capacities,
    "choices": end_to_end.choices,
    "end-to-end": end_to_end.end_to_end,
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table over all settings of mixers; with several, a first column names them. Notes say what it leaves out."""

    name: str
    frame: pd.DataFrame
    notes: tuple[str, ...]


def tables(records: Sequence[Record]) -> Iterator[Table]:
    """Yield each table of a report. One without rows has only its notes."""
    mixers, others = mixers_of(records), other_parts_of(records)
    groups = by_setting(mixers)
    labels = distinguish(groups)
    for name in (*_OF_MIXERS, *_OF_WHOLE_SYSTEMS):
        parts = [_table(name, alike, others) for alike in groups.values()]
        if len(groups) > 1:
            for part, label in zip(parts, labels.values(), strict=True):
                part.insert(0, "setting", label)
        whole = pd.concat([part for part in parts if len(part.columns) > 1] or parts, ignore_index=True)
        notes = [note for setting, alike in groups.items() for note in _notes(name, alike, others, labels[setting])]
        notes += unmatched(mixers, others) if name == "end-to-end" else []
        yield Table(name=name, frame=whole, notes=tuple(dict.fromkeys(notes)))


def write_tables(records: Sequence[Record], folder: Path) -> None:
    """Write each table.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    folder.mkdir(exist_ok=True)
    for table in tables(records):
        write_table(table.frame, folder / table.name, notes=table.notes)


def _table(name: str, records: Sequence[Record], others: Sequence[Record]) -> pd.DataFrame:
    return _OF_MIXERS[name](records) if name in _OF_MIXERS else _OF_WHOLE_SYSTEMS[name](records, others)


def _notes(table: str, records: Sequence[Record], others: Sequence[Record], label: str) -> list[str]:
    """Return what a table of one setting leaves out, and why."""
    if table == "end-to-end":
        return end_to_end.notes(records, others)
    left = left_out(records) if table in ("choices", "crossings") else ""
    refuses = table == "crossings" or (table in ("choices", "growth") and not conclusive_time(records))
    prefix = f"{label}: " if label else ""
    return [*([f"{prefix}{left}"] if left else []), *filter(None, [refusal(records) if refuses else ""])]
