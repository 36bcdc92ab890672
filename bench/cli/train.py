"""The command `train`."""

import shlex
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench import signals
from bench.cli.accuracy_options import (
    CORPUS,
    DEMONSTRATION,
    DIRECTION,
    GROUPS,
    MIXERS,
    WORKERS,
    Device,
    Fold,
    MissingText,
    Precision,
    Seeds,
    Speech,
    Workers,
)
from bench.cli.app import Plugins, Quiet, app, check_alone, is_given, new_progress
from bench.cli.parsing import parse_number, split_mixers, split_names
from bench.cli.scores import warn
from bench.files import resume_command
from mixers.support.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from bench.accuracy.training.computing import Resources
    from bench.accuracy.training.events import Event, Finished

_DEMO_MIXERS = "sa,retnet"

_LAYER = "The speech encoder's layer: its number, last, or weighted, a trained sum of all."
_MIXERS = f"Comma-separated; kda/reference chooses an implementation. {GROUPS}"
_PRESET = (
    "matched: the paper's text, and its code where it is silent; conformer: the same around a Conformer of 30 M; "
    "released: its code; see --explain."
)
_DIRECTION = f"{DIRECTION}; default: paper in released, otherwise alternating; see --explain."
_EVALUATE = "Score these splits in the end, comma-separated, as `sbench evaluate` does."
_EXPLAIN = "Print how the presets and directions differ and where each part comes from, and exit."
_CROP = "Seconds of each training utterance; whole: recordings as they are, encoded once if their features fit."
_SCHEDULE = "plateau: the learning rate is halved after 5 epochs without a better score; one-cycle: it rises and falls."
_SHARED_DATA = "Give all seeds the same crops in the same order, which encodes once for all; default: each its own."
_CHECKPOINT_STEPS = "Steps between checkpoints; after a minute without one, the end of an epoch also writes one."
_DEMO = "Use a synthetic corpus and small encoders: the whole path in minutes."

Corpus = Annotated[str | None, typer.Option(help=CORPUS, show_default=False)]
DataSeed = Annotated[
    int, typer.Option(help="Seed of crops and order, with that of each model.", min=-(2**63), max=2**63 - 1)
]
Direction = Annotated[str | None, typer.Option(help=_DIRECTION, show_default=False)]
Output = Annotated[Path | None, typer.Option(help="New folder; default: one under runs/.", show_default=False)]
Resume = Annotated[Path | None, typer.Option(help="Continue the interrupted run of this folder.", show_default=False)]


@app.command(rich_help_panel="Train")
def train(
    context: typer.Context,
    corpus: Corpus = None,
    fold: Fold = None,
    speech: Speech = "wavlm-large",
    text: Annotated[str, typer.Option(help="The text encoder: an id or a folder.")] = "bert-large-uncased",
    no_text: Annotated[bool, typer.Option("--no-text", help="Use speech only.")] = False,
    mixers: Annotated[str, typer.Option(help=_MIXERS)] = MIXERS,
    seeds: Seeds = 1,
    preset: Annotated[str, typer.Option(help=_PRESET)] = "matched",
    direction: Direction = None,
    layer: Annotated[str, typer.Option(help=_LAYER)] = "weighted",
    epochs: Annotated[int, typer.Option(help="Passes through the training set.", min=1, max=1_000_000)] = 20,
    batch: Annotated[int, typer.Option(help="Utterances in one step, over all GPUs.", min=1, max=1_000_000)] = 32,
    learning_rate: Annotated[float, typer.Option(help="At the beginning; in one-cycle the highest.")] = 1e-4,
    schedule: Annotated[str, typer.Option(help=_SCHEDULE)] = "plateau",
    classifier_layers: Annotated[int, typer.Option(help="Hidden layers of the classifier.", min=1, max=100)] = 5,
    crop: Annotated[str, typer.Option(help=_CROP)] = "5.5",
    data_seed: DataSeed = 0,
    shared_data: Annotated[bool, typer.Option("--shared-data", help=_SHARED_DATA)] = False,
    precision: Precision = None,
    missing_text: MissingText = "error",
    workers: Workers = WORKERS,
    checkpoint_steps: Annotated[int, typer.Option(help=_CHECKPOINT_STEPS, min=1, max=10**9)] = 500,
    device: Device = "auto",
    plugin: Plugins = None,
    output: Output = None,
    resume: Resume = None,
    evaluate: Annotated[str | None, typer.Option(help=_EVALUATE, show_default=False)] = None,
    explain: Annotated[bool, typer.Option("--explain", help=_EXPLAIN)] = False,
    demo: Annotated[bool, typer.Option("--demo", help=_DEMO)] = False,
    quiet: Quiet = False,
) -> None:
    """Train the full model with every mixer and seed; all mixers of a seed share one pass of the frozen encoders."""
    import mixers as registry
    from bench.accuracy.parts import choose_layer
    from bench.accuracy.run import choose_direction, choose_preset

    registry.use_files(plugin or ())
    chosen_preset, chosen_layer = choose_preset(preset), choose_layer(layer)
    chosen_direction = choose_direction(direction, chosen_preset)
    if explain:
        _explain(chosen_preset, chosen_direction)
        return
    _check_alone(context, corpus=corpus, resume=resume, demo=demo, no_text=no_text)
    from bench.accuracy.corpora.reference import with_fold
    from bench.accuracy.training import train as training
    from bench.accuracy.training.schedule import choose_schedule
    from bench.accuracy.training.setup import Request

    resources = _resources(device=device, workers=workers, checkpoint_steps=checkpoint_steps)
    splits = () if evaluate is None else split_names(evaluate)
    folder = resume or output or Path("runs") / f"train-{datetime.now():%Y-%m-%dT%H-%M-%S}"
    if resume is not None:
        events = training.resume(folder, resources=resources, splits=splits)
    elif corpus is None:  # a demonstration
        names = split_mixers(mixers if is_given(context, "mixers") else _DEMO_MIXERS)
        events = training.train_demonstration(
            folder, names, seeds=seeds, direction=chosen_direction, precision=precision, resources=resources
        )
    else:
        request = Request(
            corpus=with_fold(corpus, fold),
            speech=speech,
            text=None if no_text else text,
            mixers=split_mixers(mixers),
            seeds=seeds,
            preset=chosen_preset,
            direction=chosen_direction,
            layer=chosen_layer,
            epochs=epochs,
            batch=batch,
            learning_rate=learning_rate,
            schedule=choose_schedule(schedule),
            classifier_layers=classifier_layers,
            crop_seconds=None if crop == "whole" else parse_number(crop, "--crop", or_else="whole"),
            data_seed=data_seed,
            shared_data=shared_data,
            missing_text="empty" if no_text else missing_text,
        )
        events = training.train(request, folder, precision=precision, resources=resources, splits=splits)
    _show(events, folder, resources, demo=demo, splits=splits, quiet=quiet)


def _resources(*, device: str, workers: int, checkpoint_steps: int) -> "Resources":
    from bench.accuracy.training.computing import Resources, start_accelerator
    from bench.environment import choose_device

    accelerator = start_accelerator(choose_device(device))
    return Resources(accelerator=accelerator, workers=workers, checkpoint_steps=checkpoint_steps)


def _show(
    events: "Iterator[Event]",
    folder: Path,
    resources: "Resources",
    *,
    demo: bool,
    splits: tuple[str, ...],
    quiet: bool,
) -> None:
    """Show a training while it runs, and print its folder; a demonstration is also evaluated, and gets its table."""
    from rich.console import Console

    is_main = resources.accelerator.is_main_process
    console = Console(stderr=True, quiet=quiet or not is_main)
    if demo:
        console.print(DEMONSTRATION, style="bold yellow")
    try:
        with signals.interruptible():
            finished = _follow(events, console)
    except KeyboardInterrupt:
        if is_main and folder.exists():
            scoring = f" --evaluate {shlex.quote(','.join(splits))}" if splits else ""
            print("To continue:", f"{resume_command('train', folder)}{scoring}", file=sys.stderr)
        raise typer.Exit(signals.exit_code()) from None
    if is_main:
        print(finished.folder)
    if finished.run.demo or splits:
        from bench.cli.evaluate import evaluate_run, write_table

        device, workers = resources.accelerator.device.type, resources.workers
        chosen = splits or finished.corpus.splits[1:]
        evaluate_run(finished.folder, finished.corpus, chosen, device=device, workers=workers, console=console)
        if is_main and finished.run.demo:
            write_table([finished.folder], finished.folder / "table")
    resources.accelerator.end_training()


def _follow(events: "Iterator[Event]", console: "Console") -> "Finished":
    """Show a training while it runs, and return its last event."""
    from bench.accuracy.training.events import Finished, Noted, Preparing, Scored, Started, Stepped

    status, progress = console.status(""), new_progress(console)
    task = progress.add_task("", total=None)
    finished: Finished | None = None
    try:
        for event in events:
            match event:
                case Preparing():
                    status.update(event.task)
                    status.start()
                case Noted():
                    warn(event.line, console)
                case Started():
                    status.stop()
                    progress.update(task, total=event.total_steps, completed=event.done_steps)
                    progress.start()
                case Stepped():
                    mean = sum(event.losses.values()) / len(event.losses)
                    description = f"epoch {event.place.epoch + 1}, loss {mean:.3f}"
                    progress.update(task, completed=event.done_steps, description=description)
                case Scored():
                    scores = ", ".join(f"{name} {score:.1%}" for name, score in event.scores.items())
                    progress.console.print(f"epoch {event.epoch + 1}: development macro-F {scores}")
                case Finished():
                    finished = event  # the training then frees its models
        assert finished, "a training ends with Finished"
        return finished
    finally:
        status.stop()
        if progress.live.is_started:
            progress.stop()


def _check_alone(context: typer.Context, *, corpus: str | None, resume: Path | None, demo: bool, no_text: bool) -> None:
    """Refuse options that --resume, --demo or --no-text would ignore, and a missing corpus."""
    computing = ["workers", "checkpoint_steps", "device", "plugin", "evaluate"]
    if resume is not None:
        check_alone(context, "resume", "continues the run as it was begun", beside=computing)
    elif demo:
        beside = [*computing[:-1], "mixers", "seeds", "direction", "precision", "output"]
        check_alone(context, "demo", "uses its own corpus, encoders and schedule", beside=beside)
    elif no_text:
        beside = [str(each.name) for each in context.command.params if each.name not in ("text", "missing_text")]
        check_alone(context, "no-text", "uses no transcripts", beside=beside)
    if resume is None and not demo and corpus is None:
        raise UserError("no corpus was given", hint=f"Give --corpus {CORPUS} Or try --demo.")


def _explain(preset: str, direction: str) -> None:
    """Print the presets with the source of each part, and what each direction lets a frame see."""
    from rich.console import Console
    from rich.table import Table

    from bench.accuracy.run import SEEN
    from bench.accuracy.training.differences import DIFFERENCES, MOVES, ORDER_OF_INPUTS

    presets = Table(title=f"The presets; --preset {preset} is in use", show_lines=True)
    for column in ("", "matched", "from", "released"):
        presets.add_column(column)
    for part in DIFFERENCES:
        presets.add_row(part.name, part.matched, part.source, part.released)
    directions = Table(title=f"What a frame sees; --direction {direction} is in use", show_lines=True)
    for column in ("", "softmax attention", "the other mixers"):
        directions.add_column(column)
    for name, seen in SEEN.items():
        directions.add_row(name, *seen)
    conformer = "conformer: as matched, but the mixer stands in Conformer blocks, and the stack has 30 M parameters."
    sources = "from text: the paper's text; code: its code, where the text is silent; ours: where neither decides."
    moves = ("", "What the paper's code does that moves its published figures:", *(f"- {line}" for line in MOVES))
    order = (f"- {line}" for line in ORDER_OF_INPUTS)
    Console().print(
        presets, conformer, sources, *moves, "", directions, *order, sep="\n", highlight=False, markup=False
    )
