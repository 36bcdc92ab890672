"""One table in three files: CSV for programs, Markdown for readers, LaTeX (booktabs) for papers."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from bench.files import write_atomically
from bench.reporting.formats import cell

_FORMATS = {"md": "github", "tex": "latex_booktabs"}


def write_table(table: pd.DataFrame, stem: Path, *, notes: Sequence[str] = ()) -> None:
    """Write a table as ``stem.csv`` in full precision, and as ``stem.md`` and ``stem.tex`` in three digits.

    Notes stand below the Markdown form. Without rows, only the notes are written; files of an earlier table go.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    texts = _texts(table) if len(table) else {}
    if notes:
        texts["md"] = "\n".join([*filter(None, [texts.get("md")]), *(f"{note}\n" for note in notes)])
    for suffix in ("csv", "md", "tex"):
        path = stem.with_suffix(f".{suffix}")
        if suffix in texts:
            write_atomically(path, texts[suffix].encode())
        else:
            path.unlink(missing_ok=True)


def _texts(table: pd.DataFrame) -> dict[str, str]:
    """Return the table in each form, by the ending of its file."""
    cells = [[cell(value) for value in row] for row in table.itertuples(index=False)]
    alignment = ["right" if pd.api.types.is_numeric_dtype(table[column]) else "left" for column in table]
    headers = [str(column) for column in table]
    texts = {"csv": table.to_csv(index=False, lineterminator="\n")}
    for suffix, style in _FORMATS.items():
        text = tabulate(cells, headers=headers, tablefmt=style, disable_numparse=True, colalign=alignment)
        texts[suffix] = f"{text}\n"
    return texts
