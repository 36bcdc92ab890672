"""The evaluations of some runs: found in their folders and checked against each other. Imports no torch."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from bench.accuracy import run as run_folder
from bench.accuracy.corpora.reference import parse_reference
from bench.accuracy.run import Direction, Run
from bench.reporting import published
from mixers.support.errors import UserError

EVALUATE_HINT = "Make it again with `sbench evaluate`."

NO_DIRECTION: Literal["-"] = "-"  # of the linear probe, which sees all frames at once


@dataclass(frozen=True, kw_only=True)
class Encoders:
    """The encoders of a run, those of the paper under its names; text is None for speech alone."""

    speech: str
    text: str | None


class Row(NamedTuple):
    """What is compared: a mixer in one direction, or the linear probe."""

    mixer: str
    direction: Direction | Literal["-"]

    def __str__(self) -> str:
        return self.mixer if self.direction == NO_DIRECTION else f"{self.mixer} ({self.direction})"


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
        weights: Of which epoch the weights of each learner were; empty if that is not known.
        seconds: The median length of the recordings; None if it is not known.
    """

    corpus: str
    fold: int | None
    folds: int
    expected: int
    used: int
    heard: int | None
    weights: dict[str, int | None]
    seconds: float | None


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
class Evaluated:
    """A folder with evaluations."""

    folder: Path
    classes: tuple[str, ...]
    encoders: Encoders
    evaluations: tuple[Evaluation, ...]


@dataclass(frozen=True, kw_only=True)
class EvaluatedRun(Evaluated):
    """A run and its evaluations."""

    run: Run


def read_runs(folders: Sequence[Path]) -> list[EvaluatedRun]:
    """Return what some runs evaluated, without the predictions.

    Raises:
        UserError: A folder is no run or has no evaluation, or runs differ in preset.
    """
    runs = [_read_run(folder) for folder in folders]
    for one in runs[1:]:
        _check_preset(runs[0], one)
    return runs


def check_together(every: Sequence[Evaluated]) -> None:
    """Check that folders can be in one table.

    Raises:
        UserError: They differ in classes, or the same was measured twice.
    """
    first = every[0]
    for one in every:
        if one.classes != first.classes:
            names = f"{', '.join(first.classes)} and {', '.join(one.classes)}"
            message = f"{first.folder} and {one.folder} differ in classes: {names}"
            raise UserError(message, hint="Make a table of each.")
    seen: dict[object, Path] = {}
    for each in (evaluation for one in every for evaluation in one.evaluations):
        key = each.encoders, each.row, each.seed, each.split, each.tested.fold
        if key in seen:
            message = f"{seen[key]} and {each.path} are of the same encoders, mixer, direction, seed and split"
            raise UserError(message, hint="Give only one of the runs.")
        seen[key] = each.path


def encoders_of(speech: str, text: str | None) -> Encoders:
    """Return encoders by the names that `sbench train` knows them by."""
    text = published.TEXT if text in published.TEXT_ENCODERS else text
    return Encoders(speech=published.ENCODERS.get(speech, speech), text=text)


def _read_run(folder: Path) -> EvaluatedRun:
    run = run_folder.read(folder)
    encoders = encoders_of(run.speech, run.text)
    rows = [Row(name.partition("/")[0], run.direction) for name in run.mixers]
    evaluations = tuple(find(folder, rows, run.seeds, encoders=encoders, corpus=run.corpus))
    if not evaluations:
        raise UserError(f"{folder} has no evaluation", hint=f"Make one with `sbench evaluate {folder}`.")
    return EvaluatedRun(folder=folder, run=run, classes=run.classes, encoders=encoders, evaluations=evaluations)


def find(
    folder: Path, rows: Sequence[Row], seeds: Sequence[int], *, encoders: Encoders, corpus: str
) -> Iterator[Evaluation]:
    """Yield the evaluations of every split, for each mixer and seed that has predictions.

    Args:
        folder: The run's or the probe's.
        rows: Its mixers.
        seeds: Of each mixer.
        encoders: Those of all.
        corpus: The specification of the corpus that was learned, if an evaluation of before folds names no other.

    Raises:
        UserError: An utterances.json is missing or damaged.
    """
    names = [(row, seed) for row in rows for seed in seeds]
    for split in sorted(path for path in (folder / "evaluation").glob("*") if path.is_dir()):
        paths = {(row, seed): split / f"{row.mixer}-{seed}.csv" for row, seed in names}
        existing = {name: path for name, path in paths.items() if path.exists()}
        if not existing:
            continue
        tested = _tested(split / "utterances.json", corpus)
        for (row, seed), path in existing.items():
            yield Evaluation(encoders=encoders, split=split.name, row=row, seed=seed, path=path, tested=tested)


def _tested(path: Path, learned: str) -> Tested:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        corpus = parse_reference(str(fields.get("corpus", learned)))
        overlap = fields.get("overlap")
        heard = None if overlap is None else 0 if overlap["treatment"] == "leave-out" else int(overlap["utterances"])
        return Tested(
            corpus=corpus.name,
            fold=corpus.fold,
            folds=int(fields.get("folds", 0)),
            expected=int(fields["expected"]),
            used=int(fields["used"]),
            heard=heard,
            weights=dict(fields.get("weights", {})),
            seconds=float(seconds) if (seconds := fields.get("median_seconds")) else None,
        )
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", hint=EVALUATE_HINT) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {type(error).__name__}, {error}", hint=EVALUATE_HINT) from None


def _check_preset(one: EvaluatedRun, other: EvaluatedRun) -> None:
    first, second = one.run.preset, other.run.preset
    if first != second:
        message = f"{one.folder} and {other.folder} differ in preset: {first} and {second}"
        raise UserError(message, hint="Make a table of each.")
