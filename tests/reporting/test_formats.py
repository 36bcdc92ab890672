from pathlib import Path

import pandas as pd
import pytest

from bench.reporting.formats import cell, write_table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (0.0, "0"),
        (0.001234, "0.00123"),
        (0.9996, "1.000"),
        (12.345, "12.3"),
        (123456.0, "123456"),
        (-0.05, "-0.0500"),
        (7, "7"),
        ("kda/fla", "kda/fla"),
    ],
)
def test_cells_have_three_significant_digits_and_no_exponent(value: object, text: str) -> None:
    assert cell(value) == text


def test_one_table_in_three_forms(tmp_path: Path) -> None:
    table = pd.DataFrame({"mixer": ["sa/eager", "50 % & more"], "ms": [1 / 3, None]})
    write_table(table, tmp_path / "costs")
    assert pd.read_csv(tmp_path / "costs.csv")["ms"][0] == 1 / 3
    assert "| sa/eager    | 0.333 |" in (tmp_path / "costs.md").read_text()
    latex = (tmp_path / "costs.tex").read_text()
    assert "\\toprule" in latex
    assert "50 \\% \\& more" in latex
