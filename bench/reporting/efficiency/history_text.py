"""What the terminal, a pull request and a CSV file show of a history."""

import io
import itertools
from collections.abc import Iterator, Sequence
from csv import DictWriter

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from bench.efficiency.settings import Case
from bench.reporting.efficiency.history import History, Point
from bench.reporting.formats import NOTHING, four_digits, interval, ratio

CSV_FILE = "history.csv"

CLOCKS = {"gpu": "GPU time", "latency": "single calls"}

CHANGE_HEADS = ("case", "seconds", "changed in", "since", "before (ms)", "after (ms)", "ratio", "interval", "verdict")


def tally(history: History) -> str:
    """Return how many cases changed, out of those that could be judged, and how many could not be."""
    without, partly, nowhere = _unjudged(history)
    judged, number = len(history.series) - without - nowhere, len(history.changes)
    cases = f"{judged} case{'' if judged == 1 else 's'}"
    cases += " that could be judged" if without or nowhere else ""
    changed = len({case for case, _ in history.changes})
    what = f"{number} change{'' if number == 1 else 's'} in {changed} of {cases}" if number else f"no change in {cases}"
    rest = [
        f"{without} without a verdict" if without else "",
        f"{partly} without a verdict in some sweeps" if partly else "",
        f"{nowhere} with a figure in fewer than two sweeps" if nowhere else "",
    ]
    line = f"{what if judged else 'no case could be judged'}, over {len(history.sweeps)} sweeps"
    return "; ".join(filter(None, [line, ", ".join(filter(None, rest))]))


def _unjudged(history: History) -> tuple[int, int, int]:
    """Return how many cases have a verdict in no sweep, in only some of them, and a figure in fewer than two."""
    judged = {case for case, points in history.series.items() if any(point.judgement for point in points)}
    unknown = {case for case, _ in history.unknown}
    return len(unknown - judged), len(unknown & judged), len(history.series.keys() - unknown - judged)


def sweep_rows(history: History) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the heads and the rows of the table of sweeps: number, date, folder, and the versions that differ."""
    names = dict.fromkeys(name for sweep in history.sweeps for name in sweep.versions)
    differing = [name for name in names if len({sweep.versions.get(name) for sweep in history.sweeps}) > 1]
    rows = [
        (str(number), sweep.date, str(sweep.folder), *(sweep.versions.get(name, NOTHING) for name in differing))
        for number, sweep in enumerate(history.sweeps, start=1)
    ]
    return ("sweep", "began (UTC)", "folder", *(name.replace("_", " ") for name in differing)), rows


def change_rows(history: History) -> list[tuple[str, ...]]:
    """Return a row for each change, with a cell for each of `CHANGE_HEADS`. Sweeps are numbered from 1."""
    return [_change(history, case, point) for case, point in history.changes]


def _change(history: History, case: Case, point: Point) -> tuple[str, ...]:
    judged = point.judgement
    assert judged is not None
    assert point.since is not None
    return (
        history.name(case),
        f"{case.seconds:g}",
        str(point.sweep + 1),
        str(point.since + 1),
        four_digits(judged.median_before),
        four_digits(judged.median_after),
        ratio(judged.ratio),
        interval(judged.low, judged.high, ratio),
        judged.verdict,
    )


def without_verdict(history: History) -> list[str]:
    """Return a line for each mixer and sweep that could not be judged, with the reason."""
    alike = itertools.groupby(history.unknown, key=lambda each: (history.name(each[0]), each[1].reason, each[1].sweep))
    return [
        f"{name} at {', '.join(f'{case.seconds:g}' for case, _ in points)} s in sweep {sweep + 1}: {reason}"
        for (name, reason, sweep), points in alike
    ]


def render(history: History) -> Group:
    """Return what the terminal shows: warnings, sweeps, changes, their tally, and what has no verdict."""
    return Group(*_parts(history))


def _parts(history: History) -> Iterator[Text | Table]:
    for warning in history.warnings:
        yield Text(f"WARNING: {warning}", style="bold yellow")
    yield _table(*sweep_rows(history))
    if history.changes:
        yield Text("")
        yield _table(CHANGE_HEADS, change_rows(history))
        yield Text(
            f"By {CLOCKS[history.by]}, by the rules of `sbench compare`. since: the sweep compared with", style="dim"
        )
    yield Text(f"\n{tally(history)}", style="bold")
    lines = without_verdict(history)
    if lines:
        yield Text("\n".join(["without a verdict:", *(f"  {line}" for line in lines)]))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(head.replace(" (", "\n("), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def markdown(history: History) -> str:
    """Return a summary for a pull request. Sweeps and settings without a change are only counted."""
    heads, rows = sweep_rows(history)
    parts = [f"### sbench: {tally(history)}", *(f"> **Warning:** {_escape(warning)}" for warning in history.warnings)]
    parts += [_grid(CHANGE_HEADS, change_rows(history))] if history.changes else []
    parts += [f"By {CLOCKS[history.by]}, by the rules of `sbench compare`.", _grid(heads, rows)]
    lines = [f"- {_escape(line)}" for line in without_verdict(history)]
    if lines:
        summary = f"<summary>{len(lines)} without a verdict</summary>"
        parts.append("\n".join(["<details>", summary, "", *lines, "", "</details>"]))
    return "\n\n".join(parts)


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(_escape(cell) for cell in line)} |" for line in lines)


def _escape(text: str) -> str:
    """Return text that Markdown shows as it is, on one line of a table."""
    for character in "\\`*_|<>[]":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def csv(history: History) -> str:
    """Return a row for each case and sweep, in full precision."""
    rows = [_row(history, case, point) for case, points in history.series.items() for point in points]
    stream = io.StringIO()
    writer = DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _row(history: History, case: Case, point: Point) -> dict[str, object]:
    judged, sweep = point.judgement, history.sweeps[point.sweep]
    since = None if point.since is None else history.sweeps[point.since].folder
    return {
        "mixer": point.record.mixer,
        "implementation": point.record.implementation,
        "setting": case.setting.label,
        "seconds": case.seconds,
        "sweep": sweep.folder,
        "began": sweep.began.isoformat(),
        "status": point.record.status,
        "by": history.by,
        "ms": history.time(point.record),
        "peak_memory_gib": point.record.peak_memory_gib,
        "compared_with": since,
        "ratio": judged and judged.ratio,
        "ratio_low": judged and judged.low,
        "ratio_high": judged and judged.high,
        "verdict": judged and judged.verdict,
        "changed": point.changed,
        "reason": point.reason,
        **{name: sweep.versions.get(name) for name in dict.fromkeys(n for s in history.sweeps for n in s.versions)},
    }
