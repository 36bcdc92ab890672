import csv
import itertools
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.accuracy.evaluation.comparison import score_mixer
from bench.accuracy.evaluation.metrics import macro_f
from bench.accuracy.evaluation.predictions import Predictions
from bench.accuracy.run import Direction
from bench.reporting import published
from bench.reporting.accuracy import files, table, terminal
from bench.reporting.accuracy.evaluations import Row
from bench.reporting.accuracy.table import AccuracyTable, Key
from bench.reporting.accuracy.words import DEMONSTRATION
from mixers.support.errors import UserError
from tests.accuracy.made_up import EMOTIONS, draw, write_run

SPLITS = ("development", "test1", "test2")

Results = dict[tuple[str, str, int], Predictions]


def results(
    *mixers: str, seeds: int = 1, splits: tuple[str, ...] = SPLITS, first_seed: int = 0, truth: int = 0
) -> Results:
    """Return predictions of each mixer with each seed: the further back in the list, the better."""
    return {
        (split, mixer, seed): draw(
            truth_seed=truth + index, seed=100 * place + seed, accuracy=0.4 + 0.1 * place, consistency=0.1
        )
        for index, split in enumerate(splits)
        for place, mixer in enumerate(mixers)
        for seed in range(first_seed, first_seed + seeds)
    }


def of(mixer: str, direction: Direction = "alternating") -> Row:
    return Row(mixer, direction)


def shown(found: AccuracyTable, *, width: int = 80) -> str:
    console = Console(width=width, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(terminal.render(found))
    return captured.get()


def rows(folder: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with (folder / "accuracy.csv").open(newline="") as file:
        return {(row["mixer"], row["encoder"], row["split"]): row for row in csv.DictReader(file)}


def outputs(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_papers_means_are_those_of_its_columns() -> None:
    assert len(published.MACRO_F) == 6 * 5 * 3
    for mixer, split in itertools.product(published.MIXERS, published.SPLITS):
        columns = [published.MACRO_F[mixer, column, split] for column in published.COLUMNS]
        assert published.MACRO_F[mixer, "Mean", split] == pytest.approx(sum(columns) / 4, abs=0.005 + 1e-9)


def test_the_papers_figures_are_in_their_places() -> None:
    """As its text says: LightNet on Wav2Vec2XLSR is the best of all on Dev, SA leads on T1, GSA is the last on T2."""
    best = max(published.MACRO_F.items(), key=lambda item: item[1])
    assert best == (("lightnet", "Wav2Vec2XLSR", "development"), 38.11)
    for column in (*published.COLUMNS, "Mean"):
        figures = {mixer: published.MACRO_F[mixer, column, "test1"] for mixer in published.MIXERS}
        assert max(figures, key=figures.__getitem__) == "sa"
    assert published.MACRO_F["gsa", "Mean", "test2"] == 21.73
    assert published.MACRO_F["kda", "WavLM", "test2"] == 23.13
    assert published.MACRO_F["fox", "HuBERT", "development"] == 36.22


def test_a_cell_is_the_papers_figure_and_ours(tmp_path: Path) -> None:
    made = results("sa", "kda", seeds=3)
    found = files.write([write_run(tmp_path / "run", made)], tmp_path / "table")
    sets = [made["test1", "kda", seed] for seed in range(3)]
    score = score_mixer(sets)
    cell = found.cells[Key(of("kda"), "WavLM", "test1")]
    assert cell.paper == 32.95
    assert cell.ours == pytest.approx(
        100 * sum(macro_f(each.labels, each.predictions, classes=EMOTIONS) for each in sets) / 3
    )
    assert cell.difference == pytest.approx(cell.ours - 32.95)
    assert cell.recall == 100 * score.recall.value
    assert (cell.utterances, cell.speakers, cell.folds, cell.corpus) == (200, 20, 0, "msp-podcast")
    assert (cell.low, cell.high) == (100 * score.estimate.low, 100 * score.estimate.high)
    assert (found.rows, found.columns, found.splits) == ((of("sa"), of("kda")), ("WavLM",), SPLITS)

    row = rows(tmp_path / "table")["kda", "WavLM", "test1"]
    assert float(row["macro_f_percent"]) == cell.ours
    assert float(row["difference_points"]) == cell.difference
    assert (row["paper_percent"], row["seeds"], row["parameters"]) == ("32.95", "3", "20012345")
    assert row["direction"] == "alternating"
    assert "20.01" in shown(found)
    for text in (*outputs(tmp_path / "table").values(), shown(found)):
        assert "DEMONSTRATION" not in text


def test_only_what_was_measured_is_shown(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "sa", results("sa", splits=("test1",))),
        write_run(tmp_path / "kda", results("sa", "kda", splits=("test2",)), speech="hubert-large"),
    ]
    found = files.write(runs, tmp_path / "table")
    assert list(found.cells) == [
        Key(of("sa"), "WavLM", "test1"),
        Key(of("sa"), "HuBERT", "test2"),
        Key(of("kda"), "HuBERT", "test2"),
    ]
    assert len(rows(tmp_path / "table")) == 3
    grid = [line for line in (tmp_path / "table" / "accuracy.md").read_text().splitlines() if line.startswith("|")]
    assert len(grid) == 2 + 3
    assert not any("| -" in line for line in grid[2:])
    lines = [line.split() for line in shown(found).splitlines()]
    assert [line[0] for line in lines if line[:1] and line[0] in ("SA", "KDA", "FoX")] == ["SA", "SA", "KDA"]


def test_the_papers_layout_is_of_what_both_have(tmp_path: Path) -> None:
    made = [write_run(tmp_path / "run", results("sa", "mine", splits=("test1", "test3")))]
    other = write_run(tmp_path / "other", results("sa", splits=("test1", "test3")), speech="/models/mine", text=None)
    files.write([*made, other], tmp_path / "table")
    text = (tmp_path / "table" / "table1.md").read_text()
    lines = [[field.strip() for field in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == ["Mechanism", "Parameters (M)", "", "WavLM T1"]
    assert [line[2] for line in lines[2:]] == ["paper", "ours", "spread", "95%", "difference"]
    assert lines[2][3] == "36.80"
    assert (tmp_path / "table" / "table1.tex").exists()
    found = files.write([other], tmp_path / "table")
    assert not list((tmp_path / "table").glob("table1.*"))
    for text in (*outputs(tmp_path / "table").values(), shown(found)):
        assert "aper's" not in text
        assert "Difference" not in text


@pytest.mark.parametrize(
    ("fields", "comparable"),
    [({}, True), ({"corpus": "manifest:/mine.jsonl"}, False), ({"demo": True}, False)],
)
def test_the_papers_figures_stand_beside_its_corpus_alone(
    tmp_path: Path, fields: dict[str, Any], comparable: bool
) -> None:
    found = table.read([write_run(tmp_path / "run", results("sa"), **fields)])
    assert all((cell.paper is not None) == comparable for cell in found.cells.values())


def test_pitfall_10_seeds_are_averaged_and_the_spread_is_shown(tmp_path: Path) -> None:
    found = files.write([write_run(tmp_path / "run", results("sa", seeds=3))], tmp_path / "table")
    cell = found.cells[Key(of("sa"), "WavLM", "development")]
    assert cell.seeds == 3
    assert cell.spread is not None
    assert f"± {cell.spread:.2f} (3)" in shown(found)
    assert f"± {cell.spread:.2f} (3)" in (tmp_path / "table" / "accuracy.md").read_text()
    assert f"$\\pm$ {cell.spread:.2f} (3)" in (tmp_path / "table" / "table1.tex").read_text()
    assert float(rows(tmp_path / "table")["sa", "WavLM", "development"]["spread_percent"]) == cell.spread


def test_pitfall_10_a_single_seed_is_marked(tmp_path: Path) -> None:
    found = files.write([write_run(tmp_path / "run", results("sa"))], tmp_path / "table")
    assert found.cells[Key(of("sa"), "WavLM", "test2")].spread is None
    for text in (shown(found), *(outputs(tmp_path / "table")[name] for name in ("accuracy.md", "accuracy.tex"))):
        assert text.count("(1 seed)") == 3
        assert not re.search(r"(±|pm\$) \d", text)
    row = rows(tmp_path / "table")["sa", "WavLM", "test2"]
    assert (row["seeds"], row["spread_percent"]) == ("1", "")


def test_seeds_of_several_runs_come_together(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"run{seed}", results("sa", first_seed=seed)) for seed in range(2)]
    whole = table.read([write_run(tmp_path / "whole", results("sa", seeds=2))])
    assert table.read(runs).cells == whole.cells


def test_the_mean_is_of_the_papers_four_encoders(tmp_path: Path) -> None:
    encoders = ["microsoft/wavlm-large", "wav2vec2-xlsr", "facebook/wav2vec2-large-lv60", "hubert-large"]
    runs = [
        write_run(tmp_path / str(index), results("sa", seeds=2, first_seed=10 * index), speech=speech)
        for index, speech in enumerate(encoders)
    ]
    assert "Mean" not in table.read(runs[:3]).columns
    found = table.read(runs)
    columns = [found.cells[Key(of("sa"), column, "test1")] for column in published.COLUMNS]
    mean = found.cells[Key(of("sa"), "Mean", "test1")]
    assert mean.ours == pytest.approx(sum(cell.ours for cell in columns) / 4)
    assert mean.spread == pytest.approx(math.hypot(*(cell.spread or math.nan for cell in columns)) / 4)
    assert mean.paper == 36.42
    assert mean.low < mean.ours < mean.high


@pytest.mark.parametrize(
    ("speech", "text", "column"),
    [
        ("microsoft/wavlm-large", "google-bert/bert-large-uncased", "WavLM"),
        ("wavlm-large", None, "WavLM, no text"),
        ("wavlm-large", "roberta-large", "WavLM + roberta-large"),
        ("facebook/data2vec-audio-large", "bert-large-uncased", "facebook/data2vec-audio-large + bert-large-uncased"),
        ("/models/my_wavlm", None, "my_wavlm, no text"),
    ],
)
def test_encoders_have_the_papers_column_or_one_of_their_own(
    tmp_path: Path, speech: str, text: str | None, column: str
) -> None:
    found = files.write([write_run(tmp_path / "run", results("sa"), speech=speech, text=text)], tmp_path / "table")
    cell = found.cells[Key(of("sa"), column, "test1")]
    assert (cell.paper is None) == (column != "WavLM")
    assert column.replace("_", "\\_") in (tmp_path / "table" / "accuracy.tex").read_text()
    assert column in shown(found)


def test_folders_of_one_name_stay_apart(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / name, results("sa"), speech=f"/{name}/encoder", text=None) for name in ("one", "other")
    ]
    assert {"/one/encoder, no text", "/other/encoder, no text"} == set(table.read(runs).columns)


def test_other_mixers_and_splits_follow_the_papers(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", results("mine", splits=("test3", "test1")), parameters={"mine": 1_234_567})
    found = files.write([run], tmp_path / "table")
    assert found.rows == (of("mine"),)
    assert found.splits == ("test1", "test3")
    assert "1.23" in shown(found)
    assert "test3" in (tmp_path / "table" / "accuracy.tex").read_text()


def test_parameters_are_those_behind_each_encoder(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / speech, results("sa"), speech=speech, parameters={"sa": count})
        for speech, count in (("wavlm-large", 20_020_000), ("mine", 19_500_000))
    ]
    found = files.write(runs, tmp_path / "table")
    assert "19.50 to 20.02" not in shown(found, width=120)
    assert all(f" {count} " in shown(found, width=120) for count in ("19.50", "20.02"))
    with (tmp_path / "table" / "accuracy.csv").open(newline="") as file:
        counts = {row["encoder"]: row["parameters"] for row in csv.DictReader(file)}
    assert counts == {"WavLM": "20020000", found.columns[1]: "19500000"}
    assert found.parameters_of("sa", found.columns) == (19_500_000, 20_020_000)


def test_the_terminals_table_fits_80_columns(tmp_path: Path) -> None:
    made = results("sa", "kda", seeds=3, splits=(*SPLITS, "test3"))
    text = shown(table.read([write_run(tmp_path / "run", made)]))
    assert all(name in text for name in ("Dev", "T1", "T2", "test3"))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_a_demonstration_says_so_on_every_output(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "real", results("sa", "kda")),
        write_run(tmp_path / "demo", results("sa", "kda"), speech="/tmp/demo-speech", demo=True),
    ]
    found = files.write(runs, tmp_path / "table")
    texts = outputs(tmp_path / "table")
    assert set(texts) == {f"{name}.{suffix}" for name in ("accuracy", "pairs") for suffix in ("csv", "md", "tex")}
    assert all(row["demonstration"] == "True" for row in rows(tmp_path / "table").values())
    for name, text in texts.items():
        assert name == "accuracy.csv" or DEMONSTRATION in text
    assert DEMONSTRATION in " ".join(shown(found).split())


def test_how_many_utterances_were_left_out_is_told(tmp_path: Path) -> None:
    found = files.write([write_run(tmp_path / "run", results("sa"), left_out=2)], tmp_path / "table")
    for text in (shown(found), (tmp_path / "table" / "accuracy.md").read_text()):
        assert "test1: 200 of 202 utterances, 2 left out" in text


def test_runs_that_were_not_trained_alike_are_said_to_differ(tmp_path: Path) -> None:
    alike: dict[str, Any] = {"epochs": 20, "learning_rate": 1e-4, "utterances": "a" * 64}
    one = write_run(tmp_path / "one", results("sa"), **alike)
    same = write_run(tmp_path / "same", results("kda"), **alike)
    other = write_run(tmp_path / "other", results("fox"), **alike | {"epochs": 3, "utterances": "b" * 64})
    assert not any("NOT ALIKE" in note for note in table.read([one, same]).notes)
    epochs, utterances = [note for note in table.read([one, same, other]).notes if "NOT ALIKE" in note]
    assert "the runs differ in epochs (20 and 3)" in epochs
    assert "in utterances of training or development (aaaaaaaaaaaa and bbbbbbbbbbbb)" in utterances


def test_one_mixer_in_two_implementations_is_told(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / name, results("fox"), implementations={"fox": name}, direction=direction)
        for direction, name in (("causal", "fla"), ("alternating", "triton"))
    ]
    notes = [note for note in table.read(runs).notes if "NOT ALIKE" in note]
    assert notes == [
        "NOT ALIKE: the runs differ in the implementation of fox (fox/fla and fox/triton), not only in their mixers."
    ]


@pytest.mark.parametrize(
    ("field", "values", "said"),
    [
        ("layer", (4, "weighted"), "layer of the speech encoder (4 and weighted)"),
        ("stream_norms", (True, False), "norms of speech and text (trained and none)"),
        ("classifier_layers", (5, 1), "hidden layers of the classifier (5 and 1)"),
        ("class_weights", (False, True), "weights of the classes (equal and by frequency)"),
    ],
)
def test_models_and_losses_that_differ_are_told(tmp_path: Path, field: str, values: tuple[Any, Any], said: str) -> None:
    runs = [
        write_run(tmp_path / mixer, results(mixer), **{field: value})
        for mixer, value in zip(("sa", "kda"), values, strict=True)
    ]
    notes = [note for note in table.read(runs).notes if "NOT ALIKE" in note]
    assert notes == [f"NOT ALIKE: the runs differ in {said}, not only in their mixers."]


def test_other_classes_are_not_compared_with_the_papers(tmp_path: Path) -> None:
    made = draw(truth_seed=0, seed=0, classes=("calm", *EMOTIONS[1:]))
    found = table.read([write_run(tmp_path / "run", {("test1", "sa", 0): made})])
    assert all(cell.paper is None for cell in found.cells.values())
    assert "paper" not in shown(found)


def test_mixers_are_compared_in_pairs_over_the_seeds_that_both_have(tmp_path: Path) -> None:
    made = results("sa", "fox", "kda", seeds=3, splits=("test1",))
    del made["test1", "fox", 2]
    found = files.write([write_run(tmp_path / "run", made)], tmp_path / "table")
    assert [(pair.first, pair.second, pair.seeds) for pair in found.pairs] == [
        (of("sa"), of("fox"), 2),
        (of("sa"), of("kda"), 3),
        (of("fox"), of("kda"), 2),
    ]
    assert found.pairs[1].comparison.verdict == "worse"
    assert "WavLM, T1: SA worse than KDA by" in shown(found)
    assert "of 3 pairs differ at 5%, with Holm's control for 3 comparisons" in shown(found)
    with (tmp_path / "table" / "pairs.csv").open(newline="") as file:
        assert [row["mixer is"] for row in csv.DictReader(file)] == [pair.comparison.verdict for pair in found.pairs]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda run: (run / "run.json").unlink(), "run.json"),
        (lambda run: (run / "run.json").write_text("{"), "run.json"),
        (lambda run: (run / "run.json").write_text("[]"), "run.json"),
        (lambda run: (run / "run.json").write_text('{"version": 2, "preset": "paper"}'), "run.json"),
        (lambda run: (run / "evaluation").rename(run / "elsewhere"), "has no evaluation"),
        (
            lambda run: (run / "evaluation/test1/sa-0.csv").write_text("utterance\n"),
            "^[^ ]*sa-0.csv is damaged in line 1",
        ),
        (
            lambda run: (run / "evaluation/test1/utterances.json").unlink(),
            "utterances.json cannot be read: No such file",
        ),
        (lambda run: (run / "evaluation/test1/utterances.json").write_text("{"), "utterances.json is damaged: "),
        (
            lambda run: (run / "evaluation/test1/utterances.json").write_text(
                json.dumps({"expected": 201, "used": 201, "left_out": []})
            ),
            "has 200 utterances where 201 were evaluated",
        ),
    ],
)
def test_a_damaged_run_is_refused(tmp_path: Path, damage: Callable[[Path], object], what: str) -> None:
    run = write_run(tmp_path / "run", results("sa"))
    damage(run)
    with pytest.raises(UserError, match=what) as refusal:
        files.write([run], tmp_path / "table")
    assert str(run) in str(refusal.value)
    assert refusal.value.hint
    assert not (tmp_path / "table").exists()


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"speech": "hubert-large", "preset": "released"}, "differ in preset: matched and released"),
        ({"speech": "hubert-large", "classes": [*EMOTIONS, "boredom"]}, "differ in classes"),
        ({"speech": "microsoft/wavlm-large"}, "are of the same encoders, mixer, direction, seed and split"),
        ({}, "are of the same encoders, mixer, direction, seed and split"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(tmp_path: Path, fields: dict[str, object], what: str) -> None:
    runs = [
        write_run(tmp_path / "one", results("sa")),
        write_run(tmp_path / "other", results("sa"), **fields),  # type: ignore[arg-type]
    ]
    with pytest.raises(UserError, match=what) as refusal:
        table.read(runs)
    assert str(runs[1]) in str(refusal.value)
    assert refusal.value.hint


def test_a_split_of_other_utterances_is_refused(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "one", results("sa")),
        write_run(tmp_path / "other", results("sa", truth=50), speech="hubert-large"),
    ]
    with pytest.raises(UserError, match="are on different utterances") as refusal:
        table.read(runs)
    assert "same release" in refusal.value.hint


def test_no_runs_make_no_table() -> None:
    with pytest.raises(UserError, match="needs runs"):
        table.read([])


def test_a_table_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", results("sa"))
    (tmp_path / "table").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written into"):
        files.write([run], tmp_path / "table")


def test_development_and_few_speakers_rank_no_mixers(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", results("sa", "kda", splits=("development",)))
    assert table.read([run]).pairs == ()
    few = {("test1", mixer, 0): draw(truth_seed=0, seed=seed, speakers=4) for seed, mixer in enumerate(("sa", "kda"))}
    found = files.write([write_run(tmp_path / "few", few)], tmp_path / "table")
    assert found.pairs == ()
    assert "needs a test of at least 6 speakers" in shown(found, width=120)
    assert not (tmp_path / "table" / "pairs.csv").exists()
    assert "100.00" not in shown(found)


def test_all_pairs_of_a_table_are_controlled_together(tmp_path: Path) -> None:
    names = ("sa", "retnet", "fox", "kda")
    found = table.read([write_run(tmp_path / "run", results(*names, splits=("test1", "test2")))])
    assert len(found.pairs) == 2 * 6
    assert any("12 pairs were compared on tests, over speakers and seeds" in note for note in found.notes)
    assert not any("can tell none" in note for note in found.notes)
    smallest = min(found.pairs, key=lambda pair: pair.comparison.p_speakers).comparison
    assert smallest.p == pytest.approx(min(12 * smallest.p_speakers, 1))


def test_too_few_speakers_for_so_many_pairs_are_said(tmp_path: Path) -> None:
    names = ("sa", "retnet", "fox", "kda")
    drawn = {("test1", each, 0): draw(truth_seed=0, seed=seed, speakers=6) for seed, each in enumerate(names)}
    found = table.read([write_run(tmp_path / "run", drawn)])
    assert len(found.pairs) == 6
    assert "Tests of 6 speakers can tell none of 6 pairs apart" in " ".join(found.notes)
    assert "takes 8 speakers" in " ".join(found.notes)  # 6 x 2 / 2^8 is the first below 5 %
    assert {pair.comparison.verdict for pair in found.pairs} == {"no difference told"}


@pytest.mark.parametrize(
    ("overlap", "said"),
    [
        (None, "NOT CHECKED"),
        ({"treatment": "accept", "utterances": 7}, "NOT INDEPENDENT: 7 utterances of test1"),
        ({"treatment": "leave-out", "utterances": 7}, None),
        ({"treatment": "refuse", "utterances": 0}, None),
    ],
)
def test_what_training_heard_is_said(tmp_path: Path, overlap: object, said: str | None) -> None:
    run = write_run(tmp_path / "run", results("sa", splits=("test1",)), overlap=overlap)
    notes = [note for note in table.read([run]).notes if note.startswith("NOT ")]
    assert [note[: len(said)] for note in notes if said] == ([said] if said else [])
    assert bool(notes) == (said is not None)
