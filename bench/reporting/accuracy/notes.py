"""The notes under the accuracy table: what its figures are, and what a reader must know to compare them."""

import math
from collections.abc import Iterator, Sequence

from bench.accuracy.corpora.reference import parse_reference
from bench.accuracy.evaluation import intervals
from bench.accuracy.probe.record import Probe
from bench.accuracy.progress import best_epochs, unfinished
from bench.accuracy.run import DIRECTIONS, SEEN, Direction, Run
from bench.reporting import published
from bench.reporting.accuracy.evaluations import EvaluatedRun
from bench.reporting.accuracy.folds import Measured
from bench.reporting.accuracy.probes import EvaluatedProbe
from bench.reporting.formats import enumeration


def notes(
    runs: Sequence[EvaluatedRun],
    probes: Sequence[EvaluatedProbe],
    measured: Sequence[Measured],
    *,
    comparisons: int,
    speakers: int,
    beside: bool,
) -> Iterator[str]:
    """Yield the notes.

    Args:
        runs: All runs of the table.
        probes: All probes of the table.
        measured: What the table has rows of.
        comparisons: How many pairs were compared.
        speakers: Of the test with the most of them.
        beside: Whether figures of the paper stand beside ours.
    """
    directions = [each for each in DIRECTIONS if any(one.run.direction == each for one in runs)]
    if runs:
        first = runs[0].run
        stated = f"direction {directions[0]}" if len(directions) == 1 else "directions as the rows say"
        yield f"Macro F-score and UAR in % over all {len(first.classes)} classes; preset {first.preset}, {stated}."
        yield from (_seen(each, first) for each in directions)
    else:
        yield f"Macro F-score and UAR in % over all {len(probes[0].probe.classes)} classes."
    yield "±: standard deviation over seeds, and their number. One seed shows no spread."
    yield (
        f"{1 - intervals.ALPHA:.0%}: interval of the mean over {intervals.RESAMPLES} resamples of the speakers, for "
        f"these trained models. It needs at least {intervals.FEWEST_SPEAKERS} speakers."
    )
    if comparisons:
        yield (
            f"{comparisons} pairs were compared on tests, over speakers and seeds: two mixers in one direction, or one "
            "mixer in two. Holm's method takes that number into account."
        )
        yield from _too_few(speakers, comparisons)
    elif len({each.row for each in measured}) > 1:
        yield f"No pairs were compared: that needs a test of at least {intervals.FEWEST_SPEAKERS} speakers."
    if beside:
        yield from _beside_the_paper(directions)
    yield from _differing(runs)
    yield from _learned([*(one.run for one in runs), *(one.probe for one in probes)])
    yield from _tested(measured)
    for one in runs:
        yield from _of_changing_weights(one)


def _too_few(speakers: int, comparisons: int) -> Iterator[str]:
    """Yield how many speakers it takes to tell any of the pairs apart, if the tests have fewer.

    Swapping two mixers in every speaker at random gives each difference a p-value of at least 2 / 2^speakers.
    """
    needed = math.ceil(1 + math.log2(comparisons / intervals.ALPHA))
    if speakers < needed:
        yield (
            f"Tests of {speakers} speakers can tell none of {comparisons} pairs apart, however large a difference is: "
            f"that takes {needed} speakers."
        )


def _beside_the_paper(directions: Sequence[Direction]) -> Iterator[str]:
    yield f"{published.MEAN}: over {', '.join(published.COLUMNS)}, if all are measured."
    yield "The paper's Dev is of MSP-Podcast 1, its T1 and T2 are of 2.0. It does not say how many seeds it used."
    if list(directions) != ["paper"]:
        yield "The paper's figures are in the direction paper: figures in another direction differ in this too."


def _differing(runs: Sequence[EvaluatedRun]) -> Iterator[str]:
    """Yield what runs differ in apart from what the rows say."""
    values = [_training(one.run) for one in runs]
    for label in values[0] if values else ():
        yield from _not_alike(label, [each[label] for each in values])
    implementations: dict[str, list[str]] = {}
    for name in (name for one in runs for name in one.run.mixers):
        implementations.setdefault(name.partition("/")[0], []).append(name)
    for mixer, names in implementations.items():
        yield from _not_alike(f"the implementation of {mixer}", names)


def _learned(every: Sequence[Run | Probe]) -> Iterator[str]:
    """Yield whether runs and probes learned from other utterances; folds differ in this by design."""
    by_fold: dict[int | None, list[str]] = {}
    for one in every:
        by_fold.setdefault(parse_reference(one.corpus).fold, []).append(one.utterances)
    for digests in by_fold.values():
        yield from _not_alike("utterances of training or development", [each[:12] for each in digests])


def _not_alike(label: str, values: Sequence[str]) -> Iterator[str]:
    distinct = list(dict.fromkeys(values))
    if len(distinct) > 1:
        yield f"NOT ALIKE: the runs differ in {label} ({' and '.join(distinct)}), not only in their mixers."


def _of_changing_weights(one: EvaluatedRun) -> Iterator[str]:
    """Yield whether a run goes on, and which evaluations are of other weights than its folder holds now."""
    if reason := unfinished(one.folder, one.run):
        yield f"UNFINISHED: {one.folder} is {reason}."
    now = best_epochs(one.folder, one.run)
    for split in dict.fromkeys(each.split for each in one.evaluations):
        weights = next(each.tested.weights for each in one.evaluations if each.split == split)
        if changed := [name for name, epoch in weights.items() if now.get(name) not in (None, epoch)]:
            names = enumeration(changed)
            yield f"OUTDATED: {split} of {one.folder}: the weights of {names} have changed since. Evaluate it again."


def _tested(measured: Sequence[Measured]) -> Iterator[str]:
    """Yield what was tested, and whether it was heard in training."""
    lines = []
    for each in measured:
        tested = [part.tested for part in each.parts]
        expected, used = sum(one.expected for one in tested), sum(one.used for one in tested)
        folds = f" in {each.folds} folds, each scored once" if each.folds else ""
        lines.append(f"{each.split}: {used} of {expected} utterances{folds}, {expected - used} left out.")
        heard = [one.heard for one in tested if one.heard is not None]
        if sum(heard):
            line = f"{sum(heard)} utterances of {each.split} or their speakers were heard in training."
            lines.append(f"NOT INDEPENDENT: {line}")
        if len(heard) < len(tested):
            lines.append(f"NOT CHECKED: nobody compared the speakers of {each.split} with those of training.")
    yield from dict.fromkeys(lines)


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
        "schedule of the learning rate": run.schedule,
        "seconds of a crop": "whole recordings" if run.crop_seconds is None else str(run.crop_seconds),
        "data of the seeds": "the same" if run.shared_data else "of their own",
        "precision": run.precision,
        "layer of the speech encoder": str(run.layer),
        "norms of speech and text": "trained" if run.stream_norms else "none",
        "hidden layers of the classifier": str(run.classifier_layers),
        "weights of the classes": "by frequency" if run.class_weights else "equal",
    }
