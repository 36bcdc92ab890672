"""A sweep's report: the CSV and the figure that belong beside its records."""

from pathlib import Path

from bench.efficiency.records import Record, read_records
from bench.reporting.figures import draw_figure2
from bench.reporting.tables import write_csv
from mixers.errors import UserError

CSV_FILE = "results.csv"

FIGURE_FILE = "figure2.png"


def write_report(folder: Path) -> list[Record]:
    """Write ``results.csv`` and ``figure2.png`` into a sweep's folder and return the records they were made from.

    Raises:
        UserError: The records cannot be read, or the report cannot be written.
    """
    records = read_records(folder)
    try:
        write_csv(records, folder / CSV_FILE)
        draw_figure2(records, folder / FIGURE_FILE)
    except OSError as error:
        hint = "Is the disk full or the folder read-only? The records are safe; make the report again from them."
        raise UserError(f"the report cannot be written into {folder}: {error}", hint=hint) from None
    return records
