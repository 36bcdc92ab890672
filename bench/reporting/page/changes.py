"""How the cases of a page changed over several sweeps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from bench.efficiency.settings import Case
from bench.reporting.efficiency import history_text
from bench.reporting.efficiency.history import History, Point
from bench.reporting.formats import four_digits, ratio
from bench.reporting.page.charts import Chart, Curve, curves_of, lines, logarithmic, render
from bench.reporting.page.grids import Grid, of_texts


@dataclass(frozen=True, kw_only=True)
class Changes:
    """The section on a history.

    Attributes:
        tally: How many cases changed.
        warnings: Why sweeps may differ for another reason than the code.
        chart: The time of each mixer over the sweeps, at one length at a time.
        grids: The changes and the sweeps.
    """

    tally: str
    warnings: tuple[str, ...]
    chart: Chart
    grids: tuple[Grid, ...]


def show(history: History, colours: Mapping[str, str]) -> Changes:
    """Return the section on a history.

    Args:
        history: Of at least two sweeps.
        colours: Of the mixers of the page.
    """
    heads, rows = history_text.sweep_rows(history)
    notes = (f"By {history_text.CLOCKS[history.by]}, by the rules of `sbench compare`.",)
    changes = of_texts(
        history_text.CHANGE_HEADS, history_text.change_rows(history), title="Changes", unfolded=True, notes=notes
    )
    unknown = of_texts(
        ("case and reason",), [(line,) for line in history_text.without_verdict(history)], title="Without a verdict"
    )
    sweeps = of_texts(heads, rows, title="Sweeps", unfolded=True)
    return Changes(
        tally=f"{history_text.tally(history)}.",
        warnings=history.warnings,
        chart=_chart(history, colours),
        grids=tuple(grid for grid in (changes, sweeps, unknown) if grid.rows),
    )


def _chart(history: History, colours: Mapping[str, str]) -> Chart:
    lengths = sorted({case.seconds for case in history.series}, reverse=True)
    mixers = {history.name(case): points[0].record.mixer for case, points in history.series.items()}
    curves = curves_of(mixers, colours)
    title = f"{history_text.CLOCKS[history.by]} (ms)"
    return Chart(
        id="changes",
        title="Time over the sweeps",
        description=f"{history_text.CLOCKS[history.by]} of each mixer in {len(history.sweeps)} sweeps, oldest first. "
        "A change is named at its mark.",
        curves=curves,
        choices={_label(seconds): title for seconds in lengths},
        axis="y",
        scales="yaxis",
        notes=(),
        plot=render(
            [
                trace
                for seconds in lengths
                for trace in _traces(history, curves, seconds, visible=seconds == lengths[0])
            ],
            identifier="changes",
            x={"type": "category", "title": {"text": "sweep"}},
            y=logarithmic(title),
        ),
    )


def _label(seconds: float) -> str:
    return f"{seconds:g} s of audio"


def _traces(history: History, curves: Sequence[Curve], seconds: float, *, visible: bool) -> Iterator[go.Scatter]:
    for curve in curves:
        points = [
            (case, point)
            for case, every in history.series.items()
            if history.name(case) == curve.name and case.seconds == seconds
            for point in every
            if history.time(point.record)
        ]
        yield go.Scatter(
            x=[f"{point.sweep + 1}: {history.sweeps[point.sweep].date[:10]}" for _, point in points],
            y=[history.time(point.record) for _, point in points],
            mode="lines+markers+text",
            text=[point.judgement.verdict if point.changed and point.judgement else "" for _, point in points],
            textposition="top center",
            line={"color": curve.colour, "width": 2, "dash": curve.dash},
            marker={
                "color": curve.colour,
                "symbol": curve.symbol,
                "size": [15 if point.changed else 9 for _, point in points],
                "opacity": 1,
                "line": {"width": 0},
            },
            hovertext=[_hover(history, case, point) for case, point in points],
            meta={"curve": curve.name, "choice": _label(seconds)},
            visible=visible,
            hoverinfo="text",
        )


def _hover(history: History, case: Case, point: Point) -> str:
    sweep, judged = history.sweeps[point.sweep], point.judgement
    compared = ""
    if judged and point.since is not None:
        compared = f"{judged.verdict}: {ratio(judged.ratio)} of sweep {point.since + 1}"
    figure = f"{four_digits(history.time(point.record))} ms"
    return lines(history.name(case), f"{case.seconds:g} s", figure, compared, sweep.date, str(sweep.folder))
