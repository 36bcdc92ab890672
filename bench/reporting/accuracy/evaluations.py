"""The evaluations of some runs: found in their folders and checked against each other. Imports no torch."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.accuracy import run as run_folder
from bench.accuracy.corpora.reference import parse_reference
from bench.accuracy.run import Direction, Run
from bench.reporting.accuracy import published
from mixers.support.errors import UserError

EVALUATE_HINT = "Make it again with `sbench evaluate`."


@dataclass(frozen=True, kw_only=True)
class Encoders:
    """The encoders of a run, those of the paper under its names; text is None for speech alone."""

    speech: str
    text: str | None


class Row(NamedTuple):
    """What is compared: a mixer in one direction."""

    mixer: str
    direction: Direction


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What utterances.json says about an evaluated split.

    Attributes:
        corpus: The name of the corpus: ``ravdess``.
        fold: The fold, if the split is of one.
        folds: How many folds the corpus has.
        expected: How many utterances the split has.
        used: How many of them were evaluated.
        heard: How many of the evaluated ones training heard, or whose speakers; None if that was not checked.
    """

    corpus: str
    fold: int | None
    folds: int
    expected: int
    used: int
    heard: int | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One file of predictions, and what was evaluated."""

    encoders: Encoders
    split: str
    row: Row
    seed: int
    path: Path
    tested: Tested


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
        key = each.encoders, each.row, each.seed, each.split, each.tested.fold
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
        if not existing:
            continue
        tested = _tested(split / "utterances.json", run)
        for (mixer, seed), path in existing.items():
            row = Row(mixer, run.direction)
            yield Evaluation(encoders=encoders, split=split.name, row=row, seed=seed, path=path, tested=tested)


def _tested(path: Path, run: Run) -> Tested:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        corpus = parse_reference(str(fields.get("corpus", run.corpus)))
        overlap = fields.get("overlap")
        heard = None if overlap is None else 0 if overlap["treatment"] == "leave-out" else int(overlap["utterances"])
        return Tested(
            corpus=corpus.name,
            fold=corpus.fold,
            folds=int(fields.get("folds", 0)),
            expected=int(fields["expected"]),
            used=int(fields["used"]),
            heard=heard,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError):
        raise UserError(f"{path} is missing or damaged", hint=EVALUATE_HINT) from None


def _check_alike(one: EvaluatedRun, other: EvaluatedRun) -> None:
    values = {
        "preset": (one.run.preset, other.run.preset),
        "classes": (", ".join(one.run.classes), ", ".join(other.run.classes)),
    }
    for what, (first, second) in values.items():
        if first != second:
            message = f"{one.folder} and {other.folder} differ in {what}: {first} and {second}"
            raise UserError(message, hint="Make a table of each.")
