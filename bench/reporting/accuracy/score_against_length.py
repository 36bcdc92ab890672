"""The score of each row against the length of the recordings: who keeps up. A panel for each direction."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.reporting.accuracy.evaluations import NO_DIRECTION, Row
from bench.reporting.accuracy.styles import colour_of, legend_of_mixers
from bench.reporting.accuracy.table import Cell
from bench.reporting.accuracy.words import mixer_name
from bench.reporting.figures import row_of_panels, save

_PANEL = (4.4, 3.6)  # inches
_NARROWEST = 7.0  # inches, for the title
_APART = 1.025  # between the bars of two rows at one length, as a factor

Curve = Mapping[float, Cell]  # by the length of the recordings, rising


def differ_in_length(by_split: Iterable[Mapping[Row, Cell]]) -> bool:
    """Tell whether the recordings of some tests differ in their median length, by half or more."""
    lengths = {cell.seconds for cells in by_split for cell in cells.values() if cell.seconds is not None}
    return len(lengths) > 1 and max(lengths) >= 1.5 * min(lengths)


def draw_score_against_length(by_split: Sequence[Mapping[Row, Cell]], stem: Path, *, title: str) -> None:
    """Draw macro-F with its interval over speakers against the median length of the recordings of each split.

    A row without a direction, the linear probe, is drawn in every panel.

    Args:
        by_split: The rows of one encoder on tests that `differ_in_length`, and in nothing else.
        stem: The path without an ending.
        title: What was scored.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    curves: dict[Row, dict[float, Cell]] = {}
    for cells in by_split:
        for row, cell in cells.items():
            if cell.seconds is not None:
                curves.setdefault(row, {})[cell.seconds] = cell
    lengths = sorted({seconds for curve in curves.values() for seconds in curve})
    directions = list(dict.fromkeys(str(row.direction) for row in curves))
    directions = [each for each in directions if each != NO_DIRECTION] or [NO_DIRECTION]
    figure, panels = row_of_panels(len(directions), panel=_PANEL, narrowest=_NARROWEST, around=1.3)
    for axes, direction in zip(panels, directions, strict=True):
        _draw(axes, {row: curve for row, curve in curves.items() if row.direction in (direction, NO_DIRECTION)})
        axes.set_title(direction if direction != NO_DIRECTION else "", fontsize="medium")
        axes.set_xlabel("Length of the recordings (s)")
        axes.set_xscale("log")
        axes.set_xticks(lengths, [f"{each:g}" for each in lengths])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("Macro-F (%)")
    bars = (
        "\nBars: 95 % intervals over speakers, drawn side by side" if any(map(_has_intervals, curves.values())) else ""
    )
    figure.suptitle(f"{title}: score against length{bars}", fontsize="medium", weight="bold", wrap=True)
    mixers = list(dict.fromkeys(row.mixer for row in curves if row.direction != NO_DIRECTION))
    handles, labels = legend_of_mixers(mixers)
    for row in curves:
        if row.direction == NO_DIRECTION:
            handles.append(Line2D([], [], color="black", linestyle="--"))
            labels.append(mixer_name(row))
    figure.legend(handles=handles, labels=labels, loc="outside lower center", ncols=min(len(handles), 7))
    save(figure, stem)


def _has_intervals(curve: Curve) -> bool:
    """Tell whether there were enough speakers for intervals."""
    return all((cell.low, cell.high) != (0, 100) for cell in curve.values())


def _draw(axes: Axes, curves: Mapping[Row, Curve]) -> None:
    mixers = [row.mixer for row in curves]
    for place, (row, curve) in enumerate(curves.items()):
        lengths = sorted(curve)
        cells = [curve[each] for each in lengths]
        known = _has_intervals(curve)
        below, above = [cell.ours - cell.low for cell in cells], [cell.high - cell.ours for cell in cells]
        shift = _APART ** (place - (len(curves) - 1) / 2)
        probe = row.direction == NO_DIRECTION
        axes.errorbar(
            [each * shift for each in lengths],
            [cell.ours for cell in cells],
            yerr=[below, above] if known else None,
            color="black" if probe else colour_of(row.mixer, mixers),
            linestyle="--" if probe else "-",
            linewidth=1.3,
            elinewidth=0.7,
            marker="o",
            markersize=3,
            alpha=0.9,
        )
