"""Linear probes as rows of the accuracy table, and what a reader must know about them. Imports no torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.accuracy.evaluation.predictions import Predictions
from bench.accuracy.probe import record
from bench.accuracy.probe.record import NAME, Probe
from bench.reporting.accuracy.evaluations import (
    NO_DIRECTION,
    Evaluated,
    EvaluatedRun,
    Row,
    check_together,
    encoders_of,
    find,
    read_runs,
)
from bench.reporting.formats import enumeration
from mixers.support.errors import UserError

ROW = Row(NAME, NO_DIRECTION)


@dataclass(frozen=True, kw_only=True)
class EvaluatedProbe(Evaluated):
    """A probe and its evaluations."""

    probe: Probe


def read_folders(folders: Sequence[Path]) -> tuple[list[EvaluatedRun], list[EvaluatedProbe]]:
    """Return the runs and the probes in some folders with what was evaluated, without the predictions.

    Raises:
        UserError: A folder is neither or has no evaluation, they differ in classes or preset, or the same was measured
            twice.
    """
    runs = read_runs([folder for folder in folders if not record.is_probe(folder)])
    probes = [_read(folder) for folder in folders if record.is_probe(folder)]
    check_together([*runs, *probes])
    return runs, probes


def _read(folder: Path) -> EvaluatedProbe:
    probe = record.read(folder)
    encoders = encoders_of(probe.speech, None)
    evaluations = tuple(find(folder, [ROW], [0], encoders=encoders, corpus=probe.corpus))
    if not evaluations:
        raise UserError(f"{folder} has no evaluation", hint="Make it again with `sbench probe`.")
    return EvaluatedProbe(folder=folder, probe=probe, classes=probe.classes, encoders=encoders, evaluations=evaluations)


def may_be_paired(first: Row, second: Row) -> bool:
    """Return whether two rows are compared: they differ in mixer or direction, not in both, or one is the probe."""
    alike = first.mixer == second.mixer or first.direction == second.direction
    return alike or ROW in (first, second)


def by_seed(found: Mapping[Row, Mapping[int, Predictions]], row: Row, *, beside: Row) -> Mapping[int, Predictions]:
    """Return the predictions of a row by seed, to be compared with another row.

    The fit of a probe has no seed: any seed would give the same predictions. So they are repeated for each seed of the
    other row. Its seeds are then tested against one figure, and speakers are swapped and drawn as between two mixers.
    """
    if row != ROW:
        return found[row]
    (only,) = found[row].values()
    return dict.fromkeys(found[beside], only)


def notes(probes: Sequence[EvaluatedProbe], *, paired: bool) -> Iterator[str]:
    """Yield what the rows of probes are.

    Args:
        probes: All of the table.
        paired: Whether any pair was compared.
    """
    if not probes:
        return
    first = probes[0].probe
    learned = "train and development, the mixers from train alone" if first.with_development else "train"
    chosen = ", chosen on development" if first.layer_chosen else ""
    layers = enumeration(dict.fromkeys(str(each.probe.layer) for each in probes))
    yield (
        f"{NAME}: logistic regression on mean and standard deviation over time of one layer of the speech encoder "
        f"({layers}{chosen}), C = {first.regularisation:g}, learned from {learned}."
    )
    if first.with_development:
        yield f"{NAME} on development: by the fit on train alone."
    if paired:
        yield f"{NAME} has no seeds: its predictions are compared with each seed of a mixer, in any direction."
    facts = {
        "C": [f"{each.probe.regularisation:g}" for each in probes],
        "how the layer was chosen": ["by development" if each.probe.layer_chosen else "by hand" for each in probes],
        "learning from development": ["yes" if each.probe.with_development else "no" for each in probes],
        "precision": [each.probe.precision for each in probes],
    }
    for what, values in facts.items():
        if len(set(values)) > 1:
            yield f"NOT ALIKE: the probes differ in {what} ({' and '.join(dict.fromkeys(values))})."
    for each in probes:
        if not each.probe.converged:
            yield f"NOT CONVERGED: a fit of {each.folder}."
