import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from bench.efficiency.records import Record
from bench.reporting.efficiency.figure2 import draw_figure2
from bench.reporting.efficiency.grids import draw_overview
from tests.reporting.efficiency.conftest import COSTS, LENGTHS, MakeRecord, gpu_times

Draw = Callable[..., Figure]

BAND = 0.2  # its opacity
FIGURES = ("latency_ms", "latency_ms_p05", "latency_ms_p95", "gpu_ms", "gpu_ms_p05", "gpu_ms_p95", "peak_memory_gib")


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return where every figure goes that is saved."""
    figures: list[Figure] = []
    savefig = Figure.savefig

    def keep(figure: Figure, *arguments: Any, **options: Any) -> None:
        figures.append(figure)
        savefig(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


@pytest.fixture
def draw(saved: list[Figure], tmp_path: Path) -> Draw:
    """Return a function that draws Figure 2 and hands over what went into the picture."""

    def draw(records: Sequence[Record], **options: Any) -> Figure:
        path = tmp_path / "figure2.png"
        draw_figure2(records, tmp_path / "figure2", **options)
        assert matplotlib.image.imread(path).shape[1] in (1500, 1875)  # names beside the panels take room
        return saved[-1]

    return draw


@pytest.fixture
def draw_single_calls(draw: Draw) -> Draw:
    return functools.partial(draw, single_calls=True)


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def notes(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def crosses(axes: Axes) -> dict[object, list[float]]:
    """Return the lengths that are crossed out, by colour."""
    return {line.get_color(): np.asarray(line.get_xdata()).tolist() for line in axes.lines if line.get_marker() == "x"}


def hollow(axes: Axes) -> dict[object, list[float]]:
    """Return the lengths with a hollow marker, by colour."""
    return {
        line.get_color(): np.asarray(line.get_xdata()).tolist()
        for line in axes.lines
        if line.get_markerfacecolor() == "white"
    }


def rings(axes: Axes) -> set[tuple[float, float]]:
    """Return the points with a ring around them."""
    lines = [line for line in axes.lines if line.get_markeredgecolor() == "dimgray"]
    return {(float(x), float(y)) for line in lines for x, y in np.asarray(line.get_xydata())}


def bands(axes: Axes) -> list[set[tuple[float, float]]]:
    """Return the corners of every band, in the order of drawing."""
    areas = [each for each in axes.collections if isinstance(each, PolyCollection) and each.get_alpha() == BAND]
    return [{(x, y) for path in area.get_paths() for x, y in np.asarray(path.vertices).tolist()} for area in areas]


def thin(axes: Axes) -> list[list[float]]:
    """Return the figures of every thin line, in the order of drawing."""
    return [np.asarray(line.get_ydata()).tolist() for line in axes.lines if line.get_linewidth() == 0.9]


def styles(axes: Axes) -> list[tuple[object, object]]:
    curves = [line for line in axes.lines if line.get_linestyle() == "-" and line.get_linewidth() > 1]
    return [(line.get_color(), line.get_marker()) for line in curves]


def test_four_panels_with_units_from_zero(draw: Draw, sweep: Sequence[Record]) -> None:
    figure = draw(sweep)
    assert figure.get_suptitle() == "NVIDIA H200, bfloat16, matched preset, inference"
    assert titles(figure) == [
        "(a) Latency, all mixers",
        "(b) Peak memory, all mixers",
        "(c) Latency, without sa/eager",
        "(d) Peak memory, without sa/eager",
    ]
    assert {axes.get_xlabel() for axes in figure.axes} == {"Length of audio (s)"}
    assert [axes.get_ylabel() for axes in figure.axes] == ["Latency (ms)", "Peak memory (GiB)"] * 2
    assert all(axes.get_xlim()[0] == axes.get_ylim()[0] == 0 for axes in figure.axes)
    assert all(axes.get_xscale() == axes.get_yscale() == "linear" for axes in figure.axes)


def test_a_mixer_looks_the_same_in_all_panels_and_like_no_other(draw: Draw, sweep: Sequence[Record]) -> None:
    every, memory, others, others_memory = map(styles, draw(sweep).axes)
    assert len(set(every)) == 7
    assert every == memory
    assert every[1:] == others == others_memory


def test_where_colours_come_again_the_lower_panels_name_each_curve(draw: Draw, sweep: Sequence[Record]) -> None:
    names = list(dict.fromkeys(record.name for record in sweep))
    few = [each for each in sweep if each.seconds in (10.0, 400.0)]
    more = [dataclasses.replace(each, mixer=f"more_{each.mixer}") for each in few]
    others = {*names, *(f"more_{name}" for name in names)} - {"sa/eager"}
    written = [{text.get_text() for text in axes.texts} for axes in draw([*few, *more]).axes]
    assert written == [set(), set(), others, others]


def test_one_legend_covers_no_panel(draw: Draw, sweep: Sequence[Record]) -> None:
    figure = draw(sweep)
    names = list(dict.fromkeys(record.name for record in sweep))
    assert legend(figure) == [*names, "5th to 95th percentile of one process"]
    box = figure.legends[0].get_window_extent()
    assert not any(box.overlaps(extent) for axes in figure.axes if (extent := axes.get_tightbbox()))
    assert all(axes.get_legend() is None for axes in figure.axes)


@pytest.mark.parametrize("settings", [1, 2, 3])
def test_the_legend_of_an_overview_is_no_wider_than_the_picture(
    saved: list[Figure], tmp_path: Path, make_record: MakeRecord, settings: int
) -> None:
    precisions = ("bfloat16", "tf32", "float32")[:settings]
    records = [make_record(name, s, precision=each) for name in COSTS for s in LENGTHS for each in precisions]
    draw_overview(records, tmp_path / "overview")
    box = saved[-1].legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= saved[-1].bbox.width


@pytest.mark.parametrize("lengths", [(1.0, 2.0, 3.0, 5.0), (0.1, 0.2, 0.4), LENGTHS])
def test_an_overview_of_a_cpu_says_so_and_its_axes_have_enough_ticks(
    saved: list[Figure], tmp_path: Path, make_record: MakeRecord, lengths: Sequence[float]
) -> None:
    records = [
        make_record(f"{mixer}/reference", length, device="EPYC", device_type="cpu", converged=length != lengths[1])
        for mixer in ("sa", "kda")
        for length in lengths
    ]
    draw_overview(records, tmp_path / "overview")
    device, setting, notice = saved[-1].get_suptitle().splitlines()
    assert (device, setting) == ("EPYC", "bfloat16, matched preset, inference")
    assert notice == "Measured on the CPU, in plain PyTorch: no guide to GPU speed"
    time, memory = saved[-1].axes
    assert (time.get_ylabel(), memory.get_ylabel()) == ("Latency (ms)", "Peak memory (GiB)")
    for axes in (time, memory):
        for ticks, (low, high) in ((axes.get_xticks(), axes.get_xlim()), (axes.get_yticks(), axes.get_ylim())):
            assert sum(low <= tick <= high for tick in ticks) >= 3
    assert {x for x, _ in rings(time)} == {lengths[1]}
    assert not rings(memory)
    assert legend(saved[-1])[-1] == "less precise than asked for"
    box = saved[-1].get_tightbbox()
    assert box.x0 >= 0
    assert box.x1 <= saved[-1].get_figwidth()


def test_an_equal_curve_shows_beside_the_one_that_is_drawn_over_it(
    draw: Draw, saved: list[Figure], tmp_path: Path, make_record: MakeRecord
) -> None:
    names = ("sa/eager", "gsa/fla", "kda/fla", "fox/flex")
    figures = {name: (2.0 if name == "fox/flex" else 1.0) for name in names}
    records = [
        make_record(name, each, gpu_ms=figure, peak_memory_gib=figure)
        for name, figure in figures.items()
        for each in LENGTHS
    ]
    figure2 = draw(records)
    draw_overview(records, tmp_path / "overview")
    for axes in (*figure2.axes[:2], *saved[-1].axes):
        widths = [line.get_linewidth() for line in axes.lines if len(np.asarray(line.get_xdata())) == len(LENGTHS)]
        assert widths[0] >= widths[1] + 2 >= widths[2] + 4
        assert widths[2] == widths[3]


def test_two_curves_need_no_second_row(draw: Draw, sweep: Sequence[Record]) -> None:
    figure = draw([record for record in sweep if record.name in ("sa/eager", "kda/fla")])
    assert titles(figure) == ["(a) Latency, all mixers", "(b) Peak memory, all mixers"]
    assert not notes(figure)


def test_cases_without_a_figure_are_crossed_above_the_data(
    draw: Draw, sweep: Sequence[Record], make_record: MakeRecord
) -> None:
    failed = {("sa/eager", 300.0): "oom", ("sa/eager", 400.0): "skipped", ("kda/fla", 400.0): "failed"}
    records = [make_record(r.name, r.seconds, status=failed.get((r.name, r.seconds), "ok")) for r in sweep]
    figure = draw(records)
    every, _, others, _ = figure.axes
    eager, kda = styles(every)[0][0], styles(every)[-1][0]
    assert crosses(every) == {eager: [300.0, 400.0], kda: [400.0]}
    assert crosses(others) == {kda: [400.0]}
    assert legend(figure)[-1] == "no figure: out of memory, skipped, failed"
    for axes in figure.axes:
        heights = [float(y) for line in axes.lines if line.get_marker() == "x" for y in np.asarray(line.get_ydata())]
        assert axes.dataLim.y1 / axes.get_ylim()[1] < min(heights) <= max(heights) < 1


def test_an_unavailable_mixer_is_named_and_not_crossed(draw: Draw, make_record: MakeRecord) -> None:
    figure = draw([make_record("sa/eager"), make_record("gsa/fla"), make_record("kda/fla", status="unavailable")])
    assert "kda/fla (unavailable)" in legend(figure)
    assert not any(crosses(axes) for axes in figure.axes)


def test_a_single_length_is_visible_with_its_spread(draw: Draw, sweep: Sequence[Record]) -> None:
    latency = draw([record for record in sweep if record.seconds == 100.0]).axes[0]
    assert all(np.asarray(line.get_xdata()).tolist() == [100.0] and line.get_marker() for line in latency.lines)
    assert latency.get_xlim()[1] > 100


def test_a_latency_without_a_spread_is_drawn_without_a_band(draw: Draw, make_record: MakeRecord) -> None:
    record = make_record("kda/fla", latency_ms_p05=None, latency_ms_p95=None)
    assert legend(draw([record])) == ["kda/fla"]


def test_single_calls_have_the_gpus_time_beside_them_and_hollow_markers_where_launch_bound(
    draw_single_calls: Draw, gpu_sweep: Sequence[Record]
) -> None:
    figure = draw_single_calls(gpu_sweep, host="AMD EPYC 9654, 16 threads")
    every, memory, others, others_memory = figure.axes
    bound = {
        colour: [record.seconds for record in gpu_sweep if record.name == name and record.launch_bound]
        for name, (colour, _) in zip(COSTS, styles(every), strict=True)
    }
    eager, *_, kda = bound
    assert bound[eager] == [10.0, 25.0]
    assert bound[kda] == list(LENGTHS)
    assert {colour: lengths for colour, lengths in hollow(every).items() if lengths} == bound
    gpu = [[record.gpu_ms for record in gpu_sweep if record.name == name] for name in COSTS]
    assert [line for line in thin(every) if not np.isnan(line).all()] == gpu
    assert [line for line in thin(others) if not np.isnan(line).all()] == gpu[1:]
    assert not any(hollow(axes) or thin(axes) for axes in (memory, others_memory))
    assert legend(figure) == [
        *COSTS, "5th to 95th percentile of one process", "the GPU's own time", "launch-bound"
    ]  # fmt: skip
    assert figure.get_suptitle().splitlines()[1:] == [
        "Single calls from Python: the host's launch overhead is part of the time",
        "Host: AMD EPYC 9654, 16 threads",
    ]
    box = figure.legends[0].get_window_extent()
    assert 0 < box.x0 < box.x1 < figure.bbox.x1


def test_the_host_is_named_only_where_it_is_known(draw_single_calls: Draw, gpu_sweep: Sequence[Record]) -> None:
    assert "Host" not in draw_single_calls(gpu_sweep).get_suptitle()
    assert "launch-bound" not in legend(draw_single_calls([each for each in gpu_sweep if not each.launch_bound]))


def test_single_calls_of_several_processes_have_a_band_from_the_lowest_to_the_highest(
    draw_single_calls: Draw, gpu_sweep: Sequence[Record]
) -> None:
    of_one = draw_single_calls(gpu_sweep)
    assert not bands(of_one.axes[0])
    records = [
        dataclasses.replace(
            each, latency_ms_low=0.5, latency_ms_high=1000.0, processes=4 if each.seconds == 10.0 else 5
        )
        for each in gpu_sweep
    ]
    of_five = draw_single_calls(records)
    assert len(bands(of_five.axes[0])) == len(COSTS)
    assert {y for _, y in bands(of_five.axes[0])[0]} == {0.5, 1000.0}
    assert "lowest to highest of 4 to 5 processes" in legend(of_five)
    assert of_five.axes[2].get_ylim()[1] > 1000


def test_a_few_slow_calls_of_one_process_do_not_flatten_the_curves(
    draw_single_calls: Draw, gpu_sweep: Sequence[Record]
) -> None:
    highest = max(each.latency_ms or 0.0 for each in gpu_sweep)
    records = [dataclasses.replace(each, latency_ms_p95=50 * (each.latency_ms or 0)) for each in gpu_sweep]
    figure = draw_single_calls(records)
    assert highest < figure.axes[0].get_ylim()[1] < 1.5 * highest
    assert notes(figure) == ["longer bars are cut off"] * 2
    assert not notes(draw_single_calls(gpu_sweep))


def test_the_papers_layers_show_the_papers_clock_and_a_zoom_without_softmax_attention(
    draw_single_calls: Draw, gpu_sweep: Sequence[Record]
) -> None:
    records = [dataclasses.replace(each, preset="released", paper_ms=2 * (each.latency_ms or 0)) for each in gpu_sweep]
    figure = draw_single_calls(records)
    assert titles(figure)[2] == "(c) Latency, without sa/eager and sa/sdpa"
    assert len(styles(figure.axes[2])) == len(COSTS) - 2
    assert [each.paper_ms for each in records if each.name == "kda/fla"] in thin(figure.axes[2])
    assert "as the paper timed it" in legend(figure)


def test_a_single_length_shows_the_gpus_time(draw_single_calls: Draw, make_record: MakeRecord) -> None:
    record = make_record("kda/fla", 100.0, **gpu_times("kda/fla", 100.0))
    latency = draw_single_calls([record]).axes[0]
    ticks = [np.asarray(line.get_ydata()).tolist() for line in latency.lines if line.get_marker() == "_"]
    assert [record.gpu_ms] in ticks


def test_a_failure_leaves_a_gap(draw_single_calls: Draw, gpu_sweep: Sequence[Record], make_record: MakeRecord) -> None:
    records = [
        make_record(record.name, record.seconds, status="failed") if record.seconds == 100.0 else record
        for record in gpu_sweep
        if record.name == "kda/fla"
    ]
    figure = draw_single_calls(records)
    [lengths] = hollow(figure.axes[0]).values()
    assert lengths == [length for length in LENGTHS if length != 100.0]
    assert np.isnan(thin(figure.axes[0])[0][LENGTHS.index(100.0)])


def test_the_gpus_time_is_shown_and_who_lacks_it_is_named(draw: Draw, gpu_sweep: Sequence[Record]) -> None:
    figure = draw(gpu_sweep)
    assert titles(figure)[0] == "(a) GPU time, all mixers"
    assert not any(hollow(axes) or thin(axes) for axes in figure.axes)
    drawn = {line.get_color(): np.asarray(line.get_ydata()).tolist() for line in figure.axes[0].lines}
    assert drawn["#000000"] == [record.gpu_ms for record in gpu_sweep if record.name == "sa/eager"]
    partly = [dataclasses.replace(record, gpu_ms=None) if record.mixer == "gsa" else record for record in gpu_sweep]
    assert titles(draw(partly))[0] == "(a) GPU time, all mixers"
    assert "gsa/fla (no GPU time)" in legend(draw(partly))
    none = [dataclasses.replace(record, gpu_ms=None) for record in gpu_sweep]
    assert titles(draw(none))[0] == "(a) Latency, all mixers"


def test_what_did_not_converge_has_a_ring(draw: Draw, gpu_sweep: Sequence[Record]) -> None:
    assert "less precise than asked for" not in legend(draw(gpu_sweep))
    short = [
        dataclasses.replace(each, converged=None if each.seconds > 50 else each.seconds > 10) for each in gpu_sweep
    ]
    figure = draw(short)
    assert rings(figure.axes[0]) == {(10.0, each.gpu_ms) for each in gpu_sweep if each.seconds == 10.0}
    assert not rings(figure.axes[1])
    assert legend(figure)[-1] == "less precise than asked for"
    single_calls = draw(short, single_calls=True)  # another series of samples
    assert not rings(single_calls.axes[0])


def test_on_a_cpu_single_calls_that_did_not_converge_have_a_ring(draw: Draw, make_record: MakeRecord) -> None:
    record = make_record("kda/reference", device_type="cpu", converged=False)
    assert rings(draw([record]).axes[0]) == {(10.0, record.latency_ms)}


def test_nothing_but_the_baseline_gives_a_note_in_place_of_panels(draw: Draw, sweep: Sequence[Record]) -> None:
    figure = draw([record for record in sweep if record.name == "sa/eager"])
    assert len(titles(figure)) == 2
    assert notes(figure) == ["Only sa/eager was measured: nothing to compare it with"]


def test_without_a_baseline_there_is_one_row(draw: Draw, sweep: Sequence[Record]) -> None:
    figure = draw([record for record in sweep if record.name != "sa/eager"])
    assert len(figure.axes) == len(titles(figure)) == 2


@pytest.mark.parametrize("status", ["oom", "skipped", "unavailable", "failed"])
def test_a_sweep_that_failed_throughout_says_so(draw: Draw, make_record: MakeRecord, status: str) -> None:
    figure = draw([make_record(name, status=status) for name in ("kda/fla", "gsa/fla")])
    assert notes(figure) == ["No case gave a figure"] * 2
    assert not any(list(axes.get_yticks()) for axes in figure.axes)


def test_many_failing_mixers_leave_half_the_panel_to_the_data(draw: Draw, make_record: MakeRecord) -> None:
    records = [make_record(f"mixer{number}/fla", status="oom") for number in range(30)]
    latency = draw([*records, make_record("kda/fla")]).axes[0]
    assert len(latency.lines) == 61
    assert 0.4 < latency.dataLim.y1 / latency.get_ylim()[1] < 0.6


def test_figures_of_zero_are_drawn(draw: Draw, make_record: MakeRecord) -> None:
    assert notes(draw([make_record("kda/fla", peak_memory_gib=0.0)])) == []


def test_a_cpu_is_no_gpu(draw: Draw, make_record: MakeRecord) -> None:
    figure = draw([make_record("kda/reference", device="AMD EPYC", device_type="cpu", precision="float32")])
    setting, notice = figure.get_suptitle().splitlines()
    assert setting == "AMD EPYC, float32, matched preset, inference"
    assert notice == "Measured on the CPU, in plain PyTorch: no guide to GPU speed"
    assert not any(hollow(axes) or thin(axes) for axes in figure.axes)


def test_the_same_records_give_the_same_bytes(sweep: Sequence[Record], tmp_path: Path) -> None:
    for name in ("first", "second"):
        draw_figure2(sweep, tmp_path / name, formats=("png", "pdf"))
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"first.{suffix}").read_bytes() == (tmp_path / f"second.{suffix}").read_bytes()


def test_logarithmic_axes_show_every_curve_below_the_crosses(draw: Draw, sweep: Sequence[Record]) -> None:
    longest = max(sweep, key=lambda record: record.seconds)
    lost: dict[str, Any] = dict.fromkeys(FIGURES)
    failed = dataclasses.replace(longest, status="oom", **lost)
    for axes in draw([*(record for record in sweep if record is not longest), failed], log=True).axes:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        low, high = axes.get_ylim()
        curves = [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines if line.get_marker() != "x"]
        assert low <= min(map(np.nanmin, curves)) < max(map(np.nanmax, curves)) < 0.97 * high
        assert sum(low <= tick <= high for tick in axes.get_yticks()) >= 3
