"""A figure that sets the directions side by side: what each mixer costs if a frame may see more or less."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from bench.efficiency.records import Record
from bench.efficiency.settings import WIDTH
from bench.reporting.efficiency.grids import draw_curves, marks_of
from bench.reporting.efficiency.overview import BASELINES, CPU_NOTICE, by_setting, names_of
from bench.reporting.efficiency.quantities import far_above, main_time
from bench.reporting.end_labels import PANEL, crowded, label_ends
from bench.reporting.figures import save, style_of
from bench.reporting.formats import enumeration

_TITLES = {
    "causal": "causal: no frame sees a later one",
    "alternating": "alternating: blocks take turns in time",
    "both": "both: each block in both directions",
    "paper": "paper: attention sees the clip,\nthe others the past",
}
_PANEL = (4.2, 3.6)  # inches


def can_be_drawn(records: Sequence[Record]) -> bool:
    """Tell whether the records have several directions and agree in all else but the pass."""
    directions = {each.direction for each in records}
    rest = {dataclasses.replace(each.setting, direction="", pass_="") for each in records}
    return len(directions) > 1 and len(rest) == 1


def draw_directions(records: Sequence[Record], stem: Path) -> None:
    """Draw the time over the length, a column for each direction and a row for each pass, without the baseline.

    The panels of a row share their linear axes. With many curves, those far above the others are left out too.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    label, time = main_time(records)
    directions = [each for each in _TITLES if each in {record.direction for record in records}]
    passes = list(dict.fromkeys(record.pass_ for record in records))
    every = names_of(records)
    names = [name for name in every if name not in BASELINES] or every
    named = crowded(len(names))
    left_out = [name for name in every if name not in names]
    if named:
        panels = by_setting([each for each in records if each.name in names]).values()
        high = {name for panel in panels for name in far_above(panel, time)}
        left_out += [name for name in names if name in high]
        names = [name for name in names if name not in high]
    width, height = PANEL if named else _PANEL
    size = (width * len(directions), height * len(passes) + 1)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(passes), len(directions), squeeze=False, sharex=True, sharey="row")
    curves = {}
    for row, pass_ in enumerate(passes):
        for column, direction in enumerate(directions):
            alike = [each for each in records if (each.pass_, each.direction) == (pass_, direction)]
            axes = grid[row, column]
            curves[axes] = draw_curves(axes, alike, names, time, every=every)
            axes.set_title(_TITLES[direction] if row == 0 else "", fontsize="medium")
        grid[row, 0].set_ylabel(f"{pass_}: {label} (ms)")
        grid[row, 0].set(xlim=(0, None), ylim=(0, None))  # and so of the whole row
    for axes in grid[-1]:
        axes.set_xlabel("Length of audio (s)")
    styles = {name: style_of(name, every) for name in names}
    if named:
        for axes, found in curves.items():
            label_ends(axes, found, {name: str(style["color"]) for name, style in styles.items()})
    shown = [each for each in records if each.name in names]
    entries = [(Line2D([], [], **style), name) for name, style in styles.items()] + marks_of(shown)
    first = records[0]
    notice = f"\n{CPU_NOTICE}" if first.device_type == "cpu" else ""
    notice += f"\nwithout {enumeration(left_out)}" if left_out else ""
    about = [first.device, first.precision, f"{first.preset} preset"]
    about += [] if first.width == WIDTH else [f"width {first.width}"]
    about += [] if first.heads is None else [f"{first.heads} heads"]
    about += [] if first.batch == 1 else [f"batch {first.batch}"]
    figure.suptitle(f"{', '.join(about)}{notice}", weight="bold")
    handles, labels = zip(*entries, strict=True)
    columns = 2 * len(directions) + 1 if named else len(labels)
    figure.legend(handles=handles, labels=labels, loc="outside lower center", ncols=columns)
    save(figure, stem)
