"""No figure of the table is of two directions, and the table says which direction each figure is of."""

import csv
from pathlib import Path

import pytest

from bench.reporting import published
from bench.reporting.accuracy import files, table
from bench.reporting.accuracy.evaluations import Row
from bench.reporting.accuracy.table import Key
from mixers.support.errors import UserError
from tests.accuracy.made_up import write_run
from tests.reporting.accuracy.test_table import results, rows, shown

CAUSAL, ALTERNATING = Row("kda", "causal"), Row("kda", "alternating")


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """KDA in two directions with one seed, SA in one of them."""
    return [
        write_run(tmp_path / "alternating", results("sa", "kda"), direction="alternating"),
        write_run(tmp_path / "causal", results("retnet", "gsa", "kda"), direction="causal"),
    ]


def test_a_mixer_in_two_directions_has_two_rows(runs: list[Path], tmp_path: Path) -> None:
    found = files.write(runs, tmp_path / "table")
    assert found.rows == (
        *(Row("sa", "alternating"), Row("retnet", "causal"), Row("gsa", "causal"), CAUSAL, ALTERNATING),
    )
    assert found.directions == ("causal", "alternating")
    for row, run in ((ALTERNATING, runs[0]), (CAUSAL, runs[1])):
        alone = table.read([run])
        for split in found.splits:
            assert found.cells[Key(row, "WavLM", split)] == alone.cells[Key(row, "WavLM", split)]
            assert found.cells[Key(row, "WavLM", split)].seeds == 1

    with (tmp_path / "table" / "accuracy.csv").open(newline="") as file:
        named = dict.fromkeys((row["mixer"], row["direction"]) for row in csv.DictReader(file))
    assert list(named) == [(row.mixer, row.direction) for row in found.rows]
    for suffix in ("md", "tex"):
        text = (tmp_path / "table" / f"table1.{suffix}").read_text()
        assert all(name in text for name in ("SA (alternating)", "KDA (causal)", "KDA (alternating)", "GSA (causal)"))
        assert "directions as the rows say" in text


def test_the_terminal_names_directions_in_80_columns(runs: list[Path]) -> None:
    text = shown(table.read(runs))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    lines = [line.split()[:2] for line in text.splitlines() if line.strip()]
    assert ["SA", "alternating"] in lines
    assert lines.count(["KDA", "causal"]) == lines.count(["KDA", "alternating"]) == 3
    words = " ".join(text.split())
    assert "causal: in softmax attention a frame sees itself and the past" in words
    assert "alternating: in softmax attention a frame sees everything" in words
    assert "The paper's figures are in the direction paper" in words


def test_pairs_differ_in_mixer_or_direction_but_not_in_both(runs: list[Path], tmp_path: Path) -> None:
    found = files.write(runs, tmp_path / "table")
    pairs = [(pair.first, pair.second) for pair in found.pairs if pair.split == "test1"]
    assert pairs == [
        (Row("sa", "alternating"), ALTERNATING),
        (Row("retnet", "causal"), Row("gsa", "causal")),
        (Row("retnet", "causal"), CAUSAL),
        (Row("gsa", "causal"), CAUSAL),
        (CAUSAL, ALTERNATING),
    ]
    assert any("two mixers in one direction, or one mixer in two" in note for note in found.notes)
    assert "WavLM, T1: RetNet (causal) worse than KDA (causal) by" in " ".join(shown(found, width=120).split())
    with (tmp_path / "table" / "pairs.csv").open(newline="") as file:
        written = [
            (Row(row["mixer"], row["direction"]), Row(row["other"], row["its direction"]))  # type: ignore[arg-type]
            for row in csv.DictReader(file)
            if row["split"] == "test1"
        ]
    assert written == pairs


def test_one_direction_is_named_once(tmp_path: Path) -> None:
    found = files.write([write_run(tmp_path / "run", results("sa", "kda"))], tmp_path / "table")
    for text in (shown(found), (tmp_path / "table" / "accuracy.md").read_text()):
        assert "preset matched, direction alternating." in " ".join(text.split())
        assert "(alternating)" not in text
    assert {row["direction"] for row in rows(tmp_path / "table").values()} == {"alternating"}


def test_runs_of_before_directions_are_the_papers(tmp_path: Path) -> None:
    new = write_run(tmp_path / "new", results("kda"))
    old = write_run(tmp_path / "old", results("kda"))
    path = old / "run.json"
    path.write_text(path.read_text().replace('"direction": "alternating", ', ""))
    found = table.read([old])
    assert found.directions == ("paper",)
    assert not any("The paper's figures are in the direction" in note for note in found.notes)
    assert [row for row in table.read([old, new]).rows if row.mixer == "kda"] == [ALTERNATING, Row("kda", "paper")]


def test_seeds_and_encoders_of_other_directions_do_not_come_together(tmp_path: Path) -> None:
    encoders = ["wavlm-large", "wav2vec2-xlsr", "wav2vec2-large", "hubert-large"]
    four = [
        write_run(tmp_path / speech, results("kda"), speech=speech, direction="causal" if place == 3 else "alternating")
        for place, speech in enumerate(encoders)
    ]
    found = table.read(four)
    assert published.MEAN not in found.columns
    seed = write_run(tmp_path / "seed", results("kda", first_seed=1), direction="causal")
    found = table.read([*four, seed])
    assert [found.cells[Key(row, "WavLM", "test1")].seeds for row in (ALTERNATING, CAUSAL)] == [1, 1]


def test_the_same_direction_twice_is_refused(runs: list[Path], tmp_path: Path) -> None:
    again = write_run(tmp_path / "again", results("kda"), direction="causal")
    with pytest.raises(UserError, match="are of the same encoders, mixer, direction, seed and split"):
        table.read([*runs, again])


def test_one_bare_layer_alternates_with_no_other(tmp_path: Path) -> None:
    (note,) = [
        note
        for note in table.read([write_run(tmp_path / "run", results("kda"), preset="released")]).notes
        if note.startswith("alternating: ")
    ]
    assert note.endswith("in the other mixers itself and the past.")
