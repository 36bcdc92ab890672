"""A figure of whole systems: what each part takes, the mixer's share, and the peak, behind each encoder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from bench.efficiency.records import Record
from bench.reporting.efficiency.overview import CPU_NOTICE, by_setting, distinguish, names_of
from bench.reporting.efficiency.quantities import Quantity, known, main_time
from bench.reporting.efficiency.whole import Block, Whole, blocks
from bench.reporting.figures import save, set_logarithmic_ticks, sizes_of, style_of

_PANEL = (4.2, 3.4)  # inches
_ENCODER: dict[str, Any] = {"color": "black", "linewidth": 3.0, "marker": "o", "alpha": 0.35}
_HEAD: dict[str, Any] = {"color": "gray", "linewidth": 1.2, "linestyle": ":", "marker": "."}


def draw_end_to_end(mixers: Sequence[Record], parts: Sequence[Record], stem: Path) -> None:
    """Draw a row of panels for each encoder, form and setting of mixers that fit together; nothing if none do.

    The first panel shows the time of each part, the second the share of the mixer, the third the peak of the whole.

    Args:
        mixers: Records of mixers.
        parts: Records of encoders and heads.
        stem: The path without an ending.

    Raises:
        OSError: A file cannot be written; the old file is still there.
    """
    label, time = main_time(mixers)
    groups = by_setting(mixers)
    labels = distinguish(groups)
    found = [
        (" ".join(filter(None, [block.label, f"({labels[setting]})" if labels[setting] else ""])), block)
        for setting, alike in groups.items()
        for block in blocks(alike, parts, time)
        if any(block.wholes.values())
    ]
    if not found:
        return
    names = names_of(mixers)
    size = (3 * _PANEL[0], _PANEL[1] * len(found) + 1.2)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(found), 3, squeeze=False)
    for row, (title, block) in zip(grid, found, strict=True):
        _draw_block(row, block, names, time)
        row[0].set_title(title, fontsize="medium", loc="left")
        row[0].set_ylabel(f"{label[0].upper()}{label[1:]} of each part (ms)")
    for axes in grid[-1]:
        axes.set_xlabel("Length of audio (s)")
    first = mixers[0]
    notice = f"\n{CPU_NOTICE}" if first.device_type == "cpu" else ""
    figure.suptitle(f"{first.device}, {first.precision}: the whole system{notice}", weight="bold")
    shown = [name for name in names if any(block.wholes.get(name) for _, block in found)]
    styles = [style_of(name, names) for name in shown]
    handles = [Line2D([], [], **_ENCODER), Line2D([], [], **_HEAD)]
    handles += [Line2D([], [], **style) for style in styles]
    figure.legend(
        handles=handles,
        labels=["encoder", "pooling and classifier", *shown],
        loc="outside lower center",
        ncols=min(5, len(handles)),
    )
    save(figure, stem)


def _draw_block(row: Sequence[Axes], block: Block, names: Sequence[str], time: Quantity) -> None:
    """Draw the three panels of an encoder in one form."""
    times, shares, peaks = row
    every: dict[float, Whole] = {}
    for wholes in block.wholes.values():
        every |= wholes
    lengths = sorted(every)
    times.plot(lengths, [known(every[seconds].encoder, time) for seconds in lengths], **_ENCODER)
    times.plot(lengths, [known(every[seconds].head, time) for seconds in lengths], **_HEAD)
    alone = [every[seconds].peaks_gib["encoder"] for seconds in lengths]
    peaks.plot(lengths, alone, **_ENCODER)
    _curves(times, block, names, lambda whole: known(whole.mixer, time))
    _curves(shares, block, names, lambda whole: 100 * whole.shares(time)["mixer"])
    _curves(peaks, block, names, lambda whole: whole.peak_gib)
    for axes in row:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
        set_logarithmic_ticks(axes, lengths)
    shares.set_ylabel("Share of the mixer in the time (%)")
    peaks.set_ylabel("Peak memory of the whole (GiB)")


def _curves(axes: Axes, block: Block, names: Sequence[str], value: Callable[[Whole], float]) -> None:
    curves: list[Mapping[float, float]] = [
        {seconds: value(whole) for seconds, whole in block.wholes.get(name, {}).items()} for name in names
    ]
    for name, curve, size in zip(names, curves, sizes_of(curves, marker=4), strict=True):
        axes.plot(list(curve), list(curve.values()), **style_of(name, names), **size)
