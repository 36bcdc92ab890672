"""The commands that use what was trained: evaluate, predict and table."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.accuracy_options import CORPUS, DEMONSTRATION, WORKERS, Device, Fold, MissingText, Run, Workers
from bench.cli.app import app, new_progress
from bench.cli.parsing import split_names
from mixers.support.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from bench.accuracy.corpora.base import Corpus
    from bench.accuracy.evaluation.overlap import Treatment
    from bench.accuracy.run import Run as TrainedRun
    from bench.accuracy.trained import LearnerScored

    Checks = Mapping[str, Mapping[str, object]]


_COSTS = (
    "Folder of a sweep whose GPU times stand beside the scores: of the same mixer, direction, width and preset. Can be "
    "given several times."
)
_OVERLAP = "Recordings or speakers that training heard: refuse, leave-out or accept."


@app.command(rich_help_panel="Train")
def evaluate(
    run: Run,
    corpus: Annotated[str, typer.Option(help=CORPUS)],
    splits: Annotated[
        str | None, typer.Option(help="Comma-separated; default: all but train.", show_default=False)
    ] = None,
    fold: Fold = None,
    overlap: Annotated[str, typer.Option(help=_OVERLAP)] = "refuse",
    missing_text: MissingText = "error",
    workers: Workers = WORKERS,
    device: Device = "auto",
) -> None:
    """Score a run on whole files: macro-F and other scores with intervals, and the prediction of every utterance."""
    from rich.console import Console

    from bench.accuracy import corpora
    from bench.accuracy import run as runs
    from bench.accuracy.corpora.reference import fold_to_test
    from bench.accuracy.evaluation.overlap import choose_treatment
    from bench.accuracy.trained import choose_splits
    from bench.environment import choose_device

    treatment = choose_treatment(overlap)
    trained = runs.read(run)
    spec = fold_to_test(corpus, fold, trained_on=trained.corpus)
    read = corpora.load(spec, missing_text="empty" if trained.text is None else missing_text)
    chosen = choose_splits(read, None if splits is None else split_names(splits))
    console = Console(stderr=True)
    device = choose_device(device)
    evaluate_run(run, read, chosen, treatment=treatment, device=device, workers=workers, console=console)
    print(run / "evaluation")


@app.command(rich_help_panel="Train")
def predict(
    run: Run,
    audio: Annotated[Path, typer.Argument(help="A recording, wav or flac.")],
    text: Annotated[str, typer.Option(help="The transcript of the recording.")] = "",
    device: Device = "auto",
) -> None:
    """Print the probability of each emotion in a recording, for every mixer and seed of a run."""
    from rich.console import Console
    from rich.table import Table

    from bench.accuracy.trained import classify, open_run
    from bench.environment import choose_device

    trained = open_run(run, device=choose_device(device))
    probabilities = classify(trained, audio, text)
    table = Table(title=DEMONSTRATION if trained.run.demo else None, caption=_facts(trained.run))
    table.add_column("emotion")
    for learner in probabilities:
        table.add_column(learner, justify="right")
    for label in trained.run.classes:
        table.add_row(label, *(f"{each[label]:.1%}" for each in probabilities.values()))
    Console().print(table)


@app.command(rich_help_panel="Train")
def table(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `sbench evaluate` has scored.")],
    output: Annotated[
        Path, typer.Option(help="Folder for the table as CSV, Markdown and LaTeX, and its pictures.")
    ] = Path("table"),
    costs: Annotated[list[Path] | None, typer.Option(metavar="SWEEP", help=_COSTS, show_default=False)] = None,
) -> None:
    """Make the accuracy table of runs: every mixer, direction, encoder and split with intervals, all folds together."""
    write_table(runs, output, sweeps=costs or ())


def _separate(
    corpus: "Corpus", splits: Sequence[str], run: "TrainedRun", treatment: "Treatment", console: "Console"
) -> "tuple[Corpus, Checks | None]":
    """Return the corpus without what training heard, if so chosen, and what each split shares with training.

    If the run's corpus is no longer there, nothing can be compared, which is said.
    """
    from bench.accuracy import corpora
    from bench.accuracy.corpora.reference import parse_reference
    from bench.accuracy.evaluation.overlap import describe, facts, separate

    try:
        reference = parse_reference(run.corpus)
        if reference.shared and treatment == "refuse" and parse_reference(corpus.spec).shared:
            treatment = "accept"  # who wrote +shared has accepted it
        learned = corpus if corpus.spec == run.corpus else corpora.load(run.corpus, missing_text="empty")
    except UserError as error:
        console.print(f"not checked against training: {error}", style="yellow", highlight=False, markup=False)
        return corpus, None
    corpus, found = separate(corpus, splits, learned=learned, treatment=treatment)
    for split, overlap in found.items():
        if overlap.utterances:
            done = "left out" if treatment == "leave-out" else "scored all the same"
            line = f"{split} shares {describe(overlap)} with training: {overlap.utterances:,} utterances, {done}"
            console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)
        if overlap.of_unknown_speaker and split != "train":
            line = f"{split}: {overlap.of_unknown_speaker:,} utterances by unknown speakers, who may be in training too"
            console.print(line, style="yellow", highlight=False, soft_wrap=True)
    return corpus, {split: facts(overlap, treatment) for split, overlap in found.items()}


def evaluate_run(
    folder: Path,
    corpus: "Corpus",
    splits: Sequence[str],
    *,
    treatment: "Treatment" = "refuse",
    device: str,
    workers: int,
    console: "Console",
) -> None:
    """Score a run on splits of a corpus, and show the scores as they come.

    Raises:
        UserError: Training heard something of a split and the treatment refuses that, or the run cannot be scored.
    """
    from bench.accuracy import run as runs
    from bench.accuracy.trained import SplitStarted, open_run
    from bench.accuracy.trained import evaluate as scoring

    corpus, checks = _separate(corpus, splits, runs.read(folder), treatment, console)
    trained = open_run(folder, device=device)
    if trained.run.demo:
        console.print(DEMONSTRATION, style="bold yellow")
    console.print(_facts(trained.run), highlight=False)
    with new_progress(console) as progress:
        task = progress.add_task("", total=None)
        done = partial(_show_done, progress, task)
        for event in scoring(trained, corpus, splits, workers=workers, done=done, checks=checks):
            if isinstance(event, SplitStarted):
                total = event.used + event.left_out
                line = f"{event.split}: {total} utterances, {event.used} used, {event.left_out} left out"
                console.print(line, highlight=False)
                progress.reset(task, total=event.used, description=event.split)
            else:
                _write_confusion(event, trained.run)
                _show_scores(event, console)


def _show_done(progress: "Progress", task: "TaskID", count: int) -> None:
    progress.update(task, completed=count)


def _facts(run: "TrainedRun") -> str:
    """Return what the models of a run are."""
    return f"preset {run.preset}, direction {run.direction}"


def _write_confusion(scored: "LearnerScored", run: "TrainedRun") -> None:
    from bench.reporting.accuracy.confusion import write_confusion

    stem = scored.stem.with_name(f"{scored.learner}-confusion")
    title = f"{scored.learner}, {run.direction}, {scored.split}{' (demonstration)' if run.demo else ''}"
    try:
        write_confusion(scored.summary, stem, title=title)
    except OSError as error:
        raise UserError(f"{stem} cannot be written: {error.strerror}", hint="Is the disk full?") from None


def _show_scores(scored: "LearnerScored", console: "Console") -> None:
    summary = scored.summary
    macro_f = summary.macro_f
    interval = f"{macro_f.low:.1%} to {macro_f.high:.1%}"
    line = f"  {scored.learner}: macro-F {macro_f.value:.1%} ({interval}), micro-F {summary.micro_f.value:.1%}, "
    console.print(f"{line}recall {summary.average_recall.value:.1%}", highlight=False)


def write_table(runs: Sequence[Path], output: Path, *, sweeps: Sequence[Path] = ()) -> None:
    """Write and print the accuracy table of some runs, with the GPU times of sweeps."""
    from rich.console import Console

    from bench.reporting.accuracy import files, terminal
    from bench.reporting.accuracy.pictures import write_pictures

    made = files.write(runs, output, sweeps=sweeps)
    write_pictures(made, output)
    Console().print(terminal.render(made))
    print(output)
