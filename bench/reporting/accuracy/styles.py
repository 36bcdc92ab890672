"""The colour of each mixer and the marker of each direction, the same in every picture of a table."""

from collections.abc import Iterable

from matplotlib.lines import Line2D

from bench.reporting import published
from bench.reporting.figures import style_of

_MARKERS = {"causal": "<", "alternating": "D", "both": "s", "paper": "o"}


def colour_of(mixer: str, mixers: Iterable[str]) -> str:
    """Return the colour of a mixer, one of those of a table: the paper's have theirs, others those that are left."""
    return str(style_of(mixer, list(dict.fromkeys([*published.MIXERS, *mixers])))["color"])


def marker_of(direction: object) -> str:
    """Return the marker of a direction, or that of a row without one."""
    return _MARKERS.get(str(direction), "*")


def legend_of_mixers(mixers: Iterable[str]) -> tuple[list[Line2D], list[str]]:
    """Return a handle and a label for each mixer."""
    every = list(mixers)
    handles = [Line2D([], [], color=colour_of(each, every), linewidth=4) for each in every]
    return handles, [published.MIXERS.get(each, each) for each in every]
