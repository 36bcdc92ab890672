"""The folds of a corpus are one split: every recording is scored once, or the table says what is missing."""

import csv
import dataclasses
from pathlib import Path

import pytest

from bench.accuracy.evaluation.comparison import score_mixer
from bench.accuracy.evaluation.predictions import Predictions
from bench.reporting.accuracy import files, table
from bench.reporting.accuracy.evaluations import Row
from bench.reporting.accuracy.table import Key
from mixers.support.errors import UserError
from tests.accuracy.made_up import draw, write_run
from tests.reporting.accuracy.test_table import shown

FOLDS = 3


def part(made: Predictions, fold: int) -> Predictions:
    """Return the predictions of the speakers that a fold tests."""
    rows = [row for row, speaker in enumerate(made.speakers) if int(speaker.split()[1]) % FOLDS == fold - 1]
    names = ("utterances", "speakers", "labels", "predictions")
    fields = {name: tuple(getattr(made, name)[row] for row in rows) for name in names}
    return dataclasses.replace(made, probabilities=made.probabilities[rows], **fields)


def whole(mixer: int, seed: int) -> Predictions:
    return draw(truth_seed=0, seed=10 * mixer + seed, accuracy=0.4 + 0.2 * mixer, consistency=0.1)


def runs(
    folder: Path, *, folds: tuple[int, ...] = (1, 2, 3), seeds: int = 2, spec: str = "ravdess@{}:/data"
) -> list[Path]:
    mixers = ("sa", "kda")
    return [
        write_run(
            folder / f"fold-{fold}",
            {
                ("test", mixer, seed): part(whole(place, seed), fold)
                for place, mixer in enumerate(mixers)
                for seed in range(seeds)
            },
            corpus=spec.format(fold),
            folds=FOLDS,
            overlap={"treatment": "refuse", "utterances": 0},
            utterances=str(fold) * 64,
        )
        for fold in folds
    ]


def test_folds_are_scored_as_one(tmp_path: Path) -> None:
    found = files.write(runs(tmp_path), tmp_path / "table")
    assert [key.split for key in found.cells] == ["test", "test"]
    cell = found.cells[Key(Row("kda", "alternating"), "WavLM", "test")]
    expected = score_mixer([whole(1, seed) for seed in range(2)])
    assert (cell.ours, cell.seeds, cell.low) == (100 * expected.spread.mean, 2, 100 * expected.estimate.low)
    assert (cell.utterances, cell.speakers, cell.folds, cell.corpus) == (200, 20, 3, "ravdess")
    assert len(found.pairs) == 1
    assert found.pairs[0].comparison.verdict == "worse"
    notes = " ".join(found.notes)
    assert "test: 200 of 200 utterances in 3 folds, each scored once, 0 left out." in notes
    assert "NOT " not in notes  # that folds learn from other utterances is no difference between mixers
    assert "200 utterances, 20 speakers, 3 folds" in shown(found)
    with (tmp_path / "table" / "accuracy.csv").open(newline="") as file:
        assert [row["folds"] for row in csv.DictReader(file)] == ["3", "3"]


def test_a_mixer_that_lacks_a_fold_has_no_row_and_is_named(tmp_path: Path) -> None:
    made = runs(tmp_path)
    (made[1] / "evaluation" / "test" / "sa-1.csv").unlink()
    for seed in range(2):
        (made[2] / "evaluation" / "test" / f"kda-{seed}.csv").unlink()
    found = table.read(made)
    assert [(key.row.mixer, cell.seeds) for key, cell in found.cells.items()] == [("sa", 1)]
    assert found.notes[:2] == (
        "MISSING: sa (alternating) with WavLM, seed 1: test lacks fold 2 of 3",
        "MISSING: kda (alternating) with WavLM, seed 0 and 1: test lacks fold 3 of 3",
    )


def test_no_complete_mixer_makes_no_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sa \(alternating\) with WavLM, .*: test lacks folds 1 and 3 of 3") as caught:
        table.read(runs(tmp_path, folds=(2,)))
    assert "--fold" in caught.value.hint


def test_the_same_fold_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="are of the same encoders, mixer, direction, seed and split"):
        table.read([*runs(tmp_path), *runs(tmp_path / "again", folds=(2,))])


def test_an_utterance_in_two_folds_is_refused(tmp_path: Path) -> None:
    made = runs(tmp_path, folds=(1, 2))
    third = {("test", "sa", 0): part(whole(0, 0), 1)}
    other = write_run(tmp_path / "third", third, corpus="ravdess@3:/data", folds=FOLDS)
    with pytest.raises(UserError, match="two folds of test test u"):
        table.read([*made, other])


def test_what_a_fold_heard_in_training_is_said(tmp_path: Path) -> None:
    made = runs(tmp_path)
    path = made[0] / "evaluation" / "test" / "utterances.json"
    path.write_text(path.read_text().replace('"refuse", "utterances": 0', '"accept", "utterances": 4'))
    assert any("NOT INDEPENDENT: 4 utterances of test" in note for note in table.read(made).notes)
