"""The accuracy table that ``sbench table`` wrote: the best score, scores against GPU time, and all rows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from bench.reporting.accuracy.files import PAIRS_FILES, TABLE_FILES
from bench.reporting.accuracy.words import DEMONSTRATION
from bench.reporting.formats import cell, interval, two_decimals
from bench.reporting.page.charts import Chart, Curve, colours_of, curves_of, lines, render
from bench.reporting.page.findings import Finding, Question
from bench.reporting.page.grids import Grid, of_frame
from mixers.support.errors import UserError

_TIME = re.compile(r"gpu_ms_at_(.+)_s")  # the columns of what a score costs

# plotly's name of the mark of each direction, and ours.
_MARKS = {
    "causal": ("circle", "circle"),
    "alternating": ("square", "square"),
    "both": ("diamond", "diamond"),
    "paper": ("triangle-up", "triangle"),
}
_NEEDED = ("mixer", "direction", "encoder", "corpus", "split", "macro_f_percent", "low_percent", "high_percent")
_OF_PAIRS = ("encoder", "split", "mixer", "direction", "other", "its direction", "mixer is")

_Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What ``sbench table`` wrote.

    Attributes:
        frame: The table of scores.
        pairs: A row for each pair that was compared.
        notes: What stands below the Markdown form of the table.
    """

    frame: pd.DataFrame
    pairs: tuple[_Row, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """What the page shows of one table.

    Attributes:
        demonstration: A warning if its corpus is a synthetic one; otherwise empty.
        questions: Who is the most accurate, for each encoder and test.
        charts: Score against GPU time; none where no time is known.
        grid: Its rows.
    """

    demonstration: str
    questions: tuple[Question, ...]
    charts: tuple[Chart, ...]
    grid: Grid


def read(folder: Path) -> Scores:
    """Read the tables of scores and of pairs in a folder that ``sbench table`` wrote.

    Raises:
        UserError: A table is missing or damaged.
    """
    file = folder / f"{PAIRS_FILES}.csv"
    return Scores(
        frame=_read(folder / f"{TABLE_FILES}.csv", columns=_NEEDED),
        pairs=tuple(_rows(_read(file, columns=_OF_PAIRS)) if file.exists() else ()),
        notes=tuple(_notes(folder)),
    )


def show(scores: Scores, colours: Mapping[str, str], *, identifier: str) -> Accuracy:
    """Return what the page shows of a table.

    Args:
        scores: The table.
        colours: Of the mixers of the page. A mixer that has none gets the first one that is free.
        identifier: Of the charts' elements, without their number.
    """
    rows = _rows(scores.frame)
    groups: dict[tuple[str, ...], list[_Row]] = {}
    for row in [row for row in rows if row["split"] != "development"] or rows:
        groups.setdefault((row["corpus"], row["encoder"], row["split"]), []).append(row)
    colours = colours_of([*colours, *(str(row["mixer"]) for row in rows)])
    charts = [_chart(alike, colours, identifier=f"{identifier}-{at}") for at, alike in enumerate(groups.values())]
    frame = scores.frame.drop(columns="demonstration", errors="ignore")
    return Accuracy(
        demonstration=DEMONSTRATION if any(str(row.get("demonstration")) == "True" for row in rows) else "",
        questions=tuple(_question(alike, scores.pairs) for alike in groups.values()),
        charts=tuple(filter(None, charts)),
        grid=of_frame(frame, title="All scores", notes=scores.notes),
    )


def _read(path: Path, *, columns: Sequence[str]) -> pd.DataFrame:
    hint = "Give a folder that `sbench table` wrote."
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise UserError(f"{path} is missing", hint=hint) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}", hint=hint) from None
    missing = [column for column in columns if column not in frame]
    if missing or frame.empty:
        raise UserError(f"{path} has no {', '.join(missing) or 'rows'}", hint=hint)
    return frame


def _rows(frame: pd.DataFrame) -> list[_Row]:
    """Return the rows; a field without a figure is None."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def _notes(folder: Path) -> list[str]:
    """Return the notes below the Markdown form of the table; none without that file."""
    try:
        text = (folder / f"{TABLE_FILES}.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    return [line.removeprefix("- ") for line in text.splitlines() if line.startswith("- ")]


def _question(rows: Sequence[_Row], pairs: Sequence[_Row]) -> Question:
    """Return the row with the highest macro-F, and how many of the rows that it was compared with it beats."""
    best = max(rows, key=lambda row: row["macro_f_percent"])
    between = _interval(best)
    finding = Finding(
        where=best["split"],
        who=_name(best),
        figure=f"{two_decimals(best['macro_f_percent'])} %{f' (95 %: {between})' if between else ''}",
        certainty=_certainty(_name(best), list(_verdicts(best, pairs))),
    )
    return Question(title=f"Most accurate, by macro-F on {best['corpus']} ({best['encoder']})", findings=(finding,))


def _verdicts(row: _Row, pairs: Sequence[_Row]) -> Iterator[str]:
    """Yield what each comparison of a row says of it."""
    turned = {"better": "worse", "worse": "better"}
    for pair in pairs:
        if (pair["encoder"], pair["split"]) != (row["encoder"], row["split"]):
            continue
        verdict = str(pair["mixer is"])
        if (pair["mixer"], pair["direction"]) == (row["mixer"], row["direction"]):
            yield verdict
        elif (pair["other"], pair["its direction"]) == (row["mixer"], row["direction"]):
            yield turned.get(verdict, verdict)


def _certainty(name: str, verdicts: Sequence[str]) -> str:
    if not verdicts:
        return "Nothing was compared with it."
    better = verdicts.count("better")
    if not better:
        return f"Not certain: {name} cannot be told apart from any of the {len(verdicts)} rows it was compared with."
    return f"Better than {better} of the {len(verdicts)} rows it was compared with, over speakers and seeds."


def _chart(rows: Sequence[_Row], colours: Mapping[str, str], *, identifier: str) -> Chart | None:
    """Return macro-F against GPU time, a choice for each length; None where no time is known."""
    columns = [column for column in rows[0] if _TIME.fullmatch(column) and any(row[column] for row in rows)]
    if not columns:
        return None
    choices = {column: _TIME.sub(r"\1 s of audio", column) for column in columns}
    timed = [row for row in rows if any(row[column] for column in columns)]
    curves = curves_of({str(row["mixer"]): str(row["mixer"]) for row in timed}, colours)
    traces = [
        _points([row for row in timed if row["mixer"] == curve.name and row[column]], curve, column, label)
        for column, label in choices.items()
        for curve in curves
    ]
    for trace in traces:
        trace.visible = trace.meta["choice"] == choices[columns[0]]
    marks = [
        f"{_MARKS[each][1]}: {each}" for each in dict.fromkeys(row["direction"] for row in timed) if each in _MARKS
    ]
    first = rows[0]
    return Chart(
        id=identifier,
        title=f"Macro-F against GPU time: {first['corpus']}, {first['split']} ({first['encoder']})",
        description="Macro-F of each mixer against its GPU time. The table of scores has the same figures.",
        curves=curves,
        choices=dict.fromkeys(choices.values(), "GPU time (ms)"),
        axis="x",
        scales="xaxis",
        notes=("Up and left is better. Bars: 95 % intervals over speakers.", f"Marks: {', '.join(marks)}."),
        plot=render(
            traces,
            identifier=identifier,
            x={"title": {"text": "GPU time (ms)"}, "type": "log"},
            y={"title": {"text": "macro-F (%)"}},
        ),
    )


def _points(rows: Sequence[_Row], curve: Curve, column: str, label: str) -> go.Scatter:
    """Return the rows of one mixer with their intervals over speakers."""
    scores = [row["macro_f_percent"] for row in rows]
    ends = [
        (row["low_percent"], row["high_percent"]) if _interval(row) else (row["macro_f_percent"],) * 2 for row in rows
    ]
    return go.Scatter(
        x=[row[column] for row in rows],
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
        hovertext=[_hover(row, f"GPU time: {cell(row[column])} ms at {label}") for row in rows],
        meta={"curve": curve.name, "choice": label},
        hoverinfo="text",
    )


def _hover(row: _Row, time: str) -> str:
    interval_of = f"95 %: {_interval(row)}" if _interval(row) else ""
    return lines(_name(row), f"macro-F: {two_decimals(row['macro_f_percent'])} %", interval_of, time)


def _name(row: _Row) -> str:
    return str(row["mixer"]) if row["direction"] == "-" else f"{row['mixer']} ({row['direction']})"


def _interval(row: _Row) -> str:
    """Return the 95 % interval in %; empty if there were too few speakers."""
    low, high = row["low_percent"], row["high_percent"]
    return "" if low is None or (low, high) == (0, 100) else interval(low, high, two_decimals)
