"""Records as a data frame and as CSV."""

import typing
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.efficiency.records import COLUMNS, Record, Status
from bench.files import write_atomically

# Nullable integers: otherwise one missing count turns the column into floats, and 20020000 into 20020000.0.
_DTYPES = {
    bool: "bool",
    bool | None: "boolean",
    int: "int64",
    int | None: "Int64",
    float: "float64",
    float | None: "float64",
    str: "str",
    Status: "str",
}


def to_frame(records: Sequence[Record]) -> pd.DataFrame:
    """Return one row for each record, with the columns of ``records.COLUMNS`` in their order."""
    rows = [record.to_row() for record in records]
    types = typing.get_type_hints(Record).values()
    return pd.DataFrame(
        {
            column: pd.Series([row[column] for row in rows], dtype=_DTYPES[declared])
            for column, declared in zip(COLUMNS, types, strict=True)
        }
    )


def write_csv(records: Sequence[Record], path: Path) -> None:
    """Write one line for each record: floats in full precision, an empty field where there is no figure.

    Raises:
        OSError: The file cannot be written; the old file is still there.
    """
    write_atomically(path, to_frame(records).to_csv(index=False, lineterminator="\n").encode())
