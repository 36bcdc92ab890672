"""The pictures of an accuracy table: scores against time, learning curves and confusion matrices. Needs no torch."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN
from bench.reporting.accuracy.confusion import draw_confusions
from bench.reporting.accuracy.learning_curves import draw_learning_curves
from bench.reporting.accuracy.score_against_time import draw_score_against_time
from bench.reporting.accuracy.table import AccuracyTable
from bench.reporting.accuracy.words import split_name
from mixers.support.errors import UserError

SCORE_AGAINST_TIME, LEARNING_CURVES, CONFUSION = "score-against-time", "learning-curves", "confusion"


def write_pictures(table: AccuracyTable, output: Path) -> None:
    """Write the pictures of a table into its folder, each as PNG and PDF. Pictures of an earlier table are removed.

    ``score-against-time-ENCODER-SPLIT`` is written if the table has costs, ``confusion-ENCODER-SPLIT`` for each test,
    and ``learning-curves-ENCODER`` if a run has metrics.

    Raises:
        UserError: A file cannot be written.
    """
    try:
        written = set(_draw(table, output))
        for name in (SCORE_AGAINST_TIME, LEARNING_CURVES, CONFUSION):
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
        for split in table.splits:
            cells = {key.row: cell for key, cell in table.cells.items() if (key.column, key.split) == (column, split)}
            title = f"{column}, {split_name(split)}{mark}"
            stem = output / f"{SCORE_AGAINST_TIME}-{names[column]}-{split}"
            if table.costs and draw_score_against_time(cells, table.costs, column, stem, title=title):
                yield stem
            matrices = {row: cell.confusion for row, cell in cells.items() if cell.confusion}
            if matrices and split not in (TRAIN, DEVELOPMENT):
                stem = output / f"{CONFUSION}-{names[column]}-{split}"
                classes = table.classes
                title = f"{title}: per cent of each true class, all seeds and folds together"
                draw_confusions(matrices, stem, classes=classes, title=title)
                yield stem


def _file_names(columns: Sequence[str]) -> dict[str, str]:
    """Return a part of a file name for each column; those that would be the same get a number."""
    short = {column: re.sub(r"[^A-Za-z0-9]+", "-", column).strip("-") for column in columns}
    every = list(short.values())
    return {
        column: name if every.count(name) == 1 else f"{name}-{place}"
        for place, (column, name) in enumerate(short.items(), start=1)
    }
