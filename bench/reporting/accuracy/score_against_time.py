"""The score of each row against its GPU time, a panel for each length of audio: what a better score costs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from bench.accuracy.run import DIRECTIONS
from bench.efficiency.records import Record
from bench.reporting.accuracy.costs import Costs
from bench.reporting.accuracy.evaluations import Row
from bench.reporting.accuracy.styles import colour_of, legend_of_mixers, marker_of
from bench.reporting.accuracy.table import Cell
from bench.reporting.accuracy.words import mixer_name
from bench.reporting.figures import save

_COLUMNS = 4
_PANEL = (3.3, 3.0)  # inches
_NARROWEST = 7.0  # inches, for the title
_SAME_LENGTH = 0.02  # how far a length of recordings may be from that of a time, as a share
_AROUND = 1.2  # the least and the greatest time are this factor away from the edges
_STEPS = ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9))  # of ticks, in a decade


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The rows of one encoder at one length of audio: the score of each and what it costs."""

    seconds: float
    points: Mapping[Row, tuple[Cell, Record | None]]


def panels_of_split(cells: Mapping[Row, Cell], costs: Costs, column: str) -> list[Panel]:
    """Return a panel for each length at which times were measured, all with the scores of one split."""
    records = {row: costs.of(row, column) for row in cells}
    return [
        Panel(seconds=seconds, points={row: (cell, records[row][place]) for row, cell in cells.items()})
        for place, seconds in enumerate(costs.seconds)
    ]


def panels_by_length(by_split: Mapping[str, Mapping[Row, Cell]], costs: Costs, column: str) -> list[Panel]:
    """Return a panel for each split of recordings at whose length times were measured, from the shortest."""
    panels: list[Panel] = []
    for cells in by_split.values():
        seconds = next(iter(cells.values())).seconds or 0
        found = panels_of_split(cells, costs, column)
        panels += [each for each in found if math.isclose(each.seconds, seconds, rel_tol=_SAME_LENGTH)]
    return sorted(panels, key=lambda panel: panel.seconds)


def draw_score_against_time(panels: Sequence[Panel], costs: Costs, stem: Path, *, title: str) -> bool:
    """Draw macro-F with its interval over speakers against GPU ms, on a logarithmic axis.

    A row without a time is not drawn. The panels share the axis of the score.

    Args:
        panels: One for each length of audio.
        costs: Where the times are from.
        stem: The path without an ending.
        title: What was scored.

    Returns:
        Whether any row has a time. Otherwise nothing is drawn.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    rows = list(dict.fromkeys(row for panel in panels for row in panel.points))
    panels = [panel for panel in panels if any(record for _, record in panel.points.values())]
    if not panels:
        return False
    count = math.ceil(len(panels) / _COLUMNS)
    columns = math.ceil(len(panels) / count)  # as many in each row
    figure = Figure(
        figsize=(max(_PANEL[0] * columns, _NARROWEST), _PANEL[1] * count + 1.4),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
    )
    FigureCanvasAgg(figure)
    first: Axes | None = None
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(count, columns, number + 1, sharey=first)
        first = first or axes
        axes.tick_params(labelleft=number % columns == 0)
        _draw(axes, panel.points, mixers=[row.mixer for row in rows])
        axes.set_title(f"{panel.seconds:g} s of audio", fontsize="medium")
        if number % columns == 0:
            axes.set_ylabel("Macro-F (%)")
        if number + columns >= len(panels):
            axes.set_xlabel("GPU time (ms)")
    lines = [
        f"{title}: score against time",
        f"Up and left is better: a higher score in less time ({costs.conditions})",
        "Bars: 95 % intervals over speakers",
    ]
    timed = {row for panel in panels for row, (_, record) in panel.points.items() if record}
    without = [_name(row) for row in rows if row not in timed]
    lines += [f"Without a time: {', '.join(without)}"] if without else []
    figure.suptitle("\n".join(lines), fontsize="medium", weight="bold", wrap=True)
    _legend(figure, [row for row in rows if row in timed])
    save(figure, stem)
    return True


def _draw(axes: Axes, points: Mapping[Row, tuple[Cell, Record | None]], *, mixers: Sequence[str]) -> None:
    for row, (cell, record) in points.items():
        if record is None or record.gpu_ms is None:
            continue
        known = (cell.low, cell.high) != (0, 100)  # there were enough speakers for an interval
        axes.errorbar(
            record.gpu_ms,
            cell.ours,
            yerr=[[cell.ours - cell.low], [cell.high - cell.ours]] if known else None,
            color=colour_of(row.mixer, mixers),
            marker=marker_of(row.direction),
            markersize=6,
            elinewidth=0.8,
            alpha=0.85,
        )
    axes.set_xscale("log")
    times = [record.gpu_ms for _, record in points.values() if record and record.gpu_ms]
    low, high = min(times) / _AROUND, max(times) * _AROUND
    ticks = round_ticks(low, high)
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)


def round_ticks(low: float, high: float) -> list[float]:
    """Return round numbers in a range, at least three where the finest steps have so many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in _STEPS:
        ticks = [tick for decade in decades for step in steps if low <= (tick := step * 10.0**decade) <= high]
        if len(ticks) >= 3:
            break
    return ticks


def _legend(figure: Figure, rows: list[Row]) -> None:
    """Put the legend below the panels: colours for mixers, markers for directions."""
    handles, labels = legend_of_mixers(dict.fromkeys(row.mixer for row in rows))
    directions = list(dict.fromkeys(str(row.direction) for row in rows))
    handles += [Line2D([], [], color="gray", marker=marker_of(each), linestyle="none") for each in directions]
    figure.legend(
        handles=handles, labels=[*labels, *directions], loc="outside lower center", ncols=min(len(handles), 6)
    )


def _name(row: Row) -> str:
    return f"{mixer_name(row)} ({row.direction})" if row.direction in DIRECTIONS else mixer_name(row)
