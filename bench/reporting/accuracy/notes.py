"""The notes under Table 1: what its figures are, and what a reader must know to compare them."""

from collections.abc import Iterator, Sequence

from bench.accuracy.evaluation import intervals
from bench.accuracy.run import DIRECTIONS, SEEN, Direction, Run
from bench.reporting.accuracy import published
from bench.reporting.accuracy.evaluations import EvaluatedRun


def notes(runs: Sequence[EvaluatedRun], *, comparable: bool) -> Iterator[str]:
    """Yield the notes.

    Args:
        runs: All runs of the table.
        comparable: Whether they have the classes of the paper.
    """
    first = runs[0].run
    directions = [each for each in DIRECTIONS if any(one.run.direction == each for one in runs)]
    stated = f"direction {directions[0]}" if len(directions) == 1 else "directions as the rows say"
    yield f"Macro F-score in % over all {len(first.classes)} classes; preset {first.preset}, {stated}."
    yield from (_seen(each, first) for each in directions)
    if len(directions) > 1:
        yield "Pairs are of two mixers in one direction, or of one mixer in two directions."
    yield (
        "ours: mean over seeds. spread: standard deviation over seeds, and their number. One seed shows no spread, and "
        "most differences between the paper's mixers are below one point."
    )
    yield (
        f"{1 - intervals.ALPHA:.0%}: interval of the mean over {intervals.RESAMPLES} resamples of the speakers, for "
        f"these trained models. It needs at least {intervals.FEWEST_SPEAKERS} speakers."
    )
    yield f"{published.MEAN}: over {', '.join(published.COLUMNS)}, if all are measured."
    if comparable:
        yield "The paper's Dev is of MSP-Podcast 1, its T1 and T2 are of 2.0. It does not say how many seeds it used."
        if directions != ["paper"]:
            yield "The paper's figures are in the direction paper: figures in another direction differ in this too."
    else:
        yield "These runs have other classes than the paper's eight of MSP-Podcast, so its figures are not comparable."
    values = [_training(one.run) for one in runs]
    for label in values[0]:
        distinct = list(dict.fromkeys(each[label] for each in values))
        if len(distinct) > 1:
            shown = " and ".join(value[:12] for value in distinct)
            yield f"NOT ALIKE: the runs differ in {label} ({shown}), not only in their mixers."
    evaluations = [each for one in runs for each in one.evaluations]
    for split, expected, used in dict.fromkeys((each.split, each.expected, each.used) for each in evaluations):
        yield f"{split}: {used} of {expected} utterances, {expected - used} left out."


def _seen(direction: Direction, run: Run) -> str:
    """Say what a frame sees. A bare layer has no second block to take turns with."""
    attention, others = SEEN["paper" if (run.preset, direction) == ("released", "alternating") else direction]
    return f"{direction}: in softmax attention a frame sees {attention}, in the other mixers {others}."


def _training(run: Run) -> dict[str, str]:
    """Return what runs may differ in, apart from mixers and encoders, and a reader must know."""
    return {
        "epochs": str(run.epochs),
        "batch": str(run.batch),
        "learning rate": str(run.learning_rate),
        "seconds of a crop": str(run.crop_seconds),
        "precision": run.precision,
        "utterances of training or development": run.utterances,
    }
