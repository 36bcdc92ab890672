"""What one panel of Figure 2 shows: a quantity over the length, with its spread, its marks and its gaps."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from bench.efficiency.records import Record
from bench.reporting.end_labels import label_ends
from bench.reporting.figures import set_logarithmic_ticks, sizes_of
from bench.reporting.formats import span

# Cases without a figure that get a cross. An unavailable mixer is named in the legend instead.
CROSSED = {"oom": "out of memory", "skipped": "skipped", "failed": "failed"}

# Fractions of the panel's height: the margin above the data, and the largest height of the crosses above the margin.
_MARGIN = 0.05
_CROSSES = 0.5

# The largest height of a panel over its highest median. Above that, the spread within one process is cut off: a few of
# its calls take ten times as long, and the curves would be flat.
_HEADROOM = 1.25

UNCONVERGED = "less precise than asked for"
NONCONFORMING = "differs from its reference"

HOLLOW: dict[str, Any] = {"linestyle": "none", "markersize": 5, "markerfacecolor": "white"}
RING: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 11,
    "markerfacecolor": "none",
    "markeredgecolor": "dimgray",
    "markeredgewidth": 1.1,
}

WARNING: dict[str, Any] = RING | {"marker": "D", "markeredgecolor": "red", "markeredgewidth": 1.5}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A second time of the same calls, drawn as a thin line without markers, except where there is only one length."""

    column: str
    label: str
    style: Any


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What a panel shows: a column of the records, the columns of its spread, and other times beside it.

    Attributes:
        name, label: What the title and the axis call it.
        column: The curve.
        spread: The columns of its spread, which is drawn as bars; None without one.
        spread_label: What the spread is.
        banded: Whether the bars are joined to a band.
        beside: Other times of the same calls. If there are any, launch-bound calls have a hollow marker.
        rings: Whether a ring marks what did not converge.
    """

    name: str
    label: str
    column: str
    spread: tuple[str, str] | None = None
    spread_label: str = ""
    banded: bool = True
    beside: tuple[Line, ...] = ()
    rings: bool = False


GPU_TIME = Quantity(
    name="GPU time",
    label="GPU time (ms)",
    column="gpu_ms",
    spread=("gpu_ms_p05", "gpu_ms_p95"),
    spread_label="5th to 95th percentile",
    rings=True,
)
MEMORY = Quantity(name="Peak memory", label="Peak memory (GiB)", column="peak_memory_gib")

_BESIDE_CALLS = (
    Line(column="gpu_ms", label="the GPU's own time", style=(0, (4, 2))),
    Line(column="paper_ms", label="as the paper timed it", style=(0, (1, 1.5))),
)


def latency(records: Sequence[Record], *, single_calls: bool) -> Quantity:
    """Return single calls with their spread: between processes if several timed them, otherwise within the one.

    In one process a few slow calls at one length say nothing of the next, so their bars are not joined.
    """
    counts = [record.processes for record in records if record.latency_ms_low is not None]
    within = "5th to 95th percentile of one process"
    return Quantity(
        name="Latency",
        label="Latency (ms)",
        column="latency_ms",
        spread=("latency_ms_low", "latency_ms_high") if counts else ("latency_ms_p05", "latency_ms_p95"),
        spread_label=f"lowest to highest of {span(counts, str)} processes" if counts else within,
        banded=bool(counts),
        beside=_BESIDE_CALLS if single_calls else (),
        rings=not single_calls,
    )


@dataclass(frozen=True, kw_only=True)
class Series:
    """One mixer/implementation: its rows in the order of length, and how every panel draws it."""

    name: str
    rows: pd.DataFrame
    style: Mapping[str, Any]

    @property
    def colour(self) -> str:
        """The colour of its curve."""
        return str(self.style["color"])

    @property
    def available(self) -> bool:
        return bool((self.rows["status"] != "unavailable").any())

    def label(self, time: Quantity) -> str:
        """Return its name, and why it has no curve of the time."""
        if not self.available:
            return f"{self.name} (unavailable)"
        measured = self.rows[self.rows["status"] == "ok"]
        lacks_time = len(measured) > 0 and bool(measured[time.column].isna().all())
        return f"{self.name} (no {time.name})" if lacks_time else self.name

    @property
    def launch_bound(self) -> "pd.Series[bool]":
        """Which rows are known to be launch-bound."""
        return self.rows["launch_bound"].fillna(False).astype(bool)

    @property
    def unconverged(self) -> "pd.Series[bool]":
        """Which rows are known to be less precise than the stopping rule asks for."""
        return ~self.rows["converged"].fillna(True).astype(bool)

    @property
    def nonconforming(self) -> "pd.Series[bool]":
        """Which rows are known to differ from the reference."""
        return ~self.rows["conforms"].fillna(True).astype(bool)

    def curve(self, quantity: Quantity) -> dict[float, float]:
        """Return its figures by length."""
        figures = self.rows.dropna(subset=[quantity.column])
        return dict(zip(map(float, figures["seconds"]), map(float, figures[quantity.column]), strict=True))

    def crossed(self, quantity: Quantity) -> pd.DataFrame:
        """Return the rows that have no figure and get a cross for it."""
        return self.rows[self.rows["status"].isin(list(CROSSED)) & self.rows[quantity.column].isna()]


def draw_panel(
    axes: Axes, series: Sequence[Series], quantity: Quantity, *, title: str, log: bool = False, named: bool = False
) -> None:
    """Draw one quantity over the length, on linear axes from zero or on logarithmic ones, perhaps with names beside."""
    _draw_panel(axes, series, quantity, title=title, log=log)
    if named:
        label_ends(axes, {one.name: one.curve(quantity) for one in series}, {one.name: one.colour for one in series})


def _draw_panel(axes: Axes, series: Sequence[Series], quantity: Quantity, *, title: str, log: bool) -> None:
    sizes = sizes_of([one.curve(quantity) for one in series], marker=5)
    for one, size in zip(series, sizes, strict=True):
        seconds, values = one.rows["seconds"], one.rows[quantity.column]
        axes.plot(seconds, values, **one.style, **size)
        if quantity.spread:
            _spread(axes, one, *quantity.spread, banded=quantity.banded)
        if quantity.beside:
            _other_times(axes, one, quantity)
        if quantity.rings and one.unconverged.any():
            axes.plot(seconds[one.unconverged], values[one.unconverged], **RING)
        if one.nonconforming.any():
            axes.plot(seconds[one.nonconforming], values[one.nonconforming], **WARNING)
    covered = _crosses(axes, series, quantity)

    axes.set_title(title)
    axes.set_xlabel("Length of audio (s)")
    axes.set_ylabel(quantity.label)
    axes.grid(alpha=0.3)
    if log and math.isfinite(axes.dataLim.y1):
        _make_logarithmic(axes, lengths={each for one in series for each in one.rows["seconds"]}, covered=covered)
        return
    axes.set_xlim(0, 1.04 * max(one.rows["seconds"].max() for one in series))
    highest = axes.dataLim.y1
    limit = _HEADROOM * max(one.rows[_curves(quantity)].max().max() for one in series)
    if quantity.spread and not quantity.banded and highest > limit:
        highest = limit
        note, top = "longer bars are cut off", 0.97 - covered
        axes.text(0.98, top, note, transform=axes.transAxes, ha="right", va="top", fontsize="small")
    if math.isfinite(highest):
        axes.set_ylim(0, (highest or 1.0) / (1 - covered - _MARGIN))
    else:
        axes.set_yticks([])
        axes.text(0.5, (1 - covered) / 2, "No case gave a figure", transform=axes.transAxes, ha="center", va="center")


def _make_logarithmic(axes: Axes, *, lengths: Collection[float], covered: float) -> None:
    """Make both axes logarithmic, with room for the crosses at the top."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, low * (high / low) ** (1 / (1 - covered)))
    set_logarithmic_ticks(axes, lengths)


def _curves(quantity: Quantity) -> list[str]:
    return [quantity.column, *(line.column for line in quantity.beside)]


def _spread(axes: Axes, one: Series, low: str, high: str, *, banded: bool) -> None:
    """Draw the spread of a series as bars, and as a band between them; a length without neighbours has only a bar."""
    seconds, lower, upper = one.rows["seconds"], one.rows[low], one.rows[high]
    if banded:
        axes.fill_between(seconds, lower, upper, color=one.colour, alpha=0.2, linewidth=0, zorder=1)
    axes.vlines(seconds, lower, upper, color=one.colour, alpha=0.3, linewidth=3, zorder=1)


def _other_times(axes: Axes, one: Series, quantity: Quantity) -> None:
    """Draw the other times of the same calls, and make the markers of launch-bound calls hollow."""
    rows, bound = one.rows, one.rows[one.launch_bound]
    axes.plot(bound["seconds"], bound[quantity.column], **{**one.style, **HOLLOW})
    marker = "_" if len(rows) == 1 else ""
    for line in quantity.beside:
        axes.plot(
            rows["seconds"], rows[line.column], color=one.colour, linestyle=line.style, linewidth=0.9, marker=marker
        )


def _crosses(axes: Axes, series: Sequence[Series], quantity: Quantity) -> float:
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
