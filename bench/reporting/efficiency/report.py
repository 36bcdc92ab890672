"""What belongs beside records: the CSV and Figure 2 after a sweep, and on demand all that can be read from them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.efficiency.records import Record
from bench.efficiency.store import read_header, read_records
from bench.files import write_atomically
from bench.reporting.efficiency.figure2 import draw_figure2
from bench.reporting.efficiency.overview import by_setting, distinguish
from bench.reporting.efficiency.tables import write_csv
from mixers.support.errors import UserError

CSV_FILE = "results.csv"

CLAIMS_FILE = "claims.md"


def write_figures(folder: Path) -> list[Record]:
    """Write ``results.csv`` and the figures into a sweep's folder and return the records they were made from.

    Each setting has a figure of its own: ``figure2.png`` where there is one, else for instance
    ``figure2-float32-training.png``.

    Raises:
        UserError: The records cannot be read, or a file cannot be written.
    """
    records = _as_planned(folder)
    _write(folder, lambda: _figures(records, folder, formats=("png",)))
    return records


def write_report(folders: Sequence[Path], output: Path) -> list[Record]:
    """Write all that the records of some sweeps of one machine say: figures, tables and the verdicts on the paper.

    Args:
        folders: The sweeps'.
        output: Where it goes; made if need be.

    Returns:
        Their records.

    Raises:
        UserError: The records cannot be read, the sweeps are of several machines or inputs, a case is there twice, or
            a file cannot be written.
    """
    sweeps = [_as_planned(folder) for folder in folders]
    for field in ("device", "input"):
        _check_same(field, folders, sweeps)
    records = [record for of_folder in sweeps for record in of_folder]
    seen: set[object] = set()
    for record in records:
        if record.case in seen:
            what = f"{record.name} at {record.seconds:g} s, {record.setting.label}"
            hint = "Give one folder of each case, or `sbench compare` two."
            raise UserError(f"{what} was measured twice", hint=hint)
        seen.add(record.case)
    _write(output, lambda: _everything(records, output))
    return records


def _check_same(field: str, folders: Sequence[Path], sweeps: Sequence[Sequence[Record]]) -> None:
    """Refuse to put figures side by side whose ratios would be of machines or inputs."""
    found = [", ".join(sorted({str(getattr(record, field)) for record in records})) for records in sweeps]
    if len(set(found)) > 1:
        what = "; ".join(f"{folder}: {values}" for folder, values in zip(folders, found, strict=True))
        hint = "Report each for itself, or `sbench compare` two."
        raise UserError(f"the sweeps are not of the same {field}: {what}", hint=hint)


def _as_planned(folder: Path) -> list[Record]:
    """Read a sweep's records in the order of its plan: what was measured again, or after a pause, came later."""
    records = read_records(folder)
    try:
        planned = read_header(folder).cases
    except UserError:
        return records  # alone they are enough
    place = {case: number for number, case in enumerate(planned)}
    return sorted(records, key=lambda record: place.get(record.case, len(place)))


def _write(folder: Path, work: Callable[[], None]) -> None:
    try:
        work()
    except OSError as error:
        hint = "Is the disk full or the folder read-only? The records are safe; make the report again from them."
        raise UserError(f"the report cannot be written into {folder}: {error}", hint=hint) from None


def _figures(records: Sequence[Record], folder: Path, *, formats: Sequence[str]) -> None:
    write_csv(records, folder / CSV_FILE)
    groups = by_setting(records)
    stems = {setting: "-".join(["figure2", *label.split()]) for setting, label in distinguish(groups).items()}
    for setting, stem in stems.items():
        draw_figure2(groups[setting], folder / stem, formats=formats)
    if len(stems) > 1:  # what was drawn while there was one shows a part of the records
        for suffix in ("png", "pdf"):
            (folder / f"figure2.{suffix}").unlink(missing_ok=True)


def _everything(records: Sequence[Record], folder: Path) -> None:
    # What follows takes seconds to import, which a sweep need not wait for.
    import pandas as pd

    from bench.reporting.efficiency import analysis, claims
    from bench.reporting.efficiency.grids import draw_floors, draw_overview
    from bench.reporting.formats import write_table

    tables = folder / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    _figures(records, folder, formats=("png", "pdf"))
    draw_overview(records, folder / "overview")
    if any(record.floor_ms for record in records):
        draw_floors(records, folder / "floors")
    groups = by_setting(records)
    labels = distinguish(groups)
    for make in (
        analysis.costs,
        analysis.growth,
        analysis.crossings,
        analysis.floors,
        analysis.capacities,
        analysis.choices,
    ):
        parts = [make(alike) for alike in groups.values()]
        if len(groups) > 1:
            for part, label in zip(parts, labels.values(), strict=True):
                part.insert(0, "setting", label)
        whole = pd.concat([part for part in parts if len(part.columns) > 1] or parts, ignore_index=True)
        if len(whole):
            write_table(whole, tables / make.__name__)
    if any(record.device_type == "cuda" for record in records):
        write_atomically(folder / CLAIMS_FILE, claims.render(records).encode())
