"""The pictures show what the table has: scores against time, learning curves, and what is taken for what."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from bench.accuracy.evaluation.metrics import summarise
from bench.accuracy.run import DIRECTIONS
from bench.reporting.accuracy import (
    confusion,
    learning_curves,
    pictures,
    score_against_length,
    score_against_time,
    table,
)
from bench.reporting.accuracy.confusion import draw_confusions
from bench.reporting.accuracy.evaluations import Row
from bench.reporting.accuracy.pictures import write_pictures
from bench.reporting.accuracy.table import AccuracyTable
from mixers.support.errors import UserError
from tests.accuracy.made_up import EMOTIONS, write_run
from tests.reporting.accuracy.test_costs import timed, write_sweep
from tests.reporting.accuracy.test_table import results

Drawn = dict[str, Figure]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Collect the figures instead of writing them, by the name of their file without an ending."""
    found: Drawn = {}
    for module in (confusion, learning_curves, score_against_length, score_against_time):
        monkeypatch.setattr(module, "save", lambda figure, stem, **_: found.update({stem.name: figure}))
    return found


def write_metrics(run: Path, scores: dict[str, list[float]], *, more: str = "") -> None:
    """Write the development scores of each learner by epoch, among losses."""
    lines = [{"epoch": 0, "step": 10, "loss": dict.fromkeys(scores, 1.9)}]
    for epoch in range(max(map(len, scores.values()))):
        each = {name: values[epoch] for name, values in scores.items() if epoch < len(values)}
        lines.append({"epoch": epoch + 1, "step": 0, "development_macro_f": each})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + more)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def points(figure: Figure, panel: int) -> dict[tuple[object, object], tuple[float, float]]:
    """Return the points of a panel by colour and marker."""
    lines = [line for line in figure.axes[panel].lines if line.get_marker() in ("<", "D", "s", "o")]
    return {(line.get_color(), line.get_marker()): tuple(np.asarray(line.get_xydata())[0]) for line in lines}


def test_pictures_are_written_as_png_and_pdf_and_those_of_an_earlier_table_go(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", results("sa", splits=("development", "test1")), text=None)
    write_metrics(run, {"sa-0": [0.1, 0.2]})
    (tmp_path / "confusion-mine.txt").write_text("not ours")
    sweep = write_sweep(tmp_path / "sweep", *timed("sa/reference"))
    write_pictures(table.read([run], sweeps=[sweep]), tmp_path)
    stems = (
        "learning-curves-WavLM-no-text",
        "confusion-WavLM-no-text-test1",
        "score-against-time-WavLM-no-text-development",
        "score-against-time-WavLM-no-text-test1",
    )
    kept = {"run", "sweep", "confusion-mine.txt"}
    assert names(tmp_path) == kept | {f"{stem}.{ending}" for stem in stems for ending in ("png", "pdf")}
    (run / "metrics.jsonl").unlink()
    write_pictures(table.read([run]), tmp_path)
    assert names(tmp_path) == kept | {f"{stems[1]}.{ending}" for ending in ("png", "pdf")}


def test_scores_stand_against_times_with_a_panel_for_each_length(tmp_path: Path, drawn: Drawn) -> None:
    runs = [write_run(tmp_path / each, results("sa", "kda"), direction=each) for each in ("causal", "both")]
    sweep = write_sweep(
        tmp_path / "sweep",
        *timed("sa/reference", direction="causal"),
        *timed("kda/reference", direction="causal", factor=2),
        *timed("sa/reference", direction="both", factor=3),
    )
    found = table.read(runs, sweeps=[sweep])
    write_pictures(found, tmp_path / "pictures")
    assert {name for name in drawn if name.startswith("score")} == {
        f"score-against-time-WavLM-{split}" for split in ("development", "test1", "test2")
    }
    figure = drawn["score-against-time-WavLM-test1"]
    assert [axes.get_title() for axes in figure.axes] == ["10 s of audio", "100 s of audio"]
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}
    assert legend(figure) == ["SA", "KDA", "causal", "both"]
    title = figure.get_suptitle()
    assert "Up and left is better" in title
    assert "NVIDIA H200 in bfloat16" in title
    assert "Without a time: KDA (both)" in title
    scores = {key.row: cell for key, cell in found.cells.items() if key.split == "test1"}
    for panel, factor in enumerate((1, 10)):
        seen = points(figure, panel)
        assert len(seen) == 3
        by_time = dict(seen.values())
        assert by_time[1 * factor] == pytest.approx(scores[Row("sa", "causal")].ours)
        assert by_time[2 * factor] == pytest.approx(scores[Row("kda", "causal")].ours)
        assert by_time[3 * factor] == pytest.approx(scores[Row("sa", "both")].ours)
        colours = {time: colour for (colour, _), (time, _) in seen.items()}
        markers = {time: marker for (_, marker), (time, _) in seen.items()}
        assert colours[1 * factor] == colours[3 * factor] != colours[2 * factor]
        assert markers[1 * factor] == markers[2 * factor] != markers[3 * factor]
        low, high = figure.axes[panel].get_xlim()
        assert low < factor < 3 * factor < high
        assert figure.axes[panel].get_xticklabels()


def test_tests_of_several_lengths_have_pictures_by_length(tmp_path: Path, drawn: Drawn) -> None:
    lengths = {"test-10s": 10.0, "test-40s": 40.0, "test-100s": 99.9}
    runs = []
    for direction in ("causal", "both"):
        run = write_run(tmp_path / direction, results("sa", "kda", splits=tuple(lengths)), direction=direction)
        for split, seconds in lengths.items():
            path = run / "evaluation" / split / "utterances.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"median_seconds": seconds}))
        runs.append(run)
    sweep = write_sweep(tmp_path / "sweep", *timed("sa/reference", direction="causal"))
    found = table.read(runs, sweeps=[sweep])
    write_pictures(found, tmp_path / "pictures")
    by_length = drawn["score-against-length-WavLM"]
    assert [axes.get_title() for axes in by_length.axes] == ["causal", "both"]
    assert legend(by_length) == ["SA", "KDA"]
    for axes, direction in zip(by_length.axes, ("causal", "both"), strict=True):
        curves = [np.asarray(line.get_xydata()) for line in axes.lines if np.size(line.get_xydata()) == 6]
        cells = {key: cell for key, cell in found.cells.items() if key.row.direction == direction}
        expected = [[cell.ours for key, cell in cells.items() if key.row.mixer == mixer] for mixer in ("sa", "kda")]
        assert [curve[:, 1].tolist() for curve in curves] == expected
        for curve in curves:
            assert curve[:, 0] == pytest.approx([10, 40, 99.9], rel=0.05)
    assert [name for name in drawn if name.startswith("score-against-time")] == ["score-against-time-WavLM"]
    by_time = drawn["score-against-time-WavLM"]
    assert [axes.get_title() for axes in by_time.axes] == ["10 s of audio", "100 s of audio"]
    scores = {key.split: cell for key, cell in found.cells.items() if key.row == Row("sa", "causal")}
    for panel, (time, split) in enumerate(((1, "test-10s"), (10, "test-100s"))):
        assert [*points(by_time, panel).values()] == [pytest.approx((time, scores[split].ours))]


def test_tests_that_differ_in_more_than_length_share_no_picture(tmp_path: Path, drawn: Drawn) -> None:
    lengths = {"test1-10s": 10.0, "test1-40s": 40.0, "test2-10s": 10.0, "test2-40s": 40.0}
    run = write_run(tmp_path / "run", results("sa", splits=tuple(lengths)))
    for split, seconds in lengths.items():
        path = run / "evaluation" / split / "utterances.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"median_seconds": seconds}))
    found = table.read([run])
    write_pictures(found, tmp_path / "pictures")
    scores = {key.split: cell.ours for key, cell in found.cells.items()}
    for test in ("test1", "test2"):
        figure = drawn[f"score-against-length-WavLM-{test}"]
        assert test in figure.get_suptitle()
        (curve,) = (np.asarray(line.get_xydata()) for line in figure.axes[0].lines if np.size(line.get_xydata()) == 4)
        assert curve[:, 1].tolist() == [scores[f"{test}-10s"], scores[f"{test}-40s"]]


@given(low=st.floats(1e-3, 1e3), width=st.floats(1.01, 1e4))
def test_every_panel_has_round_ticks_within_it(low: float, width: float) -> None:
    ticks = score_against_time.round_ticks(low, low * width)
    assert all(low <= tick <= low * width for tick in ticks)
    assert ticks == sorted(set(ticks))
    assert len(ticks) >= 3 or width < 3


def test_learning_curves_are_means_with_bands_over_seeds_and_folds(tmp_path: Path, drawn: Drawn) -> None:
    runs = []
    for direction in ("alternating", "causal"):
        run = write_run(tmp_path / direction, results("kda", "mine", seeds=2), direction=direction)
        write_metrics(
            run,
            {"kda-0": [0.1, 0.2, 0.3], "kda-1": [0.3, 0.4], "mine-0": [0.5] * 3, "mine-1": [0.5] * 3},
            more='[]\n{"epoch": 4, "development_mac',  # cut off by a kill
        )
        runs.append(run)
    runs.append(write_run(tmp_path / "none", results("sa"), direction="both"))
    write_pictures(table.read(runs), tmp_path / "pictures")
    figure = drawn["learning-curves-WavLM"]
    assert [axes.get_title() for axes in figure.axes] == ["causal", "alternating"]
    assert legend(figure) == ["KDA", "mine"]
    for axes in figure.axes:
        kda, mine = axes.lines
        assert np.asarray(kda.get_xydata()) == pytest.approx(np.array([[1, 20], [2, 30]]))
        assert np.asarray(mine.get_xydata()) == pytest.approx(np.array([[1, 50], [2, 50], [3, 50]]))
        assert kda.get_color() != mine.get_color()
        (box,) = axes.collections[0].get_paths()
        assert (box.get_extents().ymin, box.get_extents().ymax) == pytest.approx((10, 40))


def test_confusions_of_all_seeds_are_in_a_grid(tmp_path: Path, drawn: Drawn) -> None:
    runs = [write_run(tmp_path / each, results("sa", "kda", seeds=2), direction=each) for each in ("causal", "both")]
    found = table.read(runs)
    write_pictures(found, tmp_path / "pictures")
    assert set(drawn) == {"confusion-WavLM-test1", "confusion-WavLM-test2"}
    figure = drawn["confusion-WavLM-test1"]
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert list(panels) == ["SA (causal)", "KDA (causal)", "SA (both)", "KDA (both)"]
    made = results("sa", "kda", seeds=2)
    counts = np.sum([summarise(made["test1", "kda", seed]).confusion for seed in range(2)], axis=0)
    painted = np.asarray(panels["KDA (both)"].images[0].get_array())
    assert painted == pytest.approx(counts / counts.sum(1, keepdims=True))
    assert [label.get_text() for label in panels["SA (both)"].get_xticklabels()] == list(EMOTIONS)
    assert panels["KDA (both)"].get_yticklabels() == []
    assert "all seeds and folds together" in figure.get_suptitle()


def test_a_row_without_a_direction_has_its_place(tmp_path: Path, drawn: Drawn) -> None:
    counts = ((3, 1), (0, 0))
    linear: Any = Row("linear", None)  # type: ignore[arg-type]
    rows = [*(Row("sa", each) for each in DIRECTIONS[:2]), linear]
    draw_confusions(dict.fromkeys(rows, counts), tmp_path / "grid", classes=("a", "b"), title="of all")
    draw_confusions({linear: counts}, tmp_path / "alone", classes=("a", "b"), title="of one")
    panels = {name: [axes.get_title() for axes in figure.axes if axes.get_title()] for name, figure in drawn.items()}
    assert panels == {"grid": ["SA (causal)", "linear", "SA (alternating)"], "alone": ["linear"]}
    assert [text.get_text() for text in drawn["alone"].axes[0].texts] == ["75", "25", "-", "-"]


def test_columns_whose_names_look_alike_have_pictures_of_their_own(tmp_path: Path, drawn: Drawn) -> None:
    runs = [
        write_run(tmp_path / name, results("sa", splits=("test1",)), speech=f"/{name}", text=None)
        for name in ("my_encoder", "my-encoder")
    ]
    write_pictures(table.read(runs), tmp_path)
    assert len(drawn) == 2


def test_a_demonstration_says_so(tmp_path: Path, drawn: Drawn) -> None:
    run = write_run(tmp_path / "run", results("sa"), demo=True)
    write_metrics(run, {"sa-0": [0.1]})
    sweep = write_sweep(tmp_path / "sweep", *timed("sa/reference"))
    write_pictures(table.read([run], sweeps=[sweep]), tmp_path)
    assert len(drawn) == 1 + 2 + 3
    assert all("demonstration" in figure.get_suptitle() for figure in drawn.values())


def test_pictures_that_cannot_be_written_are_the_users_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    made: AccuracyTable = table.read([write_run(tmp_path / "run", results("sa"))])
    failing: Callable[..., None] = fail
    monkeypatch.setattr(pictures, "draw_confusions", failing)
    with pytest.raises(UserError, match="No space left on device") as refusal:
        write_pictures(made, tmp_path)
    assert "table was written" in refusal.value.hint
