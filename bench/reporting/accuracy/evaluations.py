"""The evaluations of some runs: found in their folders, checked against each other, and read. Imports no torch."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.accuracy import run as run_folder
from bench.accuracy.evaluation import intervals
from bench.accuracy.evaluation.predictions import Predictions, read_predictions
from bench.accuracy.run import Direction, Run
from bench.reporting.accuracy import published
from mixers.support.errors import UserError

_EVALUATE_HINT = "Make it again with `sbench evaluate`."


@dataclass(frozen=True, kw_only=True)
class Encoders:
    """The encoders of a run, those of the paper under its names; text is None for speech alone."""

    speech: str
    text: str | None


class Row(NamedTuple):
    """What has a row in the table: a mixer in one direction; the direction is None if no run has the mixer."""

    mixer: str
    direction: Direction | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One file of predictions.

    Attributes:
        encoders, split, row, seed: What was evaluated.
        path: The file.
        expected: How many utterances its split has.
        used: How many of them were evaluated.
    """

    encoders: Encoders
    split: str
    row: Row
    seed: int
    path: Path
    expected: int
    used: int


@dataclass(frozen=True, kw_only=True)
class EvaluatedRun:
    """A run and its evaluations."""

    folder: Path
    run: Run
    encoders: Encoders
    evaluations: tuple[Evaluation, ...]


def read_runs(folders: Sequence[Path]) -> list[EvaluatedRun]:
    """Return what some runs evaluated, without the predictions.

    Raises:
        UserError: A folder is no run or has no evaluation, runs differ in classes or preset, or the same was measured
            twice.
    """
    runs = [_read_run(folder) for folder in folders]
    for one in runs[1:]:
        _check_alike(runs[0], one)
    seen: dict[object, Path] = {}
    for each in (evaluation for one in runs for evaluation in one.evaluations):
        key = each.encoders, each.row, each.seed, each.split
        if key in seen:
            message = f"{seen[key]} and {each.path} are of the same encoders, mixer, direction, seed and split"
            raise UserError(message, hint="Give only one of the runs.")
        seen[key] = each.path
    return runs


def _read_run(folder: Path) -> EvaluatedRun:
    run = run_folder.read(folder)
    text = published.TEXT if run.text in published.TEXT_ENCODERS else run.text
    encoders = Encoders(speech=published.ENCODERS.get(run.speech, run.speech), text=text)
    evaluations = tuple(_find(folder / "evaluation", run, encoders))
    if not evaluations:
        raise UserError(f"{folder} has no evaluation", hint=f"Make one with `sbench evaluate {folder}`.")
    return EvaluatedRun(folder=folder, run=run, encoders=encoders, evaluations=evaluations)


def _find(folder: Path, run: Run, encoders: Encoders) -> Iterator[Evaluation]:
    """Yield the evaluations of every split, for each mixer and seed of the run that has predictions."""
    names = [(name.partition("/")[0], seed) for name in run.mixers for seed in run.seeds]
    for split in sorted(path for path in folder.glob("*") if path.is_dir()):
        paths = {name: split / f"{name[0]}-{name[1]}.csv" for name in names}
        existing = {name: path for name, path in paths.items() if path.exists()}
        expected, used = _count(split / "utterances.json") if existing else (0, 0)
        for (mixer, seed), path in existing.items():
            yield Evaluation(
                encoders=encoders,
                split=split.name,
                row=Row(mixer, run.direction),
                seed=seed,
                path=path,
                expected=expected,
                used=used,
            )


def _count(path: Path) -> tuple[int, int]:
    """Return how many utterances a split has and how many of them were evaluated."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return int(fields["expected"]), int(fields["used"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path} is missing or damaged", hint=_EVALUATE_HINT) from None


def _check_alike(one: EvaluatedRun, other: EvaluatedRun) -> None:
    values = {
        "preset": (one.run.preset, other.run.preset),
        "classes": (", ".join(one.run.classes), ", ".join(other.run.classes)),
    }
    for what, (first, second) in values.items():
        if first != second:
            message = f"{one.folder} and {other.folder} differ in {what}: {first} and {second}"
            raise UserError(message, hint="Make a table of each.")


class SplitReader:
    """Reads the predictions of one split, all on the utterances of the first file that was read.

    A whole table of predictions would fill the memory, so only the first file is kept.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._first: tuple[Path, Predictions] | None = None

    def read(self, evaluations: Iterable[Evaluation]) -> dict[Row, dict[int, Predictions]]:
        """Return predictions by row and seed.

        Raises:
            UserError: A file is damaged or incomplete, or is on other utterances than the first.
        """
        found: dict[Row, dict[int, Predictions]] = {}
        for each in evaluations:
            found.setdefault(each.row, {})[each.seed] = self._read(each)
        return found

    def _read(self, evaluation: Evaluation) -> Predictions:
        predictions = read_predictions(evaluation.path, classes=self._classes)
        if len(predictions) != evaluation.used:
            message = f"{evaluation.path} has {len(predictions)} utterances where {evaluation.used} were evaluated"
            raise UserError(message, hint=_EVALUATE_HINT)
        path, first = self._first = self._first or (evaluation.path, predictions)
        if (name := intervals.first_mismatch(predictions, first)) is not None:
            message = f"{path} and {evaluation.path} are on different utterances: {name!r} is not the same in both"
            raise UserError(message, hint="Evaluate all runs on the same release of the same corpus.")
        return predictions
