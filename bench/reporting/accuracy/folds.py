"""Evaluations as the table needs them: those of all folds together, each utterance scored exactly once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.accuracy.evaluation import intervals
from bench.accuracy.evaluation.predictions import Predictions, pool, read_predictions
from bench.reporting.accuracy.evaluations import EVALUATE_HINT, Encoders, Evaluation, Row
from bench.reporting.formats import enumeration
from mixers.support.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A mixer and seed on a whole split: one evaluation, or one of each fold."""

    encoders: Encoders
    split: str
    row: Row
    seed: int
    parts: tuple[Evaluation, ...]

    @property
    def folds(self) -> int:
        """The number of folds that are pooled; 0 if the split is of no fold."""
        return 0 if self.parts[0].tested.fold is None else len(self.parts)


def join_folds(evaluations: Sequence[Evaluation]) -> tuple[list[Measured], list[str]]:
    """Return what was measured completely, and a line for each mixer that lacks folds.

    Raises:
        UserError: Nothing was measured completely.
    """
    groups: dict[tuple[Encoders, str, Row, int, bool], list[Evaluation]] = {}
    for each in evaluations:
        key = each.encoders, each.split, each.row, each.seed, each.tested.fold is not None
        groups.setdefault(key, []).append(each)
    complete: list[Measured] = []
    lacking: dict[tuple[Row, str, str, str], list[int]] = {}
    for (encoders, split, row, seed, _), parts in groups.items():
        if absent := _absent(parts):
            lacking.setdefault((row, encoders.speech, split, absent), []).append(seed)
        else:
            complete.append(Measured(encoders=encoders, split=split, row=row, seed=seed, parts=tuple(parts)))
    lines = [
        f"MISSING: {row} with {speech}, seed {enumeration(map(str, seeds))}: {split} lacks {folds}"
        for (row, speech, split, folds), seeds in lacking.items()
    ]
    if not complete:
        hint = "Every recording must be scored once: train and evaluate the other folds with --fold."
        raise UserError(lines[0].removeprefix("MISSING: "), hint=hint)
    return complete, lines


def _absent(parts: Sequence[Evaluation]) -> str:
    """Return which folds are absent, in words; empty if all are there."""
    first = parts[0].tested
    if first.fold is None:
        return ""
    absent = sorted(set(range(1, first.folds + 1)) - {each.tested.fold for each in parts})
    if not absent:
        return ""
    return f"{'fold' if len(absent) == 1 else 'folds'} {enumeration(map(str, absent))} of {first.folds}"


class SplitReader:
    """Reads the predictions of one split, all on the utterances that were read first.

    A whole table of predictions would fill the memory, so only the first ones are kept.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._first: tuple[Path, Predictions] | None = None

    def read(self, measured: Iterable[Measured]) -> dict[Row, dict[int, Predictions]]:
        """Return predictions by row and seed.

        Raises:
            UserError: A file is damaged or incomplete, two folds test one utterance, or utterances are other ones than
                the first.
        """
        found: dict[Row, dict[int, Predictions]] = {}
        for each in measured:
            found.setdefault(each.row, {})[each.seed] = self._read(each)
        return found

    def _read(self, measured: Measured) -> Predictions:
        own = measured.parts[0].path
        parts = [self._read_file(part) for part in measured.parts]
        try:
            predictions = pool(parts)
        except ValueError as error:
            message = f"two folds of {measured.split} test {error}: {own} and those of the other runs"
            raise UserError(message, hint="Give runs on the folds of one corpus.") from None
        path, first = self._first = self._first or (own, predictions)
        if (name := intervals.first_mismatch(predictions, first)) is not None:
            message = f"{path} and {own} are on different utterances: {name!r} is not the same in both"
            raise UserError(message, hint="Evaluate all runs on the same release of the same corpus.")
        return predictions

    def _read_file(self, evaluation: Evaluation) -> Predictions:
        predictions = read_predictions(evaluation.path, classes=self._classes)
        if len(predictions) != evaluation.tested.used:
            used = evaluation.tested.used
            message = f"{evaluation.path} has {len(predictions)} utterances where {used} were evaluated"
            raise UserError(message, hint=EVALUATE_HINT)
        return predictions
