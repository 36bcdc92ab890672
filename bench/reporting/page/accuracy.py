"""The accuracy table that ``sbench table`` wrote: the best score, scores against GPU time, and all rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.accuracy.evaluation.intervals import FEWEST_SPEAKERS
from bench.reporting.accuracy.files import PAIRS_FILES, TABLE_FILES
from bench.reporting.accuracy.words import DEMONSTRATION
from bench.reporting.formats import enumeration, two_decimals
from bench.reporting.page.charts import Chart, colours_of
from bench.reporting.page.findings import Finding, Question
from bench.reporting.page.grids import Grid, of_frame
from bench.reporting.page.score_charts import Row, charts_of, interval_of, name_of
from mixers.support.errors import UserError

_NEEDED = ("mixer", "direction", "encoder", "corpus", "split", "macro_f_percent", "low_percent", "high_percent")
_OF_PAIRS = ("encoder", "split", "mixer", "direction", "other", "its direction", "mixer is")


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What ``sbench table`` wrote.

    Attributes:
        name: Of its folder.
        frame: The table of scores.
        pairs: A row for each pair that was compared.
        notes: What stands below the Markdown form of the table.
    """

    name: str
    frame: pd.DataFrame
    pairs: tuple[Row, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """What the page shows of one table.

    Attributes:
        demonstration: A warning if its corpus is a synthetic one; otherwise empty.
        questions: Who is the most accurate, for each encoder and test.
        charts: Score against length, where tests differ in it, and against GPU time, where one is known.
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
        name=folder.resolve().name,
        frame=_read(folder / f"{TABLE_FILES}.csv", columns=_NEEDED),
        pairs=tuple(_rows(_read(file, columns=_OF_PAIRS)) if file.exists() else ()),
        notes=tuple(_notes(folder)),
    )


def show(scores: Scores, colours: Mapping[str, str], *, identifier: str, named: bool = False) -> Accuracy:
    """Return what the page shows of a table.

    Args:
        scores: The table.
        colours: Of the mixers of the page. A mixer that has none gets the first one that is free.
        identifier: Of the charts' elements, without their number.
        named: Whether titles say which table it is.
    """
    rows = _rows(scores.frame)
    groups: dict[tuple[str, ...], dict[str, list[Row]]] = {}
    for row in [row for row in rows if row["split"] != "development"] or rows:
        groups.setdefault((row["corpus"], row["encoder"]), {}).setdefault(row["split"], []).append(row)
    colours = colours_of([*colours, *(str(row["mixer"]) for row in rows)])
    of = f", {scores.name}" if named else ""
    charts = [
        chart
        for at, ((corpus, encoder), splits) in enumerate(groups.items())
        for chart in charts_of(splits, colours, of=f"{corpus} ({encoder}{of})", identifier=f"{identifier}-{at}")
    ]
    frame = scores.frame.drop(columns="demonstration", errors="ignore")
    return Accuracy(
        demonstration=DEMONSTRATION if any(str(row.get("demonstration")) == "True" for row in rows) else "",
        questions=tuple(
            Question(
                title=f"Most accurate, by macro-F on {corpus} ({encoder}{of})",
                findings=tuple(_finding(alike, scores.pairs) for alike in splits.values()),
            )
            for (corpus, encoder), splits in groups.items()
        ),
        charts=tuple(charts),
        grid=of_frame(frame, title=f"All scores{of}", notes=scores.notes),
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


def _rows(frame: pd.DataFrame) -> list[Row]:
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


def _finding(rows: Sequence[Row], pairs: Sequence[Row]) -> Finding:
    """Return who has the highest macro-F in a test, and how many of those that they were compared with they beat."""
    highest = max(row["macro_f_percent"] for row in rows)
    best, *tied = [row for row in rows if row["macro_f_percent"] == highest]
    between = interval_of(best)
    return Finding(
        where=best["split"],
        who=enumeration(map(name_of, (best, *tied))),
        figure=f"{two_decimals(highest)} %{f' (95 %: {between})' if between else ''}",
        certainty="They have the same score." if tied else _certainty(best, list(_verdicts(best, pairs))),
    )


def _verdicts(row: Row, pairs: Sequence[Row]) -> Iterator[str]:
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


def _certainty(row: Row, verdicts: Sequence[str]) -> str:
    if not verdicts:
        few = row.get("speakers") is not None and row["speakers"] < FEWEST_SPEAKERS
        reason = f": the test has {row['speakers']:g} speakers of at least {FEWEST_SPEAKERS}" if few else ""
        return f"Nothing was compared with it{reason}."
    better = verdicts.count("better")
    if not better:
        name = name_of(row)
        return f"Not certain: {name} cannot be told apart from any of the {len(verdicts)} rows it was compared with."
    return f"Better than {better} of the {len(verdicts)} rows it was compared with, over speakers and seeds."
