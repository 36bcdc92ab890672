"""Names beside the ends of curves, for figures with more curves than colours."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from scipy.optimize import isotonic_regression

from bench.reporting.figures import COLOURS

_GAP = 0.04  # of a panel's height, from one line of small text to the next in one of 4.6 inches


PANEL = (5.6, 4.6)  # inches, with names beside it


def crowded(count: int) -> bool:
    """Tell whether a figure has so many curves that colours come again, and names help to tell them apart."""
    return count > len(COLOURS)


def label_ends(axes: Axes, curves: Mapping[str, Mapping[float, float]], colours: Mapping[str, str]) -> None:
    """Write each name to the right of the panel, at the height of its curve's end or as near as there is room.

    Args:
        axes: With their final limits.
        curves: By name, the value at each length; those without a value get no name.
        colours: By name.
    """
    ends = {name: max(curve.items()) for name, curve in curves.items() if curve}
    to_height = axes.transData - axes.transAxes
    heights = {name: float(to_height.transform(end)[1]) for name, end in ends.items()}
    for name, height in _apart(heights).items():
        axes.annotate(
            name,
            xy=ends[name],
            xytext=(1.05, height),
            textcoords="axes fraction",
            color=colours[name],
            fontsize="small",
            va="center",
            arrowprops={"arrowstyle": "-", "color": colours[name], "linewidth": 0.6, "relpos": (0, 0.5), "shrinkA": 0},
            annotation_clip=False,
        )


def _apart(heights: Mapping[str, float]) -> dict[str, float]:
    """Return heights in the same order, apart by the gap, and otherwise as near as can be."""
    order = sorted(heights, key=heights.__getitem__)
    steps = _GAP * np.arange(len(order))
    placed = isotonic_regression([heights[name] for name in order] - steps).x + steps if order else steps
    return dict(zip(order, map(float, placed), strict=True))
