"""Linear probes in the accuracy table: a row without direction and seeds, compared with every mixer."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from bench.accuracy.evaluation import comparison
from bench.accuracy.evaluation.predictions import Predictions
from bench.reporting.accuracy import files, table
from bench.reporting.accuracy.evaluations import Row
from bench.reporting.accuracy.probes import ROW
from bench.reporting.accuracy.table import AccuracyTable, Key
from mixers.support.errors import UserError
from tests.accuracy.made_up import draw, write_probe, write_run
from tests.reporting.accuracy.test_folds import FOLDS, part
from tests.reporting.accuracy.test_table import results, shown


def linear(*, accuracy: float = 0.3, truth: int = 1) -> Predictions:
    """Return the predictions of a probe on test1 of the made-up runs."""
    return draw(truth_seed=truth, seed=999, accuracy=accuracy, consistency=0.1)


def both(tmp_path: Path, *mixers: str, seeds: int = 3, accuracy: float = 0.3, **fields: Any) -> AccuracyTable:
    run = write_run(tmp_path / "run", results(*mixers, seeds=seeds), text=None)
    probe = write_probe(tmp_path / "probe", {"test1": linear(accuracy=accuracy)}, **fields)
    return files.write([run, probe], tmp_path / "table")


def test_a_probe_is_a_row_beside_the_mixers(tmp_path: Path) -> None:
    found = both(tmp_path, "sa", "kda")
    cell = found.cells[Key(ROW, "WavLM, no text", "test1")]
    expected = comparison.score_mixer([linear()])
    assert (cell.ours, cell.low, cell.spread) == (100 * expected.spread.mean, 100 * expected.estimate.low, None)
    assert found.parameters_of("linear", found.columns) == (16_392,)
    assert [row.mixer for row in found.rows] == ["sa", "kda", "linear"]
    assert found.directions == ("alternating",)
    with (tmp_path / "table" / "accuracy.csv").open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["mixer"] == "linear")
    assert (row["direction"], row["preset"], row["seeds"], row["parameters"]) == ("-", "-", "0", "16392")
    assert "| linear" in (tmp_path / "table" / "accuracy.md").read_text()
    assert "(no seeds)" in shown(found)
    notes = " ".join(found.notes)
    assert "one layer of the speech encoder (12, chosen on development), C = 0.02, learned from train." in notes
    assert "linear has no seeds" in notes
    assert "NOT ALIKE" not in notes


def test_its_predictions_are_compared_with_each_seed_under_holms_control(tmp_path: Path) -> None:
    found = both(tmp_path, "sa", "kda")
    made = results("sa", "kda", seeds=3)
    pairs = {(pair.first.mixer, pair.second.mixer): pair for pair in found.pairs if pair.split == "test1"}
    assert set(pairs) == {("sa", "kda"), ("sa", "linear"), ("kda", "linear")}
    pair = pairs["kda", "linear"]
    alone = comparison.compare([made["test1", "kda", seed] for seed in range(3)], [linear()] * 3)
    assert pair.seeds == 3
    assert (pair.comparison.difference, pair.comparison.p_seeds) == (alone.difference, alone.p_seeds)
    assert pair.comparison.p >= alone.p
    assert pair.comparison.verdict == "better"
    assert "KDA better than linear" in " ".join(shown(found).split())


def test_it_is_compared_with_mixers_in_every_direction(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / direction, results("kda", splits=("test1",), truth=1), text=None, direction=direction)
        for direction in ("causal", "alternating")
    ]
    found = table.read([*runs, write_probe(tmp_path / "probe", {"test1": linear(accuracy=0.1)})])
    named = {(str(pair.first), str(pair.second)) for pair in found.pairs}
    assert named == {
        ("kda (causal)", "kda (alternating)"),
        ("kda (causal)", "linear"),
        ("kda (alternating)", "linear"),
    }
    assert "than linear by" in " ".join(shown(found).split())


def test_equal_predictions_are_no_difference(tmp_path: Path) -> None:
    same = linear()
    run = write_run(tmp_path / "run", {("test1", "sa", seed): same for seed in range(3)}, text=None)
    found = table.read([run, write_probe(tmp_path / "probe", {"test1": same})])
    (pair,) = found.pairs
    assert (pair.comparison.difference.value, pair.comparison.p) == (0, 1)
    assert pair.comparison.verdict == "no difference told"


def test_a_mixer_with_text_is_in_another_column_and_not_compared(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", results("sa", splits=("test1",), truth=1))
    found = table.read([run, write_probe(tmp_path / "probe", {"test1": linear()})])
    assert found.columns == ("WavLM", "WavLM, no text")
    assert not found.pairs


def test_folds_of_a_probe_are_pooled_and_need_no_run(tmp_path: Path) -> None:
    probes = [
        write_probe(
            tmp_path / f"fold-{fold}",
            {"test": part(linear(), fold)},
            corpus=f"ravdess@{fold}:/data",
            folds=FOLDS,
            layer=fold,
            utterances=str(fold) * 64,
        )
        for fold in range(1, FOLDS + 1)
    ]
    found = files.write(probes, tmp_path / "table")
    ((key, cell),) = found.cells.items()
    assert key.row == ROW
    assert (cell.folds, cell.utterances, cell.speakers) == (3, 200, 20)
    assert cell.ours == pytest.approx(100 * comparison.score_mixer([linear()]).spread.mean)
    assert found.preset == "-"
    assert "(1, 2 and 3, chosen on development)" in " ".join(found.notes)
    assert "NOT " not in " ".join(found.notes)
    assert "linear" in shown(found)
    with pytest.raises(UserError, match=r"^linear with WavLM, seed 0: test lacks fold 2 of 3"):
        table.read([probes[0], probes[2]])


def test_what_differs_is_said(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"with_development": True, "converged": False, "utterances": "b" * 64}
    notes = " ".join(both(tmp_path, "sa", **fields).notes)
    assert "learned from train and development, the mixers from train alone." in notes
    assert "NOT CONVERGED: a fit of" in notes
    assert (
        "NOT ALIKE: the runs differ in utterances of training or development (aaaaaaaaaaaa and bbbbbbbbbbbb)" in notes
    )
    probes = [
        write_probe(tmp_path / speech, {"test1": linear()}, speech=speech, regularisation=regularisation)
        for speech, regularisation in (("wavlm-large", 0.02), ("hubert-large", 1.0))
    ]
    assert "NOT ALIKE: the probes differ in C (0.02 and 1)." in table.read(probes).notes


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": 2}, "is a probe of version 2, this sbench reads 1"),
        ({"layer": "best"}, "is damaged: layer"),
        ({"extra": 1}, "is damaged: extra"),
        ({"classes": ["joy", "fear"]}, "differ in classes"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    run = write_run(tmp_path / "run", results("sa"), text=None)
    with pytest.raises(UserError, match=message) as caught:
        table.read([run, write_probe(tmp_path / "probe", {"test1": linear()}, **fields)])
    assert "\n" not in str(caught.value)


def test_the_same_probe_twice_and_one_without_scores(tmp_path: Path) -> None:
    probe = write_probe(tmp_path / "probe", {"test1": linear()})
    with pytest.raises(UserError, match="are of the same encoders"):
        table.read([probe, write_probe(tmp_path / "other", {"test1": linear()})])
    with pytest.raises(UserError, match="has no evaluation") as caught:
        table.read([write_probe(tmp_path / "empty", {})])
    assert "sbench probe" in caught.value.hint
    (tmp_path / "probe" / "probe.json").write_text(json.dumps({"version": 1})[:-1])
    with pytest.raises(UserError, match="is damaged"):
        table.read([probe])


def test_a_row_says_its_direction_only_if_it_has_one() -> None:
    assert (str(ROW), str(Row("kda", "both"))) == ("linear", "kda (both)")
