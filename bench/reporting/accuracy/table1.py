"""Table 1 from the evaluations of some runs, beside the paper's figures. Needs no torch.

All cells of a split are on the same utterances; otherwise there is no table. The spread of a cell is over seeds, its
interval over speakers. A cell of one seed says so, because most differences between the paper's cells are below one
point.
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
from bench.reporting.accuracy import published
from bench.reporting.accuracy.evaluations import Encoders, EvaluatedRun, Evaluation, SplitReader, read_runs
from bench.reporting.accuracy.notes import notes
from mixers.support.errors import UserError

_Key = tuple[str, str, str]  # mixer, column, split


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
    """Two mixers on the same utterances, over the seeds that both have."""

    column: str
    split: str
    first: str
    second: str
    seeds: int
    comparison: PairedComparison


@dataclass(frozen=True, kw_only=True)
class Table1:
    """Everything that the table shows.

    Attributes:
        mixers: Its rows: the paper's, then others.
        columns: The paper's encoders, then others, then the mean of the paper's.
        splits: The paper's, then others.
        cells: One for each mixer, column and split.
        parameters: Number of trainable parameters of each mixer; several if runs differ, none if not known.
        pairs: Every two mixers of a column and split.
        preset: The preset of all runs.
        demo: Whether any run is a demonstration.
        notes: What a reader must know.
    """

    mixers: tuple[str, ...]
    columns: tuple[str, ...]
    splits: tuple[str, ...]
    cells: dict[_Key, Cell]
    parameters: dict[str, tuple[int, ...]]
    pairs: tuple[MixerPair, ...]
    preset: str
    demo: bool
    notes: tuple[str, ...]


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
    mixers = tuple(dict.fromkeys([*published.MIXERS, *(each.mixer for each in evaluations)]))
    columns = (*dict.fromkeys([*published.COLUMNS, *names.values()]), published.MEAN)
    scores, pairs = _score(evaluations, names, order=mixers, splits=splits, classes=classes)
    comparable = set(classes) == set(CLASSES.values())
    return Table1(
        mixers=mixers,
        columns=columns,
        splits=splits,
        cells={
            key: _cell(scores.get(key), published.MACRO_F.get(key) if comparable else None)
            for key in itertools.product(mixers, columns, splits)
        },
        parameters={mixer: _parameters(mixer, runs) for mixer in mixers},
        pairs=tuple(pairs),
        preset=runs[0].run.preset,
        demo=any(one.run.demo for one in runs),
        notes=tuple(notes(runs, comparable=comparable)),
    )


def _score(
    evaluations: Sequence[Evaluation],
    names: dict[Encoders, str],
    *,
    order: Sequence[str],
    splits: Sequence[str],
    classes: Sequence[str],
) -> tuple[dict[_Key, MixerScore], list[MixerPair]]:
    """Return the scores of all cells, means included, and every two mixers, in the order given."""
    scores: dict[_Key, MixerScore] = {}
    pairs: list[MixerPair] = []
    for split in splits:
        reader = SplitReader(classes)
        for encoders, column in names.items():
            found = reader.read(each for each in evaluations if (each.split, each.encoders) == (split, encoders))
            scores |= {(mixer, column, split): comparison.score_mixer([*by.values()]) for mixer, by in found.items()}
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
    found: dict[str, dict[int, Predictions]], *, order: Sequence[str], column: str, split: str
) -> Iterator[MixerPair]:
    """Yield every two mixers of a column and split, over the seeds that both have."""
    for first, second in itertools.combinations(sorted(found, key=order.index), 2):
        common = sorted(found[first].keys() & found[second].keys())
        if common:
            one, other = ([found[mixer][seed] for seed in common] for mixer in (first, second))
            yield MixerPair(
                column=column,
                split=split,
                first=first,
                second=second,
                seeds=len(common),
                comparison=comparison.compare(one, other),
            )


def _means(scores: dict[_Key, MixerScore], split: str, mixers: Sequence[str]) -> dict[_Key, MixerScore]:
    """Return the mean over the paper's four encoders for each mixer that was measured with all four."""
    keys = {mixer: [(mixer, column, split) for column in published.COLUMNS] for mixer in mixers}
    return {
        (mixer, published.MEAN, split): comparison.average([scores[key] for key in four])
        for mixer, four in keys.items()
        if all(key in scores for key in four)
    }


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
