"""The machine and the versions behind a page."""

from collections.abc import Sequence
from pathlib import Path

from bench.efficiency.records import Record
from bench.efficiency.store import read_header
from bench.reporting.formats import span
from bench.reporting.page.grids import Grid, of_texts
from mixers.support.errors import UserError

_OF_RECORDS = ("device", "torch", "triton", "fla", "memory_source", "input", "seed")


def machine(records: Sequence[Record], folders: Sequence[Path]) -> Grid:
    """Return the facts that records know, and those in the headers of their sweeps, where there are any.

    A fact that differs between sweeps has all its values, each with its folder.
    """
    began = sorted(record.started_at.replace("T", " ") for record in records)
    facts = {
        "sweeps": "; ".join(map(str, folders)),
        "cases": str(len(records)),
        "measured from": began[0],
        "measured until": began[-1],
        "processes of single calls": span([record.processes for record in records], str),
    }
    for name in _OF_RECORDS:
        facts[name] = "; ".join(dict.fromkeys(str(getattr(record, name)) for record in records))
    facts |= _of_headers(folders)
    rows = [(name.replace("_", " "), value) for name, value in facts.items()]
    return of_texts(("fact", "value"), rows, title="All facts", unfolded=True)


def _of_headers(folders: Sequence[Path]) -> dict[str, str]:
    found: dict[str, dict[Path, str]] = {}
    for folder in folders:
        try:
            environment = read_header(folder).environment
        except UserError:
            continue  # a report needs no plan
        for name, value in environment.items():
            if value not in (None, ""):
                found.setdefault(name, {})[folder] = str(value)
    return {name: _joined(values) for name, values in found.items()}


def _joined(values: dict[Path, str]) -> str:
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return "; ".join(f"{folder}: {value}" for folder, value in values.items())
