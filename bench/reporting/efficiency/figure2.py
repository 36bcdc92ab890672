"""The paper's Figure 2: latency and peak memory over the length of the audio, with and without the baseline.

Drawn with matplotlib's objects on the Agg canvas. Without pyplot, nothing is global.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.efficiency.records import Record
from bench.reporting.efficiency.frame import to_frame
from bench.reporting.efficiency.overview import baseline_name, names_of, title_of
from bench.reporting.figures import save, style_of

# Cases without a figure that get a cross. An unavailable mixer is named in the legend instead.
_CROSSED = {"oom": "out of memory", "skipped": "skipped", "failed": "failed"}

# Fractions of the panel's height: the margin above the data, and the largest height of the crosses above the margin.
_MARGIN = 0.05
_CROSSES = 0.5

# Launch-bound cases. At short lengths all mixers are launch-bound and their regions overlap. So the regions are light,
# and each ends at a line. The line's markers show the GPU time if there is only one length.
_HOLLOW: dict[str, Any] = {"linestyle": "none", "markersize": 5, "markerfacecolor": "white"}
_SHADE: dict[str, Any] = {"alpha": 0.1, "linewidth": 0, "zorder": 1}
_GPU_LINE: dict[str, Any] = {"linestyle": (0, (2, 1.5)), "linewidth": 0.9, "marker": "_", "markersize": 4}


@dataclass(frozen=True, kw_only=True)
class _Quantity:
    """What a panel shows: a column of the records, and the columns of its spread and of its GPU time if it has them."""

    name: str
    label: str
    column: str
    spread: tuple[str, str] | None = None
    gpu: str | None = None


_GPU_TIME = _Quantity(name="GPU time", label="GPU time (ms)", column="gpu_ms", spread=("gpu_ms_p05", "gpu_ms_p95"))
_LATENCY = _Quantity(
    name="Latency", label="Latency (ms)", column="latency_ms", spread=("latency_ms_p05", "latency_ms_p95"), gpu="gpu_ms"
)
_MEMORY = _Quantity(name="Peak memory", label="Peak memory (GiB)", column="peak_memory_gib")


@dataclass(frozen=True, kw_only=True)
class _Series:
    """One mixer/implementation: its rows in the order of length, and how every panel draws it."""

    name: str
    rows: pd.DataFrame
    colour: str
    marker: str

    @property
    def available(self) -> bool:
        return bool((self.rows["status"] != "unavailable").any())

    @property
    def label(self) -> str:
        return self.name if self.available else f"{self.name} (unavailable)"

    @property
    def launch_bound(self) -> "pd.Series[bool]":
        """Which rows are known to be launch-bound."""
        return self.rows["launch_bound"].fillna(False).astype(bool)

    @property
    def shaded(self) -> "pd.Series[bool]":
        """Which rows lie in or at the end of a shaded region: the launch-bound rows and their neighbours."""
        return _with_neighbours(self.launch_bound)

    def crossed(self, quantity: _Quantity) -> pd.DataFrame:
        """Return the rows that have no figure and get a cross for it."""
        return self.rows[self.rows["status"].isin(list(_CROSSED)) & self.rows[quantity.column].isna()]


def _with_neighbours(rows: "pd.Series[bool]") -> "pd.Series[bool]":
    return rows | rows.shift(1, fill_value=False) | rows.shift(-1, fill_value=False)


def has_gpu_time(records: Sequence[Record]) -> bool:
    """Tell whether the GPU's time is known for every case that was measured."""
    measured = [record for record in records if record.status == "ok"]
    return bool(measured) and all(record.gpu_ms for record in measured)


def draw_figure2(
    records: Sequence[Record], stem: Path, *, single_calls: bool = False, formats: Sequence[str] = ("png",)
) -> None:
    """Draw time and peak memory over the length; the same records give the same bytes.

    The time is the GPU's, which does not depend on the host. It is that of single calls if they are asked for, or if
    the GPU's time is not known for every case. Panels (a) and (b) show every mixer, (c) and (d) all but the baseline.
    Without a baseline there is one row. A single call that is launch-bound has a hollow marker, and a shade reaches
    from the curve down to the GPU time.

    Raises:
        OSError: The file cannot be written; the old file is still there.
    """
    series = _series(records)
    baseline = baseline_name(records)
    others = [one for one in series if one.name != baseline and one.available]
    heights = [4.0] if baseline is None else [4.0, 4.0 if others else 0.4]

    figure = Figure(figsize=(10, sum(heights) + 1), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    FigureCanvasAgg(figure)
    time = _LATENCY if single_calls or not has_gpu_time(records) else _GPU_TIME
    note = "\nSingle calls from Python: the host's launch overhead is part of the time" if single_calls else ""
    figure.suptitle(f"{title_of(records)}{note}", weight="bold")
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    _panel(figure.add_subplot(grid[0, 0]), series, time, title=f"(a) {time.name}, all mixers")
    _panel(figure.add_subplot(grid[0, 1]), series, _MEMORY, title="(b) Peak memory, all mixers")
    if baseline and others:
        _panel(figure.add_subplot(grid[1, 0]), others, time, title=f"(c) {time.name}, without {baseline}")
        _panel(figure.add_subplot(grid[1, 1]), others, _MEMORY, title=f"(d) Peak memory, without {baseline}")
    elif baseline:
        axes = figure.add_subplot(grid[1, :])
        axes.set_axis_off()
        axes.text(0.5, 0.5, f"Only {baseline} was measured: nothing to compare it with", ha="center", va="center")
    _legend(figure, series, time)
    figure.align_ylabels()
    save(figure, stem, formats=formats)


def _series(records: Sequence[Record]) -> list[_Series]:
    """Return the mixers/implementations in the order of first appearance, each with a colour and a marker."""
    frame = to_frame(records).sort_values("seconds", kind="stable")
    names, every = frame["mixer"] + "/" + frame["implementation"], names_of(records)
    return [
        _Series(
            name=name,
            rows=frame[names == name],
            colour=style_of(name, every)[0],
            marker=style_of(name, every)[1],
        )
        for name in every
    ]


def _panel(axes: Axes, series: Sequence[_Series], quantity: _Quantity, *, title: str) -> None:
    """Draw one quantity over the length on linear axes from zero."""
    for one in series:
        axes.plot(one.rows["seconds"], one.rows[quantity.column], color=one.colour, marker=one.marker, markersize=5)
        if quantity.spread:
            _spread(axes, one, *quantity.spread, shaded=quantity.gpu is not None)
        if quantity.gpu:
            _launch_bound(axes, one, quantity.column, quantity.gpu)
    covered = _crosses(axes, series, quantity)

    axes.set_title(title)
    axes.set_xlabel("Length of audio (s)")
    axes.set_ylabel(quantity.label)
    axes.grid(alpha=0.3)
    axes.set_xlim(0, 1.04 * max(one.rows["seconds"].max() for one in series))
    highest = axes.dataLim.y1
    if math.isfinite(highest):
        axes.set_ylim(0, (highest or 1.0) / (1 - covered - _MARGIN))
    else:
        axes.set_yticks([])
        axes.text(0.5, (1 - covered) / 2, "No case gave a figure", transform=axes.transAxes, ha="center", va="center")


def _spread(axes: Axes, one: _Series, low: str, high: str, *, shaded: bool) -> None:
    """Draw the spread of a series as bars, and between them as a band, except where a launch-bound region is shaded.

    In that region a second shade of the same colour would hide the ends of both. A length without neighbours has no
    band, so its spread shows as a bar.
    """
    seconds, lower, upper = one.rows["seconds"], one.rows[low], one.rows[high]
    banded = _with_neighbours(~one.shaded) if shaded else None
    axes.fill_between(seconds, lower, upper, where=banded, color=one.colour, alpha=0.2, linewidth=0, zorder=1)
    axes.vlines(seconds, lower, upper, color=one.colour, alpha=0.3, linewidth=3, zorder=1)


def _launch_bound(axes: Axes, one: _Series, column: str, gpu: str) -> None:
    """Make the markers of the launch-bound cases hollow, and shade from the curve down to the GPU time."""
    rows, bound = one.rows, one.rows[one.launch_bound]
    if bound.empty:
        return
    axes.plot(bound["seconds"], bound[column], color=one.colour, marker=one.marker, **_HOLLOW)
    axes.fill_between(rows["seconds"], rows[gpu], rows[column], where=one.shaded, color=one.colour, **_SHADE)
    axes.plot(rows["seconds"], rows[gpu].where(one.shaded), color=one.colour, **_GPU_LINE)


def _crosses(axes: Axes, series: Sequence[_Series], quantity: _Quantity) -> float:
    """Mark the cases without a figure along the top edge and return the fraction of the panel that this covers.

    Each mixer has its own line, so no cross hides another.
    """
    crossed = [(one, rows["seconds"]) for one in series if len(rows := one.crossed(quantity))]
    spacing = min(_MARGIN, _CROSSES / max(1, len(crossed)))
    for line, (one, seconds) in enumerate(crossed):
        axes.plot(
            seconds,
            [1 - (line + 0.7) * spacing] * len(seconds),
            transform=axes.get_xaxis_transform(),  # x is the length, y a fraction of the height
            color=one.colour,
            marker="x",
            markeredgewidth=2,
            linestyle="none",
        )
    return len(crossed) * spacing


def _legend(figure: Figure, series: Sequence[_Series], time: _Quantity) -> None:
    """Put one legend below all panels. It explains the band, the shade and the crosses if there are any."""
    entries: list[tuple[Artist | tuple[Artist, ...], str]] = [
        (Line2D([], [], color=one.colour, marker=one.marker), one.label) for one in series
    ]
    if time.spread and any(one.rows[time.spread[0]].notna().any() for one in series):
        entries.append((Patch(color="gray", alpha=0.3, linewidth=0), "5th to 95th percentile"))
    if time.gpu and any(one.launch_bound.any() for one in series):
        shade = Patch(color="gray", alpha=0.2, linewidth=0)
        hollow = Line2D([], [], color="gray", marker="o", **_HOLLOW)
        entries.append(((shade, hollow), "launch-bound (hollow): shaded down to the GPU's own time"))
    crossed = pd.concat([one.crossed(quantity)["status"] for one in series for quantity in (time, _MEMORY)])
    if len(crossed):
        reasons = ", ".join(text for status, text in _CROSSED.items() if status in set(crossed))
        cross = Line2D([], [], color="gray", marker="x", markeredgewidth=2, linestyle="none")
        entries.append((cross, f"no figure: {reasons}"))
    handles, labels = zip(*entries, strict=True)
    figure.legend(handles=handles, labels=labels, loc="outside lower center", ncols=3)
