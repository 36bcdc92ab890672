"""Figures over all settings at once: what each mixer costs in each, and how far it is from the floor."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from bench.efficiency.records import Record
from bench.reporting.efficiency.figure2_panels import NONCONFORMING, RING, UNCONVERGED, WARNING
from bench.reporting.efficiency.overview import CPU_NOTICE, by_setting, distinguish, names_of
from bench.reporting.efficiency.quantities import Quantity, known, main_time, measured, memory, over_the_floor
from bench.reporting.end_labels import PANEL, crowded, label_ends
from bench.reporting.figures import save, set_logarithmic_ticks, sizes_of, style_of

_COLUMNS = 3
_PANEL = (4.2, 3.3)  # inches
_LETTERS = 9  # of the title in an inch


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
    columns = len(quantities) if len(groups) == 1 else 2 if len(groups) in (2, 4) else min(_COLUMNS, len(groups))
    rows_each = math.ceil(len(groups) / columns)
    rows = 1 if len(groups) == 1 else rows_each * len(quantities)
    names = names_of(records)
    panel = PANEL if crowded(len(names)) else _PANEL
    width = panel[0] * columns
    figure = Figure(figsize=(width, panel[1] * rows + 1.0), layout=ConstrainedLayoutEngine(w_pad=0.08))
    FigureCanvasAgg(figure)
    styles = {name: style_of(name, names) for name in names}
    for block, (label, quantity) in enumerate(quantities.items()):
        curves = {}
        first = block + 1 if len(groups) == 1 else block * rows_each * columns + 1
        for number, (setting, alike) in enumerate(groups.items(), start=first):
            axes = figure.add_subplot(rows, columns, number)
            axes.set_title(labels[setting], fontsize="medium")
            axes.set_ylabel(label)
            curves[axes] = draw_curves(axes, alike, names, quantity, every=names)
            axes.set(xscale="log", yscale="log", xlabel="Length of audio (s)")
            if not any(curves[axes].values()):
                axes.set_ylim(1, 10)  # no case has a figure
            if quantity is over_the_floor:
                axes.axhline(1, color="black", linewidth=0.8)
        _share_limits(list(curves))
        for axes, found in curves.items():
            set_logarithmic_ticks(axes, {each.seconds for each in records})
            if crowded(len(names)):
                label_ends(axes, found, {name: str(style["color"]) for name, style in styles.items()})
    entries = [(Line2D([], [], **style), name) for name, style in styles.items()] + marks_of(records)
    figure.suptitle(_title(records, letters=int(_LETTERS * width)), weight="bold")
    handles, texts = zip(*entries, strict=True)
    figure.legend(handles=handles, labels=texts, loc="outside lower center", ncols=min(2 * columns, len(texts)))
    save(figure, stem)


def _title(records: Sequence[Record], *, letters: int) -> str:
    """Return the device, the setting if there is only one, and on a CPU a warning, in lines of so many letters."""
    settings = list(by_setting(records))
    lines = [records[0].device, *(setting.label for setting in settings if len(settings) == 1)]
    lines += [CPU_NOTICE] if records[0].device_type == "cpu" else []
    return "\n".join(textwrap.fill(line, width=letters) for line in lines)


def draw_curves(
    axes: Axes, records: Sequence[Record], names: Sequence[str], quantity: Quantity, *, every: Sequence[str]
) -> dict[str, dict[float, float]]:
    """Draw the curves of some mixers, and rings and warnings around what is marked; return the curves by name.

    Args:
        axes: Of the panel.
        records: Of one setting.
        names: Of the curves.
        quantity: What they show.
        every: The names of all mixers of the figure, which give each its style.
    """
    curves = {
        name: {each.seconds: known(each, quantity) for each in measured(records, name, quantity)} for name in names
    }
    for (name, curve), size in zip(curves.items(), sizes_of(list(curves.values()), marker=4), strict=True):
        axes.plot(list(curve), list(curve.values()), **style_of(name, every), **size)
    drawn = [(each, value) for each in records if each.name in names and (value := quantity(each))]
    rings = [(each.seconds, value) for each, value in drawn if each.converged is False and quantity is not memory]
    warnings = [(each.seconds, value) for each, value in drawn if each.conforms is False]
    for marked, style in ((rings, RING), (warnings, WARNING)):
        if marked:
            axes.plot(*zip(*marked, strict=True), **style)
    axes.grid(alpha=0.3)
    return curves


def marks_of(records: Sequence[Record]) -> list[tuple[Line2D, str]]:
    """Return a handle and a label for each mark that some of the records have."""
    rings = [(Line2D([], [], **RING), UNCONVERGED)] if any(each.converged is False for each in records) else []
    warned = any(each.conforms is False for each in records)
    return rings + ([(Line2D([], [], **WARNING), NONCONFORMING)] if warned else [])


def _share_limits(panels: Sequence[Axes]) -> None:
    for direction in ("x", "y"):
        limits = [getattr(axes, f"get_{direction}lim")() for axes in panels]
        for axes in panels:
            getattr(axes, f"set_{direction}lim")(min(low for low, _ in limits), max(high for _, high in limits))
