"""Charts of scores: macro-F against GPU time, and against the length of the recordings where tests differ in it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from bench.reporting.accuracy.words import of_one_kind
from bench.reporting.formats import cell, interval, two_decimals
from bench.reporting.page.charts import Chart, Curve, curves_of, lines, logarithmic, render

Row = dict[str, Any]

_TIME = re.compile(r"gpu_ms_at_(.+)_s")  # the columns of what a score costs

# plotly's name of the mark of each direction, and ours.
_MARKS = {
    "causal": ("circle", "circle"),
    "alternating": ("square", "square"),
    "both": ("diamond", "diamond"),
    "paper": ("triangle-up", "triangle"),
}
_SCORE, _GPU_TIME = "macro-F (%)", "GPU time (ms)"
_WITHOUT = "-"  # the direction of what does not mix


def charts_of(
    splits: Mapping[str, Sequence[Row]], colours: Mapping[str, str], *, of: str, identifier: str
) -> Iterator[Chart]:
    """Yield score against length and time, if tests differ in length, otherwise score against time for each test.

    Args:
        splits: The rows of each test.
        colours: Of the mixers.
        of: What was scored, for titles.
        identifier: Of the charts' elements, without their number.
    """
    kinds = of_one_kind(splits)
    by_length = [each for each in kinds.values() if _differ_in_length([splits[split] for split in each])]
    for at, (kind, each) in enumerate(kinds.items()):
        if each in by_length:
            named, ending = (f"{of}, {kind}", f"-kind-{at}") if len(kinds) > 1 else (of, "")
            alike = {split: splits[split] for split in each}
            yield from _by_length(alike, colours, of=named, identifier=f"{identifier}{ending}")
    for at, (split, rows) in enumerate(splits.items()):
        if any(split in each for each in by_length):
            continue
        timed = {column: _TIME.sub(r"\1 s of audio", column) for column in rows[0] if _TIME.fullmatch(column)}
        cells = {label: (rows, column) for column, label in timed.items()}
        if chart := _against_time(cells, colours, of=f"{split} of {of}", identifier=f"{identifier}-{at}"):
            yield chart


def _differ_in_length(tests: Sequence[Sequence[Row]]) -> bool:
    lengths = [_seconds(rows) for rows in tests]
    return len(tests) > 1 and len(set(lengths)) == len(tests) and None not in lengths


def _by_length(
    splits: Mapping[str, Sequence[Row]], colours: Mapping[str, str], *, of: str, identifier: str
) -> Iterator[Chart]:
    """Yield the charts of tests that differ in nothing but length."""
    yield _against_length(splits, colours, of=of, identifier=f"{identifier}-length")
    cells = {
        f"{seconds:g} s of audio": (rows, f"gpu_ms_at_{seconds:g}_s")
        for rows in splits.values()
        if (seconds := _seconds(rows)) is not None
    }
    if chart := _against_time(cells, colours, of=of, identifier=f"{identifier}-time"):
        yield chart


def name_of(row: Row) -> str:
    """Return the mixer and its direction."""
    return str(row["mixer"]) if row["direction"] == _WITHOUT else f"{row['mixer']} ({row['direction']})"


def interval_of(row: Row) -> str:
    """Return the 95 % interval in %; empty if there were too few speakers."""
    low, high = row["low_percent"], row["high_percent"]
    return "" if low is None or (low, high) == (0, 100) else interval(low, high, two_decimals)


def _seconds(rows: Sequence[Row]) -> float | None:
    """Return the median length of a test's recordings; None if it is not known."""
    seconds = rows[0].get("median_seconds")
    return None if seconds is None else float(seconds)


def _against_length(
    splits: Mapping[str, Sequence[Row]], colours: Mapping[str, str], *, of: str, identifier: str
) -> Chart:
    """Return macro-F against length, a choice for each direction. What does not mix is in all of them."""
    rows = sorted((row for each in splits.values() for row in each), key=lambda row: float(row["median_seconds"]))
    directions = list(dict.fromkeys(row["direction"] for row in rows if row["direction"] != _WITHOUT)) or [_WITHOUT]
    curves = curves_of({str(row["mixer"]): str(row["mixer"]) for row in rows}, colours)
    traces = []
    for direction in directions:
        for curve in curves:
            own = [row for row in rows if row["mixer"] == curve.name and row["direction"] in (direction, _WITHOUT)]
            seconds = [float(row["median_seconds"]) for row in own]
            trace = _scatter(own, seconds, curve, choice=direction, hover=[f"{each:g} s of audio" for each in seconds])
            trace.mode, trace.line = "lines+markers", {"color": curve.colour, "dash": curve.dash}
            trace.marker.symbol, trace.visible = curve.symbol, direction == directions[0]
            traces.append(trace)
    return Chart(
        id=identifier,
        title=f"Macro-F against length: {of}",
        description="Macro-F of each mixer against the length of recordings. The table of scores has the same figures.",
        curves=curves,
        choices=dict.fromkeys(directions, _SCORE),
        axis="y",
        scales="xaxis",
        notes=("Bars: 95 % intervals over speakers.",),
        plot=render(
            traces, identifier=identifier, x=logarithmic("length of the recordings (s)"), y={"title": {"text": _SCORE}}
        ),
    )


def _against_time(
    cells: Mapping[str, tuple[Sequence[Row], str]], colours: Mapping[str, str], *, of: str, identifier: str
) -> Chart | None:
    """Return macro-F against GPU time; None where no time is known.

    Args:
        cells: The rows, and the column of their time, for each choice.
        colours: Of the mixers.
        of: What was scored.
        identifier: Of the element.
    """
    known = {
        label: (timed, column)
        for label, (rows, column) in cells.items()
        if (timed := [row for row in rows if row.get(column)])
    }
    if not known:
        return None
    every = [row for rows, _ in known.values() for row in rows]
    curves = curves_of({str(row["mixer"]): str(row["mixer"]) for row in every}, colours)
    traces = []
    for label, (rows, column) in known.items():
        for curve in curves:
            own = [row for row in rows if row["mixer"] == curve.name]
            hover = [f"GPU time: {cell(row[column])} ms at {label}" for row in own]
            trace = _scatter(own, [row[column] for row in own], curve, choice=label, hover=hover)
            trace.visible = label == next(iter(known))
            traces.append(trace)
    marks = [
        f"{_MARKS[each][1]}: {each}" for each in dict.fromkeys(row["direction"] for row in every) if each in _MARKS
    ]
    return Chart(
        id=identifier,
        title=f"Macro-F against GPU time: {of}",
        description="Macro-F of each mixer against its GPU time. The table of scores has the same figures.",
        curves=curves,
        choices=dict.fromkeys(known, _GPU_TIME),
        axis="x",
        scales="xaxis",
        notes=("Up and left is better. Bars: 95 % intervals over speakers.", f"Marks: {', '.join(marks)}."),
        plot=render(
            traces,
            identifier=identifier,
            x={"title": {"text": _GPU_TIME}, "type": "log"},
            y={"title": {"text": _SCORE}},
        ),
    )


def _scatter(rows: Sequence[Row], x: Sequence[float], curve: Curve, *, choice: str, hover: Sequence[str]) -> go.Scatter:
    """Return rows of one mixer with their intervals over speakers, and with a last line each in their hover text."""
    scores = [row["macro_f_percent"] for row in rows]
    ends = [
        (row["low_percent"], row["high_percent"]) if interval_of(row) else (row["macro_f_percent"],) * 2 for row in rows
    ]
    return go.Scatter(
        x=x,
        y=scores,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [high - score for (_, high), score in zip(ends, scores, strict=True)],
            "arrayminus": [score - low for (low, _), score in zip(ends, scores, strict=True)],
            "thickness": 1,
            "width": 3,
        },
        mode="markers",
        marker={
            "color": curve.colour,
            "symbol": [_MARKS.get(row["direction"], ("star", ""))[0] for row in rows],
            "size": 11,
        },
        hovertext=[_hover(row, last) for row, last in zip(rows, hover, strict=True)],
        meta={"curve": curve.name, "choice": choice},
        hoverinfo="text",
    )


def _hover(row: Row, last: str) -> str:
    between = f"95 %: {interval_of(row)}" if interval_of(row) else ""
    return lines(name_of(row), f"macro-F: {two_decimals(row['macro_f_percent'])} %", between, last)
