"""The commands that score what was trained: evaluate and table."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import mixers
from bench.cli.accuracy_options import CORPUS, DEMONSTRATION, WORKERS, Device, Fold, MissingText, Run, Workers
from bench.cli.app import Plugins, Quiet, app, new_progress
from bench.cli.parsing import split_names
from bench.cli.scores import (
    OVERLAP,
    describe_models,
    separate,
    show_done,
    show_scores,
    show_split,
    warn,
    warn_if_unfinished,
)
from mixers.support.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from bench.accuracy.corpora.base import Corpus
    from bench.accuracy.evaluation.overlap import Treatment
    from bench.accuracy.evaluation.writing import Checks
    from bench.accuracy.run import Run as TrainedRun


_COSTS = (
    "Folder of a sweep whose GPU times stand beside the scores: of the same mixer, direction, width and preset. Can be "
    "given several times."
)
_SCORED = "Folders that `sbench evaluate` has scored, and those of `sbench probe`, with all its folds."


@app.command(rich_help_panel="Train")
def evaluate(
    run: Run,
    corpus: Annotated[str, typer.Option(help=CORPUS)],
    splits: Annotated[
        str | None, typer.Option(help="Comma-separated; default: all but train.", show_default=False)
    ] = None,
    fold: Fold = None,
    overlap: Annotated[str, typer.Option(help=OVERLAP)] = "refuse",
    missing_text: MissingText = "error",
    workers: Workers = WORKERS,
    device: Device = "auto",
    plugin: Plugins = None,
    quiet: Quiet = False,
) -> None:
    """Score a run on whole files: macro-F and other scores with intervals, and the prediction of every utterance."""
    mixers.use_files(plugin or ())
    from rich.console import Console

    from bench.accuracy import corpora
    from bench.accuracy import run as runs
    from bench.accuracy.corpora.reference import fold_to_test, parse_reference, with_fold
    from bench.accuracy.evaluation.overlap import choose_treatment
    from bench.accuracy.trained import choose_splits
    from bench.accuracy.training.computing import start_accelerator
    from bench.environment import choose_device

    treatment = choose_treatment(overlap)
    trained = runs.read(run)
    spec = fold_to_test(corpus, fold, trained_on=trained.corpus)
    read = corpora.load(spec, missing_text="empty" if trained.text is None else missing_text)
    chosen = choose_splits(read, None if splits is None else split_names(splits))
    device = choose_device(device)
    accelerator = start_accelerator(device)
    console = Console(stderr=True, quiet=quiet or not accelerator.is_main_process)
    if spec != with_fold(corpus, fold):
        console.print(f"fold {parse_reference(spec).fold}, as in training; --fold chooses another", highlight=False)
    evaluate_run(run, read, chosen, treatment=treatment, device=device, workers=workers, console=console)
    if accelerator.is_main_process:
        print(run / "evaluation")
    accelerator.end_training()


@app.command(rich_help_panel="Train")
def table(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help=_SCORED)],
    output: Annotated[
        Path, typer.Option(help="Folder for the table as CSV, Markdown and LaTeX, and its pictures.")
    ] = Path("table"),
    costs: Annotated[list[Path] | None, typer.Option(metavar="SWEEP", help=_COSTS, show_default=False)] = None,
) -> None:
    """Make the accuracy table of runs: every mixer, direction, encoder and split with intervals, all folds together."""
    write_table([folder for each in runs for folder in _folds(each)], output, sweeps=costs or ())


def _folds(folder: Path) -> list[Path]:
    """Return the folders of the folds that a probe of several wrote into a folder; any other folder as it is."""
    from bench.accuracy.probe.record import is_probe

    folds = sorted(each for each in folder.glob("fold-*") if is_probe(each))
    return [folder] if is_probe(folder) else folds or [folder]


def _separate(
    corpus: "Corpus", splits: Sequence[str], run: "TrainedRun", treatment: "Treatment", console: "Console"
) -> "tuple[Corpus, Checks | None]":
    """Return the corpus without what training heard, if so chosen, and what each split shares with training.

    Labels of the splits that training never had are named. If the run's corpus is no longer there, or is another one,
    nothing can be compared, which is said.
    """
    from bench.accuracy import corpora
    from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, digest
    from bench.accuracy.corpora.reference import absolute_spec
    from bench.accuracy.evaluation.metrics import not_learned, without_utterance

    try:
        same = absolute_spec(corpus.spec) == run.corpus
        learned = corpus if same else corpora.load(run.corpus, missing_text="empty")
        if run.utterances != digest((*learned.split(TRAIN), *learned.split(DEVELOPMENT))):
            raise UserError(f"{run.corpus} has changed since")
    except UserError as error:
        warn(f"not checked against training: {error}", console)
        return corpus, None
    tested = {each.label for split in splits for each in corpus.split(split)}
    untaught = without_utterance(corpus.classes, learned.split(TRAIN))
    if unknown := [name for name in untaught if name in tested]:
        warn(not_learned(unknown), console)
    return separate(corpus, splits, learned=learned, treatment=treatment, console=console)


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
        UserError: The corpus has other classes, the scores of another one would be replaced, training heard something
            of a split and the treatment refuses that, or the run cannot be scored.
    """
    from bench.accuracy import run as runs
    from bench.accuracy.evaluation.writing import SplitStarted, check_replaceable
    from bench.accuracy.trained import check_classes, open_run
    from bench.accuracy.trained import evaluate as scoring

    run = runs.read(folder)
    check_classes(run, corpus, folder=folder)
    corpus, checks = _separate(corpus, splits, run, treatment, console)
    for split in splits:
        check_replaceable(corpus, split, classes=run.classes, folder=folder)
    trained = open_run(folder, device=device)
    if trained.run.demo:
        console.print(DEMONSTRATION, style="bold yellow")
    console.print(describe_models(trained.run), highlight=False)
    warn_if_unfinished(folder, trained.run, console)
    with new_progress(console) as progress:
        task = progress.add_task("", total=None)
        done = partial(show_done, progress, task)
        for event in scoring(trained, corpus, splits, workers=workers, done=done, checks=checks):
            if isinstance(event, SplitStarted):
                show_split(event, console)
                progress.reset(task, total=event.used, description=event.split)
            else:
                show_scores(event, console)


def write_table(runs: Sequence[Path], output: Path, *, sweeps: Sequence[Path] = ()) -> None:
    """Write and print the accuracy table of some runs, with the GPU times of sweeps."""
    from rich.console import Console

    from bench.reporting.accuracy import files, terminal
    from bench.reporting.accuracy.pictures import write_pictures

    made = files.write(runs, output, sweeps=sweeps)
    write_pictures(made, output)
    Console().print(terminal.render(made))
    print(output)
