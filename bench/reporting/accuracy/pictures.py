"""The pictures of an accuracy table: scores against time, learning curves and confusion matrices. Needs no torch."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN
from bench.reporting.accuracy.confusion import draw_confusions
from bench.reporting.accuracy.evaluations import Row
from bench.reporting.accuracy.learning_curves import draw_learning_curves
from bench.reporting.accuracy.score_against_length import differ_in_length, draw_score_against_length
from bench.reporting.accuracy.score_against_time import draw_score_against_time, panels_by_length, panels_of_split
from bench.reporting.accuracy.table import AccuracyTable, Cell
from bench.reporting.accuracy.words import of_one_kind, split_name
from mixers.support.errors import UserError

Tested = Mapping[Row, Cell]  # the rows of an encoder on a test

SCORE_AGAINST_TIME, SCORE_AGAINST_LENGTH = "score-against-time", "score-against-length"
LEARNING_CURVES, CONFUSION = "learning-curves", "confusion"


def write_pictures(table: AccuracyTable, output: Path) -> None:
    """Write the pictures of a table into its folder, each as PNG and PDF. Pictures of an earlier table are removed.

    ``score-against-length-ENCODER`` is written if the recordings of the tests differ in length. If the table has costs
    too, ``score-against-time-ENCODER`` has a panel for each of these lengths, otherwise there is one such picture for
    each split. Tests that differ in more than length have pictures of their own: ``...-ENCODER-TEST``.
    ``confusion-ENCODER-SPLIT`` is written for each test, ``learning-curves-ENCODER`` if a run has metrics.

    Raises:
        UserError: A file cannot be written.
    """
    try:
        written = set(_draw(table, output))
        for name in (SCORE_AGAINST_TIME, SCORE_AGAINST_LENGTH, LEARNING_CURVES, CONFUSION):
            for path in output.glob(f"{name}-*.*"):
                if path.suffix in (".png", ".pdf") and path.with_suffix("") not in written:
                    path.unlink()
    except OSError as error:
        message = f"the pictures cannot be written into {output}: {error.strerror}"
        raise UserError(message, hint="The table was written before. Make room, or give another --output.") from None


def _draw(table: AccuracyTable, output: Path) -> Iterator[Path]:
    """Draw everything; yield the path of each picture, without an ending."""
    names = _file_names(table.columns)
    mark = " (demonstration)" if table.demo else ""
    for column in table.columns:
        runs = [one for one in table.runs if table.names[one.encoders] == column]
        stem = output / f"{LEARNING_CURVES}-{names[column]}"
        if draw_learning_curves(runs, table.rows, stem, title=f"{column}{mark}: learning curves"):
            yield stem
        by_split = {split: _cells(table, column, split) for split in table.splits}
        tests = {split: cells for split, cells in by_split.items() if cells and split not in (TRAIN, DEVELOPMENT)}
        by_length = {kind: each for kind, each in _alike(tests).items() if differ_in_length(each.values())}
        for kind, alike in by_length.items():
            ending, of = (f"-{kind}", f", {kind}") if len(_alike(tests)) > 1 else ("", "")
            stem = output / f"{SCORE_AGAINST_LENGTH}-{names[column]}{ending}"
            draw_score_against_length([*alike.values()], stem, title=f"{column}{of}{mark}")
            yield stem
            stem = output / f"{SCORE_AGAINST_TIME}-{names[column]}{ending}"
            panels = panels_by_length(alike, table.costs, column) if table.costs else []
            if table.costs and draw_score_against_time(
                panels, table.costs, stem, title=f"{column}{of}, tests of each length{mark}"
            ):
                yield stem
        without = {DEVELOPMENT, *itertools.chain.from_iterable(by_length.values())} if by_length else set()
        for split, cells in by_split.items():
            title = f"{column}, {split_name(split)}{mark}"
            stem = output / f"{SCORE_AGAINST_TIME}-{names[column]}-{split}"
            if table.costs and split not in without:
                panels = panels_of_split(cells, table.costs, column)
                if draw_score_against_time(panels, table.costs, stem, title=title):
                    yield stem
            matrices = {row: cell.confusion for row, cell in cells.items() if cell.confusion}
            if matrices and split in tests:
                stem = output / f"{CONFUSION}-{names[column]}-{split}"
                title = f"{title}: per cent of each true class, all seeds and folds together"
                draw_confusions(matrices, stem, classes=table.classes, title=title)
                yield stem


def _alike(tests: Mapping[str, Tested]) -> dict[str, dict[str, Tested]]:
    """Return the tests by what they are of; those of one kind differ in nothing but their length."""
    return {kind: {split: tests[split] for split in splits} for kind, splits in of_one_kind(tests).items()}


def _cells(table: AccuracyTable, column: str, split: str) -> dict[Row, Cell]:
    """Return the rows of an encoder on a split."""
    return {key.row: cell for key, cell in table.cells.items() if (key.column, key.split) == (column, split)}


def _file_names(columns: Sequence[str]) -> dict[str, str]:
    """Return a part of a file name for each column; those that would be the same get a number."""
    short = {column: re.sub(r"[^A-Za-z0-9]+", "-", column).strip("-") for column in columns}
    every = list(short.values())
    return {
        column: name if every.count(name) == 1 else f"{name}-{place}"
        for place, (column, name) in enumerate(short.items(), start=1)
    }
