"""The confusion matrix as CSV and as a picture.

A corpus has ten times as many neutral utterances as fearful ones. So the colour of a cell is its share of the
utterances of the true class, which is its row. The numbers are utterances.
"""

import csv
import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter

from bench.accuracy.evaluation.metrics import Summary
from bench.files import write_atomically
from bench.reporting.figures import save

_CELL = 0.75  # inches: fits a count of five digits with its share below
_MARGIN = 2.2  # inches: for the names of the classes and the scale
_DARK = 0.55  # a cell with a larger share is so dark that its text must be white


def write_confusion(summary: Summary, stem: Path, *, title: str) -> None:
    """Write ``stem.csv``, a row for each true class and a column for each predicted one, and ``stem.png``.

    Args:
        summary: The scores of one set of predictions.
        stem: The path without a suffix. A dot in its name starts no suffix.
        title: The title of the picture.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    names = [one.name for one in summary.classes]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("label", *names))
    writer.writerows((name, *row) for name, row in zip(names, summary.confusion, strict=True))
    write_atomically(stem.with_name(f"{stem.name}.csv"), buffer.getvalue().encode())
    save(_draw(summary, names, title=title), stem, formats=("png",))


def _draw(summary: Summary, names: list[str], *, title: str) -> Figure:
    counts = np.array(summary.confusion)
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)

    side = max(_CELL * len(names), 3.0)
    figure = Figure(figsize=(side + _MARGIN, side + _MARGIN - 0.8), layout=ConstrainedLayoutEngine())
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{counts[row, column]}\n{share:.0%}" if totals[row] else "-"
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if share > _DARK else "black")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), [f"{one.name} ({one.support})" for one in summary.classes])
    axes.set_xlabel("Predicted")
    axes.set_ylabel("True (utterances)")
    axes.set_title(f"macro-F {summary.macro_f.value:.1%}, {summary.utterances} utterances", fontsize=10)
    figure.suptitle(title, weight="bold", wrap=True)
    figure.colorbar(image, ax=axes, shrink=0.8, format=PercentFormatter(1), label="Share of the true class")
    return figure
