"""The paper's Figure 2: time and peak memory over the length of the audio, with and without the baseline.

Drawn with matplotlib's objects on the Agg canvas. Without pyplot, nothing is global.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.efficiency.records import Record
from bench.efficiency.settings import OF_THE_PAPER
from bench.reporting.efficiency import quantities
from bench.reporting.efficiency.figure2_panels import (
    CROSSED,
    GPU_TIME,
    HOLLOW,
    MEMORY,
    NONCONFORMING,
    RING,
    UNCONVERGED,
    WARNING,
    Quantity,
    Series,
    draw_panel,
    latency,
)
from bench.reporting.efficiency.frame import to_frame
from bench.reporting.efficiency.overview import baseline_name, names_of, title_of
from bench.reporting.efficiency.quantities import far_above, has_gpu_time
from bench.reporting.end_labels import crowded
from bench.reporting.figures import save, style_of
from bench.reporting.formats import enumeration


def draw_figure2(
    records: Sequence[Record],
    stem: Path,
    *,
    single_calls: bool = False,
    host: str = "",
    log: bool = False,
    formats: Sequence[str] = ("png",),
) -> None:
    """Draw time and peak memory over the length; the same records give the same bytes.

    The time is the GPU's, which does not depend on the host. It is that of single calls if they are asked for, or if
    no GPU time is known. Beside single calls, thin lines show the GPU's time and, if known, the time as the paper took
    it. Panels (a) and (b) show every mixer, (c) and (d) all but the baseline; of the paper's layers they show no
    softmax attention, as in the paper. With fewer than two others, or without a baseline, there is one row. Where
    colours come again, the lower row names each curve, and leaves out those far above the others.

    Args:
        records: Of one setting.
        stem: The path without an ending.
        single_calls: Whether the time is that of single calls.
        host: The host's processor, which the title of single calls names; empty if it is not known.
        log: Whether the axes are logarithmic.
        formats: The endings.

    Raises:
        OSError: The file cannot be written; the old file is still there.
    """
    series = _series(records)
    baseline = baseline_name(records)
    calls = single_calls or not has_gpu_time(records)
    left_out = _without(records)
    others = [one for one in series if one.name not in left_out and one.available]
    named = crowded(len(others))
    if named:
        shown = [each for each in records if each.name in {one.name for one in others}]
        left_out += far_above(shown, quantities.latency if calls else quantities.gpu_time)
        others = [one for one in others if one.name not in left_out]
    below = (5.5 if named else 4.0) if len(others) > 1 else 0.0 if others else 0.4
    heights = [4.0] if baseline is None or not below else [4.0, below]

    figure = Figure(
        figsize=(12.5 if named else 10, sum(heights) + 1), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    )
    FigureCanvasAgg(figure)
    time = latency(records, single_calls=single_calls) if calls else GPU_TIME
    figure.suptitle("\n".join([title_of(records), *_notes(single_calls, host)]), weight="bold")
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    draw = partial(draw_panel, log=log)
    upper = partial(draw, named=named and len(heights) == 1)
    upper(figure.add_subplot(grid[0, 0]), series, time, title=f"(a) {time.name}, all mixers")
    upper(figure.add_subplot(grid[0, 1]), series, MEMORY, title="(b) Peak memory, all mixers")
    if baseline and len(others) > 1:
        without = f"without {enumeration(left_out)}"
        lower = partial(draw, named=named)
        lower(figure.add_subplot(grid[1, 0]), others, time, title=f"(c) {time.name}, {without}")
        lower(figure.add_subplot(grid[1, 1]), others, MEMORY, title=f"(d) Peak memory, {without}")
    elif baseline and not others:
        axes = figure.add_subplot(grid[1, :])
        axes.set_axis_off()
        axes.text(0.5, 0.5, f"Only {baseline} was measured: nothing to compare it with", ha="center", va="center")
    _legend(figure, series, time, columns=4 if named else 3)
    figure.align_ylabels()
    save(figure, stem, formats=formats)


def _without(records: Sequence[Record]) -> list[str]:
    """Return what panels (c) and (d) leave out: the baseline, and of the paper's layers all softmax attention."""
    papers = records[0].preset == OF_THE_PAPER.preset
    attention = [each.name for each in records if papers and each.mixer == "sa"]
    return list(dict.fromkeys(filter(None, [baseline_name(records), *attention])))


def _notes(single_calls: bool, host: str) -> list[str]:
    notes = ["Single calls from Python: the host's launch overhead is part of the time"] if single_calls else []
    return [*notes, *([f"Host: {host}"] if single_calls and host else [])]


def _series(records: Sequence[Record]) -> list[Series]:
    """Return the mixers/implementations in the order of first appearance, each with a colour and a marker."""
    frame = to_frame(records).sort_values("seconds", kind="stable")
    names, every = frame["mixer"] + "/" + frame["implementation"], names_of(records)
    return [
        Series(
            name=name,
            rows=frame[names == name],
            style=style_of(name, every),
        )
        for name in every
    ]


def _legend(figure: Figure, series: Sequence[Series], time: Quantity, *, columns: int) -> None:
    """Put one legend below all panels. It explains the band, the lines and the marks if there are any."""
    entries: list[tuple[Artist, str]] = [(Line2D([], [], **one.style), one.label(time)) for one in series]
    if time.spread and any(one.rows[time.spread[0]].notna().any() for one in series):
        entries.append((Patch(color="gray", alpha=0.3, linewidth=0), time.spread_label))
    entries += [
        (Line2D([], [], color="gray", linestyle=line.style, linewidth=0.9), line.label)
        for line in time.beside
        if any(one.rows[line.column].notna().any() for one in series)
    ]
    if time.beside and any(one.launch_bound.any() for one in series):
        entries.append((Line2D([], [], color="gray", marker="o", **HOLLOW), "launch-bound"))
    if time.rings and any((one.unconverged & one.rows[time.column].notna()).any() for one in series):
        entries.append((Line2D([], [], **RING), UNCONVERGED))
    if any((one.nonconforming & (one.rows["status"] == "ok")).any() for one in series):
        entries.append((Line2D([], [], **WARNING), NONCONFORMING))
    crossed = pd.concat([one.crossed(quantity)["status"] for one in series for quantity in (time, MEMORY)])
    if len(crossed):
        reasons = ", ".join(text for status, text in CROSSED.items() if status in set(crossed))
        cross = Line2D([], [], color="gray", marker="x", markeredgewidth=2, linestyle="none")
        entries.append((cross, f"no figure: {reasons}"))
    handles, labels = zip(*entries, strict=True)
    figure.legend(handles=handles, labels=labels, loc="outside lower center", ncols=columns)
