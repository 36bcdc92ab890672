"""Figures over all settings at once: what each mixer costs in each, and how far it is from the floor."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator

from bench.efficiency.records import Record
from bench.reporting.efficiency.overview import by_setting, distinguish, names_of
from bench.reporting.efficiency.quantities import Quantity, main_time, memory, over_the_floor
from bench.reporting.figures import save, style_of

_COLUMNS = 3
_PANEL = (4.2, 3.3)  # inches
_TICKS_S = (1, 2, 5, 10, 25, 50, 100, 200, 400)


def draw_overview(records: Sequence[Record], stem: Path) -> None:
    """Draw GPU time (on a CPU latency) and peak memory over the length in every setting.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    label, time = main_time(records)
    _draw(records, {f"{label[0].upper()}{label[1:]} (ms)": time, "Peak memory (GiB)": memory}, stem)


def draw_floors(records: Sequence[Record], stem: Path) -> None:
    """Draw the ratio of GPU time and floor over the length in every setting.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    _draw(records, {"GPU time / floor": over_the_floor}, stem)


def _draw(records: Sequence[Record], quantities: Mapping[str, Quantity], stem: Path) -> None:
    """Draw a panel for each quantity in each setting. The panels of one quantity share their logarithmic axes."""
    groups = by_setting(records)
    labels = distinguish(groups)
    columns = 2 if len(groups) in (2, 4) else min(_COLUMNS, len(groups))
    rows_each = math.ceil(len(groups) / columns)
    rows = rows_each * len(quantities)
    figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows + 0.8), layout=ConstrainedLayoutEngine(w_pad=0.08))
    FigureCanvasAgg(figure)
    for block, (label, quantity) in enumerate(quantities.items()):
        panels = []
        for number, (setting, alike) in enumerate(groups.items()):
            axes = figure.add_subplot(rows, columns, block * rows_each * columns + number + 1)
            axes.set_title(labels[setting] or setting.label, fontsize="medium")
            axes.set_ylabel(label)
            _curves(axes, alike, names_of(records), quantity)
            if quantity is over_the_floor:
                axes.axhline(1, color="black", linewidth=0.8)
            panels.append(axes)
        _share_limits(panels)
    names = names_of(records)
    styles = [style_of(name, names) for name in names]
    handles = [Line2D([], [], color=colour, marker=marker) for colour, marker in styles]
    figure.suptitle(records[0].device, weight="bold")
    figure.legend(handles=handles, labels=names, loc="outside lower center", ncols=min(2 * columns, len(names)))
    save(figure, stem)


def _curves(axes: Axes, records: Sequence[Record], names: Sequence[str], quantity: Quantity) -> None:
    for name in names:
        colour, marker = style_of(name, names)
        points = sorted((each.seconds, value) for each in records if each.name == name and (value := quantity(each)))
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    lengths = [each.seconds for each in records]
    ticks = [tick for tick in _TICKS_S if min(lengths) <= tick <= max(lengths)]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if quantity is over_the_floor else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    axes.set_xlabel("Length of audio (s)")
    axes.grid(alpha=0.3)


def _share_limits(panels: Sequence[Axes]) -> None:
    for direction in ("x", "y"):
        limits = [getattr(axes, f"get_{direction}lim")() for axes in panels]
        for axes in panels:
            getattr(axes, f"set_{direction}lim")(min(low for low, _ in limits), max(high for _, high in limits))
