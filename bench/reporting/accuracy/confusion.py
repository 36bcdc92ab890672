"""The confusion matrices of a table as a picture.

A corpus has ten times as many neutral utterances as fearful ones. So the colour of a cell is its share of the
utterances of the true class, which is its row.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from bench.accuracy.run import DIRECTIONS
from bench.reporting.accuracy.evaluations import Row
from bench.reporting.figures import save
from bench.reporting.published import MIXERS

_SMALL_CELL = 0.28  # inches: fits a share
_MARGIN = 2.2  # inches: for the names of the classes and the scale
_DARK = 0.55  # a cell with a larger share is so dark that its text must be white

Confusion = Sequence[Sequence[int]]


def draw_confusions(matrices: Mapping[Row, Confusion], stem: Path, *, classes: Sequence[str], title: str) -> None:
    """Draw a small matrix for each row of a table: a column for each mixer, a line for each direction.

    The numbers are per cent of the true class. A row without a direction stands in the first line.

    Args:
        matrices: Utterances of each row, a line for each true class, a column for each predicted one.
        stem: The path without an ending.
        classes: Their names.
        title: The title of the picture.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    mixers = list(dict.fromkeys(row.mixer for row in matrices))
    directions = [each for each in DIRECTIONS if any(row.direction == each for row in matrices)]
    side = max(_SMALL_CELL * len(classes), 1.4)
    size = ((side + 0.15) * len(mixers) + _MARGIN, (side + 0.4) * max(len(directions), 1) + 1.6)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine())
    FigureCanvasAgg(figure)
    grid = figure.subplots(max(len(directions), 1), len(mixers), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    places = {
        row: (directions.index(row.direction) if row.direction in directions else 0, mixers.index(row.mixer))
        for row in matrices
    }
    for row, (line, column) in places.items():
        axes = grid[line, column]
        axes.set_axis_on()
        image = _paint(axes, np.array(matrices[row]))
        named = f" ({row.direction})" if len(directions) > 1 and row.direction in directions else ""
        axes.set_title(f"{MIXERS.get(row.mixer, row.mixer)}{named}", fontsize="small")
        is_lowest = line == max(other for other, its in places.values() if its == column)
        is_first = column == min(its for other, its in places.values() if other == line)
        _name_classes(axes, classes if is_lowest else [], classes if is_first else [], fontsize=7)
    figure.supxlabel("Predicted", fontsize="medium")
    figure.supylabel("True", fontsize="medium")
    figure.suptitle(title, weight="bold", fontsize="medium", wrap=True)
    figure.colorbar(image, ax=grid, shrink=0.6, format=PercentFormatter(1), label="Share of the true class")
    save(figure, stem)


def _paint(axes: Axes, counts: NDArray[np.int64]) -> AxesImage:
    """Paint the shares of a matrix (C, C), with per cent in each cell; a dash where the true class has no utterance."""
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        written = f"{100 * share:.0f}" if totals[row] else "-"
        colour = "white" if share > _DARK else "black"
        axes.text(column, row, written, ha="center", va="center", fontsize=6, color=colour)
    return image


def _name_classes(axes: Axes, predicted: Sequence[str], true: Sequence[str], *, fontsize: float | None = None) -> None:
    """Write the names of the classes below and beside a matrix; none where there are none."""
    rotation: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(predicted)), predicted, fontsize=fontsize, **rotation)
    axes.set_yticks(range(len(true)), true, fontsize=fontsize)
