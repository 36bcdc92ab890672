"""Development macro-F by epoch, from the metrics of the runs: a panel for each direction."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bench.accuracy.run import METRICS_FILE
from bench.reporting.accuracy.evaluations import EvaluatedRun, Row
from bench.reporting.accuracy.styles import colour_of, legend_of_mixers
from bench.reporting.figures import row_of_panels, save

_PANEL = (4.0, 3.4)  # inches
_NARROWEST = 6.0  # inches, for the title

Curve = Mapping[int, float]  # epochs that were done, macro-F in %


def draw_learning_curves(runs: Iterable[EvaluatedRun], rows: Sequence[Row], stem: Path, *, title: str) -> bool:
    """Draw the mean over seeds and folds, with a band from the lowest to the highest.

    Runs without metrics are left out. A curve ends where the first of its seeds and folds does.

    Args:
        runs: Those of one pair of encoders.
        rows: The rows of the table, in its order.
        stem: The path without an ending.
        title: What was trained.

    Returns:
        Whether any run has metrics. Otherwise nothing is drawn.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    curves: dict[Row, list[Curve]] = {}
    for one in runs:
        for mixer, curve in _read(one.folder / METRICS_FILE):
            curves.setdefault(Row(mixer, one.run.direction), []).append(curve)
    curves = {row: curves[row] for row in rows if row in curves}
    if not curves:
        return False
    directions = list(dict.fromkeys(row.direction for row in curves))
    directions.sort(key=[*dict.fromkeys(row.direction for row in rows)].index)
    figure, panels = row_of_panels(len(directions), panel=_PANEL, narrowest=_NARROWEST, around=1.1)
    for axes, direction in zip(panels, directions, strict=True):
        _panel(axes, {row.mixer: each for row, each in curves.items() if row.direction == direction}, rows)
        axes.set_title(direction, fontsize="medium")
    panels[0].set_ylabel("Development macro-F (%)")
    explained = "Lines: mean over seeds and folds. Bands: lowest to highest"
    figure.suptitle(f"{title}\n{explained}", fontsize="medium", weight="bold", wrap=True)
    handles, labels = legend_of_mixers(dict.fromkeys(row.mixer for row in curves))
    figure.legend(handles=handles, labels=labels, loc="outside lower center", ncols=min(len(handles), 6))
    save(figure, stem)
    return True


def _panel(axes: Axes, curves: Mapping[str, Sequence[Curve]], rows: Sequence[Row]) -> None:
    mixers = [row.mixer for row in rows]
    for mixer, several in curves.items():
        epochs = sorted(set.intersection(*(set(curve) for curve in several)))
        values = [[curve[epoch] for curve in several] for epoch in epochs]  # (epochs, seeds and folds)
        colour = colour_of(mixer, mixers)
        axes.plot(epochs, [sum(each) / len(each) for each in values], color=colour, linewidth=1.4, marker=_dot(epochs))
        axes.fill_between(epochs, [*map(min, values)], [*map(max, values)], color=colour, alpha=0.12, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Epochs")
    axes.grid(alpha=0.3)


def _dot(epochs: Sequence[int]) -> str:
    """Return a marker where a line would have no length."""
    return "o" if len(epochs) == 1 else ""


def _read(path: Path) -> list[tuple[str, Curve]]:
    """Return the mixer and the curve of each learner. A line that is cut off, as by a kill, is passed over."""
    if not path.exists():
        return []
    curves: dict[str, dict[int, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        scores = fields.get("development_macro_f") if isinstance(fields, dict) else None
        for learner, score in (scores or {}).items():
            curves.setdefault(learner, {})[fields["epoch"]] = 100 * score
    return [(learner.rpartition("-")[0], curve) for learner, curve in curves.items()]
