"""What all figures share: how they are written, logarithmic axes, and the colour, marker and size of each curve."""

import io
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from PIL import Image

from bench.files import write_atomically
from bench.reporting import published

_DPI = 150

# The palette of Okabe and Ito for colour-blind readers, without yellow, which is too faint on white.
COLOURS = ("#000000", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

# Nearer curves cannot be told apart in a panel.
_ALIKE = 0.02

_TICKS_S = (1, 2, 5, 10, 25, 50, 100, 200, 400)
_STEPS = ((1,), (1, 2, 5), tuple(range(1, 10)))  # of the ticks in a decade, the fewest first
_FEWEST_TICKS = 3

# Eleven markers and seven colours give 77 different pairs. No crosses: they mark cases without a figure.
_MARKERS = ("o", "s", "^", "D", "v", "P", "<", "*", ">", "h", "p")
_LINES = ("-", "--", ":")


def save(figure: Figure, stem: Path, *, formats: Sequence[str] = ("png", "pdf")) -> None:
    """Write a figure in each format; the same figure gives the same bytes.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    for name in formats:
        buffer = io.BytesIO()
        if name == "png":
            figure.savefig(buffer, format=name, dpi=_DPI, pil_kwargs={"compress_level": 0})
            buffer = _with_palette(buffer)
        else:
            figure.savefig(buffer, format=name, dpi=_DPI, metadata={"CreationDate": None} if name == "pdf" else None)
        write_atomically(stem.with_name(f"{stem.name}.{name}"), buffer.getvalue())
        figure.set_layout_engine("none")  # the layout is done, and the next format must be the same


def _with_palette(png: io.BytesIO) -> io.BytesIO:
    """Return a picture with 256 colours, which takes a third of the space. Only the edges of curves have more."""
    palette = io.BytesIO()
    picture = Image.open(png).convert("RGB")
    picture.quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(palette, "png")
    return palette


def row_of_panels(
    count: int, *, panel: tuple[float, float], narrowest: float, around: float
) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels side by side, which share both axes.

    Args:
        count: The number of panels.
        panel: Width and height of each, in inches.
        narrowest: The least width of the figure, in inches.
        around: Height for title and legend, in inches.
    """
    width, height = panel
    figure = Figure(
        figsize=(max(width * count, narrowest), height + around),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
    )
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, count, squeeze=False, sharex=True, sharey=True)[0])


def style_of(name: str, names: Sequence[str]) -> dict[str, Any]:
    """Return colour, marker and line of one of several mixers or implementations.

    The paper's mixers come first, so that they look the same beside others. Where colours come again, lines are dashed.
    """
    index = sorted(names, key=lambda each: each.partition("/")[0] not in published.MIXERS).index(name)
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _LINES[min(index // len(COLOURS), len(_LINES) - 1)],
    }


def sizes_of(curves: Sequence[Mapping[float, float]], *, marker: float) -> list[dict[str, Any]]:
    """Return the width and the marker size of each of several curves, which are drawn in their order.

    A curve is the wider the more later ones run over it, so that none hides another.

    Args:
        curves: The value of each at its lengths.
        marker: The usual marker size.
    """
    covers = [sum(_alike(curve, later) for later in curves[number:]) for number, curve in enumerate(curves, start=1)]
    return [{"linewidth": 1.5 + 2.5 * each, "markersize": marker + 3.5 * each} for each in covers]


def set_logarithmic_ticks(axes: Axes, lengths: Collection[float]) -> None:
    """Label at least three values on each logarithmic axis, where there is room."""
    axes.set_xticks(ticks_of(lengths))
    low, high = axes.get_ylim()
    locators = [*(LogLocator(subs=steps) for steps in _STEPS), MaxNLocator(nbins=4)]
    enough = (
        each for each in locators if sum(low <= tick <= high for tick in each.tick_values(low, high)) >= _FEWEST_TICKS
    )
    axes.yaxis.set_major_locator(next(enough, locators[-1]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def ticks_of(lengths: Collection[float]) -> list[float]:
    """Return the lengths that a logarithmic axis labels: round ones, or all if those are too few."""
    usual = [tick for tick in _TICKS_S if min(lengths) <= tick <= max(lengths)]
    return list(usual) if len(usual) >= _FEWEST_TICKS else sorted(lengths)


def _alike(one: Mapping[float, float], other: Mapping[float, float]) -> bool:
    common = one.keys() & other.keys()
    return bool(common) and all(math.isclose(one[length], other[length], rel_tol=_ALIKE) for length in common)
