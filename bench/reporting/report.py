"""A sweep's report: the CSV and the figures that belong beside its records."""

from pathlib import Path

from bench.efficiency.records import Record, read_records
from bench.reporting.figures import draw_figure2
from bench.reporting.overview import by_setting, distinguish
from bench.reporting.tables import write_csv
from mixers.errors import UserError

CSV_FILE = "results.csv"


def write_report(folder: Path) -> list[Record]:
    """Write ``results.csv`` and the figures into a sweep's folder and return the records they were made from.

    Each setting has a figure of its own: ``figure2.png`` where there is one, else for instance
    ``figure2-float32-training.png``.

    Raises:
        UserError: The records cannot be read, or the report cannot be written.
    """
    records = read_records(folder)
    groups = by_setting(records)
    try:
        write_csv(records, folder / CSV_FILE)
        for setting, label in distinguish(groups).items():
            draw_figure2(groups[setting], folder / f"{'-'.join(['figure2', *label.split()])}.png")
    except OSError as error:
        hint = "Is the disk full or the folder read-only? The records are safe; make the report again from them."
        raise UserError(f"the report cannot be written into {folder}: {error}", hint=hint) from None
    return records
