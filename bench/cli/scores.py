"""What `evaluate`, `predict` and `probe` share: checks of a test and of a run, and scores as they come."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from bench.accuracy.corpora.base import Corpus
    from bench.accuracy.evaluation.overlap import Treatment
    from bench.accuracy.evaluation.writing import Checks, LearnerScored, SplitStarted
    from bench.accuracy.run import Run

OVERLAP = "Recordings or speakers that training heard: refuse, leave-out or accept."


def separate(
    corpus: "Corpus", splits: Sequence[str], *, learned: "Corpus", treatment: "Treatment", console: "Console"
) -> "tuple[Corpus, Checks]":
    """Return the corpus without what training heard, if so chosen, and what each split shares with training.

    Raises:
        UserError: Training heard something of a split and the treatment refuses that.
    """
    from bench.accuracy.corpora.reference import parse_reference
    from bench.accuracy.evaluation import overlap

    if treatment == "refuse" and all(parse_reference(each.spec).shared for each in (corpus, learned)):
        treatment = "accept"  # who wrote +shared has accepted it
    corpus, found = overlap.separate(corpus, splits, learned=learned, treatment=treatment)
    for split, each in found.items():
        if each.utterances:
            done = "left out" if treatment == "leave-out" else "scored all the same"
            count = overlap.counted(each.utterances, "utterance")
            line = f"{split} shares {overlap.describe(each)} with training: {count}, {done}"
            warn(line, console)
        if each.of_unknown_speaker and split != "train":
            line = f"{split}: {each.of_unknown_speaker:,} utterances by unknown speakers, who may be in training too"
            warn(line, console)
    return corpus, {split: overlap.facts(each, treatment) for split, each in found.items()}


def warn(line: str, console: "Console") -> None:
    """Print what the user should know, on one line."""
    console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)


def warn_if_unfinished(folder: Path, run: "Run", console: "Console") -> None:
    """Say that a run's training has not ended, if so."""
    from bench.accuracy.progress import unfinished

    if reason := unfinished(folder, run):
        warn(f"{folder} is {reason}; its best weights so far are used", console)


def describe_models(run: "Run") -> str:
    """Return what the models of a run are."""
    return f"preset {run.preset}, direction {run.direction}"


def show_done(progress: "Progress", task: "TaskID", count: int) -> None:
    """Show how many utterances are predicted."""
    progress.update(task, completed=count)


def show_split(event: "SplitStarted", console: "Console") -> None:
    """Print how many utterances a split has, and which classes it lacks."""
    total = event.used + event.left_out
    line = f"{event.split}: {total} utterances, {event.used} used, {event.left_out} left out"
    console.print(line, highlight=False)
    if event.missing:
        count = "counts" if len(event.missing) == 1 else "count"
        missing = ", ".join(event.missing)
        warn(f"{event.split} has no utterance of {missing}, which {count} 0 in macro-F and recall", console)


def show_scores(scored: "LearnerScored", console: "Console") -> None:
    """Print the scores of a learner."""
    from bench.accuracy.evaluation.intervals import FEWEST_SPEAKERS

    summary = scored.summary
    macro_f = summary.macro_f
    interval = f"{macro_f.low:.1%} to {macro_f.high:.1%}"
    if (macro_f.low, macro_f.high) == (0, 1):
        interval = f"no interval: {summary.speakers} of at least {FEWEST_SPEAKERS} speakers"
    line = f"  {scored.learner}: macro-F {macro_f.value:.1%} ({interval}), micro-F {summary.micro_f.value:.1%}, "
    console.print(f"{line}recall {summary.average_recall.value:.1%}", highlight=False)
