"""What all charts of the page share: their controls, colours and marks, and how plotly writes them."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

# Seven colours with a contrast of at least 3 on white and on the page's dark background, so that both show the same.
_COLOURS = ("#7a7a7a", "#2f7fd0", "#c77700", "#0a9a6c", "#bf5f9d", "#d9480f", "#8467d7")

# plotly's name of each mark, and the character that the controls show.
_MARKS = {
    "circle": "●",
    "square": "■",
    "triangle-up": "▲",
    "diamond": "◆",
    "triangle-down": "▼",
    "star": "★",
    "hexagon": "⬢",
    "pentagon": "⬟",
    "triangle-left": "◀",
}

_DASHES = ("solid", "dash", "dot", "dashdot")

# Round numbers on a logarithmic axis of any range. plotly's own labels leave out the decade: 2, 5, 10, 2, 5.
_TICKS = [step * 10.0**decade for decade in range(-6, 7) for step in (1, 2, 5)]

_CONFIG = {
    "responsive": True,
    "displaylogo": False,
    "showSendToCloud": False,  # by default a button uploads the chart
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What can be shown or hidden: a mixer, with its colour and plotly's names of its mark and its line."""

    name: str
    colour: str
    symbol: str
    dash: str

    @property
    def mark(self) -> str:
        """The character that looks like the mark."""
        return _MARKS[self.symbol]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart with its controls.

    Attributes:
        id: Of its element.
        title: In words.
        description: What it shows, for who cannot see it.
        curves: What can be shown or hidden.
        choices: The title of an axis for each thing that can be shown, by its label. The first one is shown.
        axis: The axis that the choice is on: ``x`` or ``y``.
        scales: The axes that can be linear or logarithmic: ``xaxis yaxis``, or one of them.
        notes: What stands below it.
        plot: plotly's element and script.
    """

    id: str
    title: str
    description: str
    curves: tuple[Curve, ...]
    choices: Mapping[str, str]
    axis: str
    scales: str
    notes: tuple[str, ...]
    plot: str


def colours_of(mixers: Iterable[str]) -> dict[str, str]:
    """Return the colour of each mixer, the same in all charts of a page."""
    return {mixer: _COLOURS[index % len(_COLOURS)] for index, mixer in enumerate(dict.fromkeys(mixers))}


def curves_of(mixers: Mapping[str, str], colours: Mapping[str, str]) -> tuple[Curve, ...]:
    """Return a mark for each name, in the colour of its mixer.

    Later implementations of a mixer have dashed lines. Where colours come again, lines are dotted.

    Args:
        mixers: The mixer of each name.
        colours: Of each mixer.
    """
    symbols, before, order = tuple(_MARKS), list(mixers.values()), list(colours)
    return tuple(
        Curve(
            name=name,
            colour=colours[mixer],
            symbol=symbols[index % len(symbols)],
            dash=_DASHES[(before[:index].count(mixer) + 2 * (order.index(mixer) // len(_COLOURS))) % len(_DASHES)],
        )
        for index, (name, mixer) in enumerate(mixers.items())
    )


def logarithmic(title: str) -> dict[str, Any]:
    """Return a logarithmic axis with round labels."""
    labels = [f"{tick:.6f}".rstrip("0").rstrip(".") for tick in _TICKS]
    return {"title": {"text": title}, "type": "log", "tickmode": "array", "tickvals": _TICKS, "ticktext": labels}


def lines(*texts: str) -> str:
    """Return a hover text of several lines. plotly reads tags in it, so the texts are escaped."""
    return "<br>".join(html.escape(text, quote=False) for text in texts if text)


def render(traces: Sequence[go.Scatter], *, identifier: str, x: dict[str, Any], y: dict[str, Any]) -> str:
    """Return plotly's element and script. The page's style sheet colours text and grid.

    Args:
        traces: Each with ``meta`` that names its curve and its choice.
        identifier: Of the element.
        x: The horizontal axis.
        y: The vertical axis.
    """
    axis: dict[str, Any] = {"automargin": True, "zeroline": False, "showgrid": True, "ticks": ""}
    layout = go.Layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13},
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        hoverlabel={"bgcolor": "#1f2328", "font": {"color": "#ffffff"}, "align": "left"},
        hovermode="closest",
        showlegend=False,
        xaxis=axis | x,
        yaxis=axis | y,
    )
    figure = go.Figure(list(traces), layout)
    text: str = figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=identifier, config=_CONFIG, default_height="420px"
    )
    return text
