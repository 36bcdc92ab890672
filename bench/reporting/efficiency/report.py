"""The report files: results.csv and Figure 2 after a sweep; on request also every other figure, table and page."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.efficiency.records import Record
from bench.efficiency.store import read_header, read_pooled
from bench.files import write_atomically
from bench.reporting.efficiency.figure2 import draw_figure2
from bench.reporting.efficiency.frame import write_csv
from bench.reporting.efficiency.overview import by_setting, check_same, distinguish, mixers_of, other_parts_of
from bench.reporting.efficiency.quantities import has_gpu_time
from mixers.support.errors import UserError, unknown_name

CSV_FILE = "results.csv"

CLAIMS_FILE = "claims.md"


def write_figures(folder: Path) -> list[Record]:
    """Write ``results.csv`` and the figures into a sweep's folder and return the records they were made from.

    Each setting has its own figure: ``figure2.png`` for a single setting, otherwise for instance
    ``figure2-float32-training.png``.

    Raises:
        UserError: The records cannot be read, or a file cannot be written.
    """
    records = _as_planned(folder)
    _write(folder, lambda: _figures(records, folder, host=_host([folder]), log=False, formats=("png",)))
    return records


def write_report(
    folders: Sequence[Path], output: Path, *, mixers: Sequence[str] = (), log: bool = False
) -> list[Record]:
    """Write everything that the records of sweeps of one machine show: figures, tables and the paper's claims.

    Args:
        folders: The folders of the sweeps.
        output: The folder to write to; made if needed.
        mixers: Those that the report is about, for instance ``kda`` or ``sa/sdpa``; none for all.
        log: Whether the axes of Figure 2 are logarithmic.

    Returns:
        Their records.

    Raises:
        UserError: The records cannot be read, the sweeps are of several machines or inputs, a case was measured twice,
            a mixer was not measured, or a file cannot be written.
    """
    sweeps = [_as_planned(folder) for folder in folders]
    for field in ("device", "input"):
        hint = "Report each alone, or compare two with `sbench compare`."
        check_same(field, folders, [mixers_of(sweep) or sweep for sweep in sweeps], hint=hint)
    records = [record for sweep in sweeps for record in sweep]
    seen: set[object] = set()
    for record in records:
        if record.case in seen:
            what = f"{record.name} at {record.seconds:g} s, {record.setting.label}"
            hint = "Give folders without a case in common, or compare two with `sbench compare`."
            raise UserError(f"{what} was measured twice", hint=hint)
        seen.add(record.case)
    records = _only(mixers, records)
    _write(output, lambda: _everything(records, output, host=_host(folders), log=log))
    return records


def _only(mixers: Sequence[str], records: list[Record]) -> list[Record]:
    """Return the records of these mixers or implementations, or all if none is named. Encoders and heads stay."""
    known = {known: None for record in mixers_of(records) for known in (record.mixer, record.name)}
    for name in mixers:
        if name not in known:
            raise unknown_name("mixer of this sweep", name, tuple(known))
    return [
        record
        for record in records
        if not mixers or record.part != "mixer" or {record.mixer, record.name} & set(mixers)
    ]


def _as_planned(folder: Path) -> list[Record]:
    """Read a sweep's records in the order of its plan. A resumed sweep measured some cases in another order."""
    records = read_pooled(folder)
    try:
        planned = read_header(folder).cases
    except UserError:
        return records  # a report needs no plan
    place = {case: number for number, case in enumerate(planned)}
    return sorted(records, key=lambda record: place.get(record.case, len(place)))


def _host(folders: Sequence[Path]) -> str:
    """Return the processors of the hosts that sweeps ran on, as far as they are known."""
    names = []
    for folder in folders:
        try:
            names.append(read_header(folder).environment.get("host_processor"))
        except UserError:
            continue  # a report needs no plan
    return " and ".join(dict.fromkeys(str(name) for name in names if name))


def _write(folder: Path, work: Callable[[], None]) -> None:
    try:
        work()
    except OSError as error:
        hint = "Is the disk full or the folder read-only? The records are safe; `sbench report` makes the report again."
        raise UserError(f"the report cannot be written into {folder}: {error}", hint=hint) from None


def _figures(records: Sequence[Record], folder: Path, *, host: str, log: bool, formats: Sequence[str]) -> None:
    write_csv(records, folder / CSV_FILE)
    groups = by_setting(mixers_of(records))
    stems = {setting: "-".join(["figure2", *label.split()]) for setting, label in distinguish(groups).items()}
    for setting, stem in stems.items():
        draw_figure2(groups[setting], folder / stem, log=log, formats=formats)
        if has_gpu_time(groups[setting]):
            calls = stem.replace("figure2", "single-calls")
            draw_figure2(groups[setting], folder / calls, single_calls=True, host=host, log=log, formats=formats)
    if len(stems) > 1:  # a figure of an earlier report with one setting shows only a part of the records
        for name, suffix in itertools.product(("figure2", "single-calls"), ("png", "pdf")):
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)


def _everything(records: Sequence[Record], folder: Path, *, host: str, log: bool) -> None:
    # These take seconds to import, and a sweep does not need them.
    from bench.reporting.efficiency import claims_page, directions
    from bench.reporting.efficiency.end_to_end_figure import draw_end_to_end
    from bench.reporting.efficiency.grids import draw_floors, draw_overview
    from bench.reporting.efficiency.tables import write_tables

    folder.mkdir(parents=True, exist_ok=True)
    _figures(records, folder, host=host, log=log, formats=("png", "pdf"))
    mixers = mixers_of(records)
    draw_overview(mixers, folder / "overview")
    if directions.can_be_drawn(mixers):
        directions.draw_directions(mixers, folder / "directions")
    if any(record.floor_ms for record in mixers):
        draw_floors(mixers, folder / "floors")
    write_tables(records, folder / "tables")
    draw_end_to_end(mixers, other_parts_of(records), folder / "end-to-end")
    if any(record.device_type == "cuda" for record in mixers):
        write_atomically(folder / CLAIMS_FILE, claims_page.render(mixers).encode())
