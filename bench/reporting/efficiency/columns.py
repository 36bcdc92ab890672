"""The page on the columns of results.csv, made from the documentation of the record's fields.

``python -m bench.reporting.efficiency.columns > reports/columns.md`` writes it.
"""

import inspect
import re
import types
import typing

from bench.efficiency.records import COLUMNS, Record, Status

_PREFACE = """# The columns of results.csv

Each row is one case: a mixer in one implementation and setting, at one length of audio. A field is empty if there is no
figure. `records.jsonl` holds the same fields.

This page is made from the documentation of the record by `python -m bench.reporting.efficiency.columns`.
"""

_TYPES = {str: "text", Status: "text", int: "integer", float: "number", bool: "true or false"}

# By the end of a column's name, once the name of a statistic is cut off. The first that fits is taken.
_STATISTIC = re.compile(r"_(mean|min|low|high|p\d\d)$")
_UNITS = {
    "_tb_s": "TB/s",
    "_ms": "ms",
    "_s": "s",
    "seconds": "s",
    "_gib": "GiB",
    "bytes": "bytes",
    "_mhz": "MHz",
    "_c": "°C",
    "_j": "J",
    "_w": "W",
    "_tflops": "TFLOP/s",
    "flops": "FLOP",
    "_error": "fraction",
}


def page() -> str:
    """Return the page in Markdown: a row for each column with its type, unit and meaning.

    Raises:
        LookupError: A field of the record has no documentation.
    """
    meanings = document(Record)
    declared = typing.get_type_hints(Record)
    rows = [
        (f"`{column}`", _type(declared[field]), _unit(column), meanings[field].replace("``", "`"))
        for column, field in zip(COLUMNS, declared, strict=True)
    ]
    # Unpadded, so that a changed meaning changes one line.
    lines = [" | ".join(row) for row in (("column", "type", "unit", "meaning"), ("---",) * 4, *rows)]
    return _PREFACE + "\n" + "".join(f"| {line} |\n" for line in lines)


def document(record: type) -> dict[str, str]:
    """Return what the docstring of a class says of each of its fields, under ``Attributes:``.

    Raises:
        LookupError: A field has no entry of its own.
    """
    entries = re.split(r"\n {4}(?=\w+: )", inspect.cleandoc(record.__doc__ or "").partition("\nAttributes:")[2])
    meanings = {name: " ".join(text.split()) for name, _, text in (entry.partition(": ") for entry in entries[1:])}
    missing = [field for field in typing.get_type_hints(record) if not meanings.get(field)]
    if missing:
        raise LookupError(f"{record.__name__} does not document: {', '.join(missing)}")
    return meanings


def _type(declared: object) -> str:
    """Return the type of a column in words; a field that may be None may be empty."""
    if isinstance(declared, types.UnionType):
        declared, _ = typing.get_args(declared)
    return _TYPES[declared]


def _unit(column: str) -> str:
    name = _STATISTIC.sub("", column)
    return next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")


if __name__ == "__main__":
    print(page(), end="")
