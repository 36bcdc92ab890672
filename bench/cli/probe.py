"""The command `probe`."""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench import signals
from bench.accuracy.parts import is_number
from bench.cli.accuracy_options import CORPUS, WORKERS, Device, Precision, Speech, Workers
from bench.cli.app import Quiet, app, new_progress
from bench.cli.folds import load_folds
from bench.cli.scores import OVERLAP, separate, show_scores, show_split, warn
from mixers.support.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from bench.accuracy.probe.probing import Event
    from bench.accuracy.probe.record import Probe, ProbeLayer

_FOLD = "A fold of the corpus, from 1; several, such as 1,2, or all get a folder each."
_LAYER = "A layer's number, last, or best: the best on the development split."
_C = "C of the logistic regression, the inverse strength of its L2 penalty."
_WITH_DEVELOPMENT = "Fit once more on train and development before tests. The mixers of train learn from train alone."

_Fold = Annotated[str | None, typer.Option(help=_FOLD, show_default=False)]
_Output = Annotated[Path | None, typer.Option(help="New folder; default: one under runs/.", show_default=False)]


@app.command(rich_help_panel="Train")
def probe(
    corpus: Annotated[str, typer.Option(help=CORPUS)],
    fold: _Fold = None,
    speech: Speech = "wavlm-large",
    layer: Annotated[str, typer.Option(help=_LAYER)] = "best",
    regularisation: Annotated[float, typer.Option(help=_C)] = 0.02,
    with_development: Annotated[bool, typer.Option("--with-development", help=_WITH_DEVELOPMENT)] = False,
    overlap: Annotated[str, typer.Option(help=OVERLAP)] = "refuse",
    precision: Precision = None,
    workers: Workers = WORKERS,
    device: Device = "auto",
    output: _Output = None,
    quiet: Quiet = False,
) -> None:
    """Score the linear baseline: logistic regression on mean and deviation over time of one layer of the encoder.

    It learns from train and scores every other split. Development is always scored by the fit on train alone.
    """
    from rich.console import Console

    from bench.accuracy.corpora.reference import parse_reference
    from bench.accuracy.evaluation.overlap import choose_treatment
    from bench.accuracy.probe import probing
    from bench.environment import choose_device
    from bench.files import check_new

    treatment = choose_treatment(overlap)
    request = probing.Request(
        speech=speech,
        layer=_choose_layer(layer),
        regularisation=regularisation,
        with_development=with_development,
        precision=precision,
    )
    folder = output or Path("runs") / f"probe-{datetime.now():%Y-%m-%dT%H-%M-%S}"
    check_new(folder)
    device = choose_device(device)
    found = load_folds(corpus, fold)
    probing.check(request, found)
    console = Console(stderr=True, quiet=quiet)
    several = fold == "all" or len(found) > 1
    tasks = []
    for each in found:
        splits = [split for split in each.splits if split != "train"]
        tested, checks = separate(each, splits, learned=each, treatment=treatment, console=console)
        own = f"fold-{parse_reference(each.spec).fold}" if several else ""
        tasks.append(probing.Task(corpus=tested, checks=checks, folder=own))
    try:
        _show(probing.probe(request, tasks, folder, device=device, workers=workers), console)
    except KeyboardInterrupt:
        raise typer.Exit(signals.exit_code()) from None
    print(folder)


def _choose_layer(name: str) -> "ProbeLayer | None":
    """Return the layer that a user names; None for the best."""
    if name == "best":
        return None
    if name == "last":
        return "last"
    if is_number(name):
        return int(name)
    raise UserError(f"no such layer: {name!r}", hint="Give the number of a hidden layer, last, or best.")


def _show(events: "Iterator[Event]", console: "Console") -> None:
    """Show a probe while it runs."""
    from bench.accuracy.evaluation.writing import LearnerScored, SplitStarted
    from bench.accuracy.probe.probing import Encoded, Fitted, Fitting
    from bench.accuracy.training.events import Preparing

    status, progress = console.status(""), new_progress(console)
    encoding = progress.add_task("encoding", total=None)

    def stop() -> None:
        status.stop()
        if progress.live.is_started:
            progress.stop()

    with contextlib.ExitStack() as writing:
        writing.callback(stop)
        for event in events:
            match event:
                case Preparing():
                    status.update(event.task)
                    status.start()
                case Encoded():
                    status.stop()
                    progress.start()  # no change if it runs
                    progress.update(encoding, completed=event.done, total=event.total)
                case Fitting():
                    writing.enter_context(signals.interruptible())  # so that no part of a folder is left behind
                    stop()
                    status.update("Fitting")
                    status.start()
                case Fitted():
                    console.print(_describe(event.probe), highlight=False, soft_wrap=True)
                    for line in event.warnings:
                        warn(line, console)
                case SplitStarted():
                    show_split(event, console)
                case LearnerScored():
                    show_scores(event, console)


def _describe(probe: "Probe") -> str:
    """Return what was fitted, with the development scores of all layers that were tried."""
    from bench.accuracy.corpora.reference import parse_reference

    fold = parse_reference(probe.corpus).fold
    scores = ", ".join(f"{layer} {score:.1%}" for layer, score in probe.development_scores.items())
    tried = f"; development macro-F by layer: {scores}" if scores else ""
    return f"{'' if fold is None else f'fold {fold}: '}{_title(probe)}{tried}"


def _title(probe: "Probe") -> str:
    return f"layer {probe.layer}, C = {probe.regularisation:g}"
