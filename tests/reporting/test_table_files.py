from pathlib import Path

import pandas as pd

from bench.reporting.table_files import write_table


def test_one_table_in_three_forms(tmp_path: Path) -> None:
    table = pd.DataFrame({"mixer": ["sa/eager", "50 % & more"], "ms": [1 / 3, None]})
    write_table(table, tmp_path / "costs")
    assert pd.read_csv(tmp_path / "costs.csv")["ms"][0] == 1 / 3
    assert "| sa/eager    | 0.333 |" in (tmp_path / "costs.md").read_text()
    latex = (tmp_path / "costs.tex").read_text()
    assert "\\toprule" in latex
    assert "50 \\% \\& more" in latex


def test_notes_stand_below_the_table_and_in_its_place_where_it_has_no_rows(tmp_path: Path) -> None:
    table = pd.DataFrame({"mixer": ["sa/eager"]})
    write_table(table, tmp_path / "choices", notes=["One.", "Two."])
    assert (tmp_path / "choices.md").read_text() == "| mixer    |\n|----------|\n| sa/eager |\n\nOne.\n\nTwo.\n"
    write_table(table[:0], tmp_path / "choices", notes=["One."])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"choices.md": "One.\n"}
    write_table(table[:0], tmp_path / "choices")
    assert not list(tmp_path.iterdir())
