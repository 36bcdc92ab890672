"""Table 1 from the evaluations of some runs, beside the paper's figures. Needs no torch.

All cells of a split are on the same utterances; otherwise there is no table. The spread of a cell is over seeds, its
interval over speakers. A cell of one seed says so, because most differences between the paper's cells are below one
point. A mixer in two directions has two rows, so that no figure is of both.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.accuracy.corpora.readers.msp_podcast import CLASSES
from bench.accuracy.evaluation import comparison
from bench.accuracy.evaluation.comparison import MixerScore, PairedComparison
from bench.accuracy.evaluation.predictions import Predictions
from bench.accuracy.run import DIRECTIONS, Direction
from bench.reporting.accuracy import published
from bench.reporting.accuracy.evaluations import Encoders, EvaluatedRun, Evaluation, Row, SplitReader, read_runs
from bench.reporting.accuracy.notes import notes
from mixers.support.errors import UserError

_Key = tuple[Row, str, str]  # row, column, split


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One figure of the table, a macro-F in %.

    Attributes:
        paper: The paper's figure; None if it has none, or if the runs have other classes.
        ours: Mean over seeds. This and everything below is None if it was not measured.
        spread: Standard deviation over seeds; None for one seed.
        seeds: Number of seeds.
        low, high: The 95 % interval of the mean, over speakers.
    """

    paper: float | None
    ours: float | None = None
    spread: float | None = None
    seeds: int = 0
    low: float | None = None
    high: float | None = None

    @property
    def difference(self) -> float | None:
        """Our figure minus the paper's, in points."""
        return None if self.ours is None or self.paper is None else self.ours - self.paper


@dataclass(frozen=True, kw_only=True)
class MixerPair:
    """Two rows on the same utterances, over the seeds that both have: two mixers, or one in two directions."""

    column: str
    split: str
    first: Row
    second: Row
    seeds: int
    comparison: PairedComparison


@dataclass(frozen=True, kw_only=True)
class Table1:
    """Everything that the table shows.

    Attributes:
        rows: The paper's mixers, then others, each in every direction that was measured.
        columns: The paper's encoders, then others, then the mean of the paper's.
        splits: The paper's, then others.
        cells: One for each row, column and split.
        parameters: Number of trainable parameters of each mixer; several if runs differ, none if not known.
        pairs: Every two mixers of a column, split and direction, and every mixer in two directions.
        preset: The preset of all runs.
        demo: Whether any run is a demonstration.
        notes: What a reader must know.
    """

    rows: tuple[Row, ...]
    columns: tuple[str, ...]
    splits: tuple[str, ...]
    cells: dict[_Key, Cell]
    parameters: dict[str, tuple[int, ...]]
    pairs: tuple[MixerPair, ...]
    preset: str
    demo: bool
    notes: tuple[str, ...]

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that any row is in."""
        return tuple(each for each in DIRECTIONS if any(row.direction == each for row in self.rows))


def read(folders: Sequence[Path]) -> Table1:
    """Return the table that the evaluations of some runs make.

    Raises:
        UserError: A folder is no run or has no evaluation, a file is damaged, runs differ in classes or preset, or the
            same was measured twice or on different utterances.
    """
    if not folders:
        raise UserError("a table needs runs", hint="Give folders that `sbench train` made.")
    runs = read_runs(folders)
    evaluations = [each for one in runs for each in one.evaluations]
    classes, names = runs[0].run.classes, _name_columns(one.encoders for one in runs)
    splits = tuple(dict.fromkeys([*published.SPLITS, *(each.split for each in evaluations)]))
    rows = _rows(evaluations)
    columns = (*dict.fromkeys([*published.COLUMNS, *names.values()]), published.MEAN)
    scores, pairs = _score(evaluations, names, order=rows, splits=splits, classes=classes)
    comparable = set(classes) == set(CLASSES.values())
    return Table1(
        rows=rows,
        columns=columns,
        splits=splits,
        cells={
            key: _cell(scores.get(key), _published(*key) if comparable else None)
            for key in itertools.product(rows, columns, splits)
        },
        parameters={row.mixer: _parameters(row.mixer, runs) for row in rows},
        pairs=tuple(pairs),
        preset=runs[0].run.preset,
        demo=any(one.run.demo for one in runs),
        notes=tuple(notes(runs, comparable=comparable)),
    )


def _rows(evaluations: Sequence[Evaluation]) -> tuple[Row, ...]:
    """Return the rows: a mixer of the paper that was not measured has one without a direction."""
    measured = {each.row for each in evaluations}
    mixers = dict.fromkeys([*published.MIXERS, *(each.row.mixer for each in evaluations)])
    found = {mixer: [Row(mixer, each) for each in DIRECTIONS if Row(mixer, each) in measured] for mixer in mixers}
    return tuple(row for mixer, rows in found.items() for row in rows or [Row(mixer, None)])


def _score(
    evaluations: Sequence[Evaluation],
    names: dict[Encoders, str],
    *,
    order: Sequence[Row],
    splits: Sequence[str],
    classes: Sequence[str],
) -> tuple[dict[_Key, MixerScore], list[MixerPair]]:
    """Return the scores of all cells, means included, and all pairs, in the order given."""
    scores: dict[_Key, MixerScore] = {}
    pairs: list[MixerPair] = []
    for split in splits:
        reader = SplitReader(classes)
        for encoders, column in names.items():
            found = reader.read(each for each in evaluations if (each.split, each.encoders) == (split, encoders))
            scores |= {(row, column, split): comparison.score_mixer([*by.values()]) for row, by in found.items()}
            pairs += _compare(found, order=order, column=column, split=split)
        scores |= _means(scores, split, order)
    return scores, pairs


def _name_columns(encoders: Iterable[Encoders]) -> dict[Encoders, str]:
    """Return the column of each pair of encoders: the paper's for its pairs, otherwise one of its own.

    A folder is named by its last part, unless two folders share it.
    """
    distinct = list(dict.fromkeys(encoders))
    short = {each: _label(_last(each.speech), each.text and _last(each.text)) for each in distinct}
    counts = Counter(short.values())
    return {each: label if counts[label] == 1 else _label(each.speech, each.text) for each, label in short.items()}


def _label(speech: str, text: str | None) -> str:
    if text == published.TEXT and speech in published.COLUMNS:
        return speech
    return f"{speech}, no text" if text is None else f"{speech} + {text}"


def _last(name: str) -> str:
    return Path(name).name if Path(name).is_absolute() else name


def _compare(
    found: dict[Row, dict[int, Predictions]], *, order: Sequence[Row], column: str, split: str
) -> Iterator[MixerPair]:
    """Yield the pairs of a column and split, over the seeds that both have; no pair differs in mixer and direction."""
    for first, second in itertools.combinations(sorted(found, key=order.index), 2):
        common = sorted(found[first].keys() & found[second].keys())
        if common and (first.mixer == second.mixer or first.direction == second.direction):
            one, other = ([found[row][seed] for seed in common] for row in (first, second))
            yield MixerPair(
                column=column,
                split=split,
                first=first,
                second=second,
                seeds=len(common),
                comparison=comparison.compare(one, other),
            )


def _means(scores: dict[_Key, MixerScore], split: str, rows: Sequence[Row]) -> dict[_Key, MixerScore]:
    """Return the mean over the paper's four encoders for each row that was measured with all four."""
    keys = {row: [(row, column, split) for column in published.COLUMNS] for row in rows}
    return {
        (row, published.MEAN, split): comparison.average([scores[key] for key in four])
        for row, four in keys.items()
        if all(key in scores for key in four)
    }


def _published(row: Row, column: str, split: str) -> float | None:
    """Return the paper's figure, whatever the direction of the row."""
    return published.MACRO_F.get((row.mixer, column, split))


def _cell(score: MixerScore | None, paper: float | None) -> Cell:
    if score is None:
        return Cell(paper=paper)
    spread, estimate = score.spread, score.estimate
    return Cell(
        paper=paper,
        ours=100 * spread.mean,
        spread=None if spread.deviation is None else 100 * spread.deviation,
        seeds=spread.seeds,
        low=100 * estimate.low,
        high=100 * estimate.high,
    )


def _parameters(mixer: str, runs: Sequence[EvaluatedRun]) -> tuple[int, ...]:
    return tuple(sorted({one.run.parameters[mixer] for one in runs if mixer in one.run.parameters}))
