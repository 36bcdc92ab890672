from dataclasses import dataclass
from pathlib import Path

import pytest

import bench
from bench.efficiency.records import COLUMNS
from bench.reporting.efficiency.columns import document, page

PAGE = Path(bench.__path__[0]).parent / "reports" / "columns.md"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_committed_page_is_what_the_records_documentation_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_the_page_has_every_column_in_order_with_its_type_and_unit() -> None:
    rows = [cells(line) for line in page().splitlines() if line.startswith("| `")]
    assert [row[0].strip("`") for row in rows] == list(COLUMNS)
    assert all(len(row) == 4 and row[3] for row in rows)
    by_column = {row[0].strip("`"): tuple(row[1:3]) for row in rows}
    assert by_column["latency_ms_p95"] == ("number", "ms")
    assert by_column["pass"] == ("text", "")
    assert by_column["launch_bound"] == ("true or false", "")
    assert by_column["copy_tb_s"] == ("number", "TB/s")
    assert by_column["samples"] == ("integer", "")
    assert by_column["peak_tflops"] == ("number", "TFLOP/s")


def test_a_field_without_documentation_is_refused() -> None:
    @dataclass
    class Half:
        """Something.

        Attributes:
            told: What it is, in two
                lines.
        """

        told: int
        untold: int

    with pytest.raises(LookupError, match="untold"):
        document(Half)
