"""One table in three files: CSV for programs, Markdown for readers, LaTeX (booktabs) for papers."""

from pathlib import Path

import pandas as pd
from tabulate import tabulate

from bench.files import write_atomically
from bench.reporting.formats import cell

_FORMATS = {"md": "github", "tex": "latex_booktabs"}


def write_table(table: pd.DataFrame, stem: Path) -> None:
    """Write a table as ``stem.csv`` in full precision, and as ``stem.md`` and ``stem.tex`` in three digits.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    write_atomically(stem.with_suffix(".csv"), table.to_csv(index=False, lineterminator="\n").encode())
    cells = [[cell(value) for value in row] for row in table.itertuples(index=False)]
    alignment = ["right" if pd.api.types.is_numeric_dtype(table[column]) else "left" for column in table]
    for suffix, style in _FORMATS.items():
        text = tabulate(
            cells, headers=[str(column) for column in table], tablefmt=style, disable_numparse=True, colalign=alignment
        )
        write_atomically(stem.with_suffix(f".{suffix}"), f"{text}\n".encode())
