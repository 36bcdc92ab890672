"""The curves of a setting: time or memory over the length of the audio, with the record behind each point."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from bench.efficiency.records import Record
from bench.reporting.efficiency.quantities import (
    GPU_TIME,
    LATENCY,
    MEMORY,
    Quantity,
    gpu_time,
    has_gpu_time,
    latency,
    memory,
    nonconforming,
    unconverged,
)
from bench.reporting.figures import ticks_of
from bench.reporting.formats import four_digits, interval, yes_or_no
from bench.reporting.page.charts import Chart, Curve, curves_of, lines, logarithmic, render


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A quantity that the curves can show: its label, unit and value."""

    label: str
    unit: str
    value: Quantity

    @property
    def title(self) -> str:
        """Of the axis."""
        return f"{self.label} ({self.unit})"


_CALLS = "single call"


def chart(records: Sequence[Record], colours: Mapping[str, str], *, identifier: str, title: str) -> Chart:
    """Return the curves of all mixers.

    Args:
        records: Of one setting.
        colours: Of each mixer.
        identifier: Of the chart's element.
        title: In words.
    """
    shown = _quantities(records)
    curves = curves_of({record.name: record.mixer for record in records}, colours)
    traces = [trace for each in shown for trace in _traces(records, curves, each, visible=each is shown[0])]
    lengths = sorted({record.seconds for record in records})
    notes = []
    if count := unconverged(records):
        notes.append(f"A hollow mark: {count}.")
    if differing := nonconforming(records):
        notes.append(f"A hollow mark with a dot: {differing}.")
    if any(record.status != "ok" for record in records):
        notes.append("A cross at the top: no figure. Point at it for the reason.")
    what = ", ".join(each.label for each in shown)
    return Chart(
        id=identifier,
        title=title,
        description=f"{what} of {len(curves)} implementations over {lengths[0]:g} to {lengths[-1]:g} s of audio. "
        "The table of all cases has the same figures.",
        curves=curves,
        choices={each.label: each.title for each in shown},
        axis="y",
        scales="xaxis yaxis",
        notes=tuple(notes),
        plot=render(
            traces,
            identifier=identifier,
            x={"title": {"text": "length of the audio (s)"}, "type": "log", "tickvals": ticks_of(lengths)},
            y=logarithmic(shown[0].title),
        ),
    )


def _quantities(records: Sequence[Record]) -> list[_Shown]:
    gpu = [_Shown(label=GPU_TIME, unit="ms", value=gpu_time)] if has_gpu_time(records) else []
    calls = _Shown(label=_CALLS if gpu else LATENCY, unit="ms", value=latency)
    every = (
        [*gpu, _Shown(label=MEMORY, unit="GiB", value=memory), calls]
        if gpu
        else [
            calls,
            _Shown(label=MEMORY, unit="GiB", value=memory),
        ]
    )
    return [each for each in every if any(map(each.value, records))] or every[:1]


def _traces(
    records: Sequence[Record], curves: Sequence[Curve], shown: _Shown, *, visible: bool
) -> Iterator[go.Scatter]:
    """Yield the line of each mixer, and its cases without a figure."""
    top = 1.15 * max((shown.value(record) or 0 for record in records), default=0) or 1.0
    for curve in curves:
        own = sorted((record for record in records if record.name == curve.name), key=lambda record: record.seconds)
        with_figure = [record for record in own if shown.value(record)]
        common = {"meta": {"curve": curve.name, "choice": shown.label}, "visible": visible, "hoverinfo": "text"}
        symbols = [f"{curve.symbol}{_mark(record, shown)}" for record in with_figure]
        yield go.Scatter(
            x=[record.seconds for record in with_figure],
            y=[shown.value(record) for record in with_figure],
            mode="lines+markers",
            line={"color": curve.colour, "width": 2, "dash": curve.dash},
            marker={"color": curve.colour, "symbol": symbols, "size": 9, "line": {"width": 2, "color": curve.colour}},
            hovertext=[_hover(record, shown) for record in with_figure],
            **common,
        )
        missing = [record for record in own if record.status != "ok"]
        if missing:
            yield go.Scatter(
                x=[record.seconds for record in missing],
                y=[top] * len(missing),
                mode="markers",
                marker={
                    "color": curve.colour,
                    "symbol": "x-thin",
                    "size": 11,
                    "line": {"width": 3, "color": curve.colour},
                },
                hovertext=[lines(record.case.label, record.status, record.error[:200]) for record in missing],
                **common,
            )


def _mark(record: Record, shown: _Shown) -> str:
    """Return what a symbol's name ends in where the case needs a mark."""
    if record.conforms is False:
        return "-open-dot"
    return "-open" if shown.value is not memory and record.converged is False else ""


def _hover(record: Record, shown: _Shown) -> str:
    """Return the record behind a point: median, interval, samples, implementation, and whether it converged."""
    figure = f"{shown.label}: {four_digits(shown.value(record))} {shown.unit}"
    conforms = f"conforms: {yes_or_no(record.conforms) or 'not recorded'}"
    if record.conformity_error is not None:
        conforms += f", error {record.conformity_error:.2g}"
    head = (record.case.label, f"{record.mixer}, implementation {record.implementation}", conforms)
    if shown.value is memory:
        return lines(*head, figure, "the allocator's exact count")
    converged = f"converged: {yes_or_no(record.converged) or 'not recorded'}"
    if shown.value is gpu_time:
        between = f"5 % to 95 %: {interval(record.gpu_ms_p05, record.gpu_ms_p95, four_digits)} ms"
        error = f"standard error: {100 * record.gpu_error:.2g} %" if record.gpu_error is not None else ""
        return lines(*head, f"{figure}, the median", between, error, f"{record.gpu_samples} samples", converged)
    between = f"5 % to 95 %: {interval(record.latency_ms_p05, record.latency_ms_p95, four_digits)} ms"
    processes = f"{record.processes} process{'' if record.processes == 1 else 'es'}"
    if record.latency_ms_low is not None:
        processes += f", medians {interval(record.latency_ms_low, record.latency_ms_high, four_digits)} ms"
    return lines(*head, f"{figure}, the median", between, processes, f"{record.samples} samples", converged)
