"""The accuracy table from the evaluations of some runs. Needs no torch.

It has a row for each mixer, direction, encoder and split that was measured, and nothing else. The folds of a corpus are
one split: every recording is scored once. All rows of a split are on the same utterances; otherwise there is no table.
The spread of a row is over seeds, its interval over speakers. The paper's figures stand beside ours where both exist.
"""

import itertools
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN
from bench.accuracy.corpora.readers.msp_podcast import CLASSES
from bench.accuracy.evaluation import comparison
from bench.accuracy.evaluation.comparison import MixerScore, PairedComparison
from bench.accuracy.evaluation.intervals import FEWEST_SPEAKERS
from bench.accuracy.evaluation.predictions import Predictions
from bench.accuracy.run import DIRECTIONS, Direction
from bench.reporting import published
from bench.reporting.accuracy import probes as linear
from bench.reporting.accuracy.columns import name_columns
from bench.reporting.accuracy.costs import Costs, read_costs
from bench.reporting.accuracy.evaluations import NO_DIRECTION, Encoders, Evaluated, EvaluatedRun, Row
from bench.reporting.accuracy.folds import Measured, SplitReader, join_folds
from bench.reporting.accuracy.notes import notes
from bench.reporting.formats import NOTHING
from mixers.support.errors import UserError


class Key(NamedTuple):
    """What a figure is of."""

    row: Row
    column: str
    split: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The scores of a mixer with an encoder on a split, in %.

    Attributes:
        ours: Macro-F, the mean over seeds.
        spread: Its standard deviation over seeds; None for one seed.
        seeds: Number of seeds; 0 for the linear probe, which has none.
        low, high: The 95 % interval of that mean, over speakers.
        recall, recall_low, recall_high: The same of the unweighted average recall (UAR).
        utterances, speakers: What was tested; unknown speakers count as in the intervals.
        folds: How many folds were pooled; 0 if the split is of no fold.
        corpus: The name of the corpus that was tested.
        seconds: The median length of the recordings, on average over the folds; None if it is not known.
        paper: The paper's macro-F; None if it has none, or none that is comparable.
        confusion: Utterances of all seeds together, a row for each true class, a column for each predicted one; None
            for a mean of encoders.
    """

    ours: float
    spread: float | None
    seeds: int
    low: float
    high: float
    recall: float
    recall_low: float
    recall_high: float
    utterances: int
    speakers: int
    folds: int
    corpus: str
    seconds: float | None
    paper: float | None
    confusion: tuple[tuple[int, ...], ...] | None = None

    @property
    def difference(self) -> float | None:
        """Our figure minus the paper's, in points."""
        return None if self.paper is None else self.ours - self.paper


@dataclass(frozen=True, kw_only=True)
class MixerPair:
    """Two rows on the same utterances, over the seeds that both have: two mixers, or one in two directions.

    The linear probe is compared with every row, over all seeds of that row.
    """

    column: str
    split: str
    first: Row
    second: Row
    seeds: int
    comparison: PairedComparison


@dataclass(frozen=True, kw_only=True)
class AccuracyTable:
    """Everything that the table shows.

    Attributes:
        cells: What was measured, in the order of the table: by encoder, split, mixer and direction. The encoders are
            the paper's, then others, then the mean of the paper's; mixers and splits are the paper's, then others.
        parameters: Number of trainable parameters of each mixer or probe behind each encoder; several if runs differ.
        pairs: Every two mixers of an encoder, test split and direction, and every mixer in two directions. p-values and
            verdicts take the number of all of them into account.
        preset: The preset of all runs; a dash if there are only probes.
        demo: Whether any run is a demonstration.
        notes: What a reader must know.
        classes: All classes of the corpus.
        runs: The runs that it is made from.
        names: The column of each pair of encoders.
        costs: What the rows cost; None if no sweep was given.
    """

    cells: dict[Key, Cell]
    parameters: dict[tuple[str, str], tuple[int, ...]]
    pairs: tuple[MixerPair, ...]
    preset: str
    demo: bool
    notes: tuple[str, ...]
    classes: tuple[str, ...]
    runs: tuple[EvaluatedRun, ...]
    names: dict[Encoders, str]
    costs: Costs | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        """The mixers with their directions."""
        return _ordered_rows(key.row for key in self.cells)

    @property
    def columns(self) -> tuple[str, ...]:
        """The encoders."""
        return tuple(dict.fromkeys(key.column for key in self.cells))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits."""
        return _ordered_splits(key.split for key in self.cells)

    def parameters_of(self, mixer: str, columns: Iterable[str]) -> tuple[int, ...]:
        """Return the numbers of parameters of a mixer behind some encoders, rising; none if not known."""
        known = {column for each in columns for column in (published.COLUMNS if each == published.MEAN else (each,))}
        found = (self.parameters.get((mixer, column), ()) for column in known)
        return tuple(sorted(set(itertools.chain.from_iterable(found))))

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that any row is in."""
        return tuple(each for each in DIRECTIONS if any(row.direction == each for row in self.rows))


def read(folders: Sequence[Path], *, sweeps: Sequence[Path] = ()) -> AccuracyTable:
    """Return the table that the evaluations of some runs and probes make, with the GPU times of sweeps beside them.

    Raises:
        UserError: A folder is no run and no probe, or has no evaluation. Or a file is damaged, runs differ in classes
            or preset, the same was measured twice or on different utterances, or no mixer has all folds. Or as
            `read_costs`.
    """
    if not folders:
        raise UserError("a table needs runs", hint="Give folders that `sbench train` made.")
    runs, probes = linear.read_folders(folders)
    every: list[Evaluated] = [*runs, *probes]
    measured, missing = join_folds([each for one in every for each in one.evaluations])
    classes, names = every[0].classes, name_columns(one.encoders for one in every)
    demo = any(one.run.demo for one in runs)
    cells, pairs = _score(measured, names, classes=classes)
    if demo or set(classes) != set(CLASSES.values()):
        cells = {key: replace(cell, paper=None) for key, cell in cells.items()}
    costs = read_costs(sweeps, runs, {key.row for key in cells}, columns=names) if sweeps else None
    speakers = max((cells[Key(pair.first, pair.column, pair.split)].speakers for pair in pairs), default=0)
    return AccuracyTable(
        cells=cells,
        parameters=_parameters(runs, probes, names),
        pairs=tuple(_controlled(pairs)),
        preset=runs[0].run.preset if runs else NOTHING,
        demo=demo,
        notes=(
            *missing,
            *notes(runs, probes, measured, comparisons=len(pairs), speakers=speakers, beside=_beside(cells)),
            *linear.notes(probes, paired=any(linear.ROW in (pair.first, pair.second) for pair in pairs)),
            *(costs.notes if costs else ()),
        ),
        classes=tuple(classes),
        runs=tuple(runs),
        names=names,
        costs=costs,
    )


def _beside(cells: dict[Key, Cell]) -> bool:
    """Return whether any figure of the paper stands beside ours."""
    return any(cell.paper is not None for cell in cells.values())


def _ordered_rows(rows: Iterable[Row]) -> tuple[Row, ...]:
    distinct = dict.fromkeys(rows)
    mixers = list(dict.fromkeys([*published.MIXERS, *(row.mixer for row in distinct)]))
    directions = [*DIRECTIONS, NO_DIRECTION]
    return tuple(sorted(distinct, key=lambda row: (mixers.index(row.mixer), directions.index(row.direction))))


def _ordered_splits(splits: Iterable[str]) -> tuple[str, ...]:
    distinct = set(splits)
    others = sorted(distinct - set(published.SPLITS), key=_by_number)
    return tuple(split for split in [*published.SPLITS, *others] if split in distinct)


def _by_number(name: str) -> list[int | str]:
    """Return what names with numbers sort by: test-30s before test-120s."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", name)]


def _score(
    measured: Sequence[Measured], names: dict[Encoders, str], *, classes: Sequence[str]
) -> tuple[dict[Key, Cell], list[MixerPair]]:
    """Return all cells, means included, and all pairs, in the order of the table."""
    rows = _ordered_rows(each.row for each in measured)
    scores: dict[Key, MixerScore] = {}
    parts: dict[Key, Measured] = {}
    confusions: dict[Key, tuple[tuple[int, ...], ...]] = {}
    pairs: list[MixerPair] = []
    for split in _ordered_splits(each.split for each in measured):
        reader = SplitReader(classes)
        for encoders, column in names.items():
            here = [each for each in measured if (each.split, each.encoders) == (split, encoders)]
            found = reader.read(here)
            for row in sorted(found, key=rows.index):
                scores[Key(row, column, split)] = comparison.score_mixer([*found[row].values()])
                confusions[Key(row, column, split)] = _confusion(found[row].values())
            parts |= {Key(each.row, column, split): each for each in here}
            enough = all(scores[Key(row, column, split)].speakers >= FEWEST_SPEAKERS for row in found)
            if enough and split not in (TRAIN, DEVELOPMENT):  # the weights were chosen on these
                pairs += _compare(found, order=rows, column=column, split=split)
        for mean, four in _means(scores, split, rows).items():
            scores[mean] = comparison.average([scores[key] for key in four])
            parts[mean] = parts[four[0]]
    columns = [*published.COLUMNS, *names.values(), published.MEAN]
    ordered = sorted(scores, key=lambda key: columns.index(key.column))
    cells = {key: _cell(key, scores[key], parts[key]) for key in ordered}
    return {key: replace(cell, confusion=confusions.get(key)) for key, cell in cells.items()}, pairs


def _confusion(seeds: Iterable[Predictions]) -> tuple[tuple[int, ...], ...]:
    """Return the confusion matrix of all seeds together."""
    total = sum(each.speaker_confusions.sum(0) for each in seeds)  # (C, C)
    return tuple(tuple(row) for row in total.tolist())


def _compare(
    found: dict[Row, dict[int, Predictions]], *, order: Sequence[Row], column: str, split: str
) -> Iterator[MixerPair]:
    """Yield the pairs of a column and split, over the seeds that both have; no pair differs in mixer and direction."""
    for first, second in itertools.combinations(sorted(found, key=order.index), 2):
        sets = linear.by_seed(found, first, beside=second), linear.by_seed(found, second, beside=first)
        common = sorted(sets[0].keys() & sets[1].keys())
        if common and linear.may_be_paired(first, second):
            one, other = ([each[seed] for seed in common] for each in sets)
            yield MixerPair(
                column=column,
                split=split,
                first=first,
                second=second,
                seeds=len(common),
                comparison=comparison.compare(one, other),
            )


def _controlled(pairs: Sequence[MixerPair]) -> Iterator[MixerPair]:
    controlled = comparison.control([pair.comparison for pair in pairs])
    yield from (replace(pair, comparison=each) for pair, each in zip(pairs, controlled, strict=True))


def _means(scores: dict[Key, MixerScore], split: str, rows: Sequence[Row]) -> dict[Key, list[Key]]:
    """Return the paper's four encoders for each row that was measured with all four, by the key of their mean."""
    keys = {row: [Key(row, column, split) for column in published.COLUMNS] for row in rows}
    return {Key(row, published.MEAN, split): four for row, four in keys.items() if all(key in scores for key in four)}


def _cell(key: Key, score: MixerScore, measured: Measured) -> Cell:
    spread, tested = score.spread, measured.parts[0].tested
    lengths = [part.tested.seconds or 0 for part in measured.parts]
    of_paper = published.MACRO_F.get((key.row.mixer, key.column, key.split))  # whatever the direction
    return Cell(
        ours=100 * spread.mean,
        spread=None if spread.deviation is None else 100 * spread.deviation,
        seeds=0 if key.row == linear.ROW else spread.seeds,
        low=100 * score.estimate.low,
        high=100 * score.estimate.high,
        recall=100 * score.recall.value,
        recall_low=100 * score.recall.low,
        recall_high=100 * score.recall.high,
        utterances=sum(part.tested.used for part in measured.parts),
        speakers=score.speakers,
        folds=measured.folds,
        corpus=tested.corpus,
        seconds=statistics.fmean(lengths) if all(lengths) else None,
        paper=of_paper if tested.corpus == published.CORPUS else None,
    )


def _parameters(
    runs: Sequence[EvaluatedRun], probes: Sequence[linear.EvaluatedProbe], names: dict[Encoders, str]
) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return the numbers of parameters by mixer, or probe, and encoder."""
    every = [(mixer, one.encoders, count) for one in runs for mixer, count in one.run.parameters.items()]
    every += [(linear.ROW.mixer, one.encoders, one.probe.parameters) for one in probes]
    found: dict[tuple[str, str], set[int]] = {}
    for mixer, encoders, count in every:
        found.setdefault((mixer, names[encoders]), set()).add(count)
    return {key: tuple(sorted(counts)) for key, counts in found.items()}
