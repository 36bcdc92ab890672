"""The commands of the accuracy half: train, evaluate, predict, table, corpus and demo-corpus."""

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.app import INTERRUPTED, app, check_alone, is_given, new_progress
from bench.files import check_new, make_folder_for, resume_command
from mixers.support.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator
    from rich.console import Console

    from bench.accuracy.corpora.base import Corpus
    from bench.accuracy.inputs.features import Encoders
    from bench.accuracy.run import Run

MIXERS = "sa,retnet,lightnet,gsa,fox,kda"

DEMONSTRATION = "A demonstration: a synthetic corpus, and encoders that were never trained"

_DEMO_MIXERS = "sa,retnet"

_CORPUS = "msp-podcast:FOLDER, ravdess:FOLDER, crema-d:FOLDER or manifest:FILE.jsonl"

Workers = Annotated[int, typer.Option(help="Processes that read audio.", min=0)]

_WORKERS = min(4, os.cpu_count() or 1)
Device = Annotated[str, typer.Option(help="auto, cuda or cpu.")]
MissingText = Annotated[str, typer.Option(help="A missing transcript is an error, or empty.")]


@app.command()
def train(
    context: typer.Context,
    corpus: Annotated[str | None, typer.Option(help=_CORPUS, show_default=False)] = None,
    speech: Annotated[
        str, typer.Option(help="wavlm-large, wav2vec2-xlsr, wav2vec2-large, hubert-large, an id or a folder.")
    ] = "wavlm-large",
    text: Annotated[str, typer.Option(help="The text encoder: an id or a folder.")] = "bert-large-uncased",
    no_text: Annotated[bool, typer.Option("--no-text", help="Speech alone.")] = False,
    mixers: Annotated[str, typer.Option(help="With commas between; kda/reference chooses an implementation.")] = MIXERS,
    seeds: Annotated[int, typer.Option(help="How many seeds each mixer is trained with.", min=1)] = 1,
    preset: Annotated[
        str, typer.Option(help="paper: the model of its text; released: that of its code; see --explain.")
    ] = "paper",
    epochs: Annotated[int, typer.Option(help="Passes through the training set.", min=1)] = 20,
    batch: Annotated[int, typer.Option(help="Utterances in a step, of all GPUs together.", min=1)] = 32,
    learning_rate: Annotated[float, typer.Option(help="At the beginning.")] = 1e-4,
    crop: Annotated[float, typer.Option(help="Seconds of each training utterance.")] = 5.5,
    data_seed: Annotated[int, typer.Option(help="Of crops and order, which all mixers and seeds share.")] = 0,
    precision: Annotated[
        str | None, typer.Option(help="bfloat16 (default on a GPU) or float32.", show_default=False)
    ] = None,
    missing_text: MissingText = "error",
    workers: Workers = _WORKERS,
    checkpoint_steps: Annotated[int, typer.Option(help="Steps from one checkpoint to the next.", min=1)] = 500,
    device: Device = "auto",
    output: Annotated[
        Path | None, typer.Option(help="New folder for the run; default: under runs/.", show_default=False)
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with an interrupted run, in its folder.", show_default=False)
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Print where the presets differ, and exit.")] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="A synthetic corpus and small encoders: the whole path in minutes.")
    ] = False,
) -> None:
    """Train the full model, every mixer and seed on one pass of the frozen encoders; leaves a run's folder."""
    from rich.console import Console

    if explain:
        Console().print(_differences(preset))
        return
    from bench.accuracy import run as runs
    from bench.accuracy.training import setup
    from bench.environment import choose_device

    console = Console(stderr=True)
    device = choose_device(device)
    if resume is not None:
        beside = ["workers", "checkpoint_steps", "device"]
        check_alone(context, "resume", "goes on with the run as it was", beside=beside)
        accelerator = setup.start_accelerator(device)
        run, read = setup.take_up(resume, device=device)
        folder, encoders = resume, None
    else:
        if demo:
            beside = ["mixers", "seeds", "precision", "workers", "checkpoint_steps", "device", "output"]
            check_alone(context, "demo", "has a corpus, encoders and a schedule of its own", beside=beside)
        if corpus is None and not demo:
            raise UserError("no corpus was given", hint=f"Give --corpus {_CORPUS}, or try --demo.")
        precision = setup.choose_precision(precision, device=device)
        accelerator = setup.start_accelerator(device)
        folder = setup.agree(output or Path("runs") / f"train-{datetime.now():%Y-%m-%dT%H-%M-%S}", accelerator)
        if accelerator.is_main_process:
            check_new(folder)
        if demo:
            console.print(DEMONSTRATION, style="bold yellow")
            chosen = mixers if is_given(context, "mixers") else _DEMO_MIXERS
            plan = setup.demonstration(
                folder, mixers=chosen, seeds=seeds, device=device, write=accelerator.is_main_process
            )
            accelerator.wait_for_everyone()
        else:
            assert corpus is not None
            plan = setup.Plan(
                corpus=corpus,
                speech=speech,
                text=None if no_text else text,
                mixers=tuple(mixers.split(",")),
                seeds=seeds,
                preset=preset,
                epochs=epochs,
                batch=batch,
                learning_rate=learning_rate,
                crop_seconds=crop,
                data_seed=data_seed,
                missing_text="empty" if no_text else missing_text,
            )
        with console.status("Reading the corpus and loading the encoders"):
            run, read, encoders = setup.prepare(plan, precision=precision, device=str(accelerator.device))
        if accelerator.is_main_process:
            runs.start(run, folder)
        accelerator.wait_for_everyone()
    console.quiet = not accelerator.is_main_process
    try:
        _train(run, folder, read, encoders, accelerator, console, workers=workers, checkpoint_steps=checkpoint_steps)
    except KeyboardInterrupt:
        if accelerator.is_main_process:
            print("To go on:", resume_command("train", folder), file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    if run.demo:
        _evaluate(folder, read, read.splits[1:], device=device, workers=workers, console=console)
        if accelerator.is_main_process:
            _table([folder], folder / "table")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `sbench train` made.")],
    corpus: Annotated[str, typer.Option(help=_CORPUS)],
    splits: Annotated[
        str | None, typer.Option(help="With commas between; default: all but train.", show_default=False)
    ] = None,
    missing_text: MissingText = "error",
    workers: Workers = _WORKERS,
    device: Device = "auto",
) -> None:
    """Score a run on whole files: macro-F over all classes and more, each with its interval; keeps every prediction."""
    from rich.console import Console

    from bench.accuracy import corpora
    from bench.accuracy import run as runs
    from bench.accuracy.corpora.base import TRAIN
    from bench.environment import choose_device

    speech_alone = runs.read(run).text is None
    read = corpora.load(corpus, missing_text="empty" if speech_alone else missing_text)
    others = [split for split in read.splits if split != TRAIN]
    chosen = others if splits is None else [split.strip() for split in splits.split(",")]
    if not chosen:
        raise UserError(f"{corpus} has training utterances alone", hint="Give --splits train to score these.")
    _evaluate(run, read, chosen, device=choose_device(device), workers=workers, console=Console(stderr=True))
    print(run / "evaluation")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `sbench train` made.")],
    audio: Annotated[Path, typer.Argument(help="A recording, wav or flac.")],
    text: Annotated[str, typer.Option(help="What is said in it.")] = "",
    device: Device = "auto",
) -> None:
    """Print the probability of each emotion in a recording, by every mixer and seed of a run."""
    from rich.console import Console
    from rich.table import Table

    from bench.accuracy import trained as evaluation
    from bench.environment import choose_device

    trained = evaluation.open_run(run, device=choose_device(device))
    found = evaluation.classify(trained, audio, text)
    table = Table(title=DEMONSTRATION if trained.run.demo else None)
    table.add_column("emotion")
    for name in found:
        table.add_column(name, justify="right")
    for label in trained.run.classes:
        table.add_row(label, *(f"{each[label]:.1%}" for each in found.values()))
    Console().print(table)


@app.command("table")
def make_table(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `sbench evaluate` has scored.")],
    output: Annotated[Path, typer.Option(help="Folder for the table as CSV, Markdown and LaTeX.")] = Path("table"),
) -> None:
    """Make Table 1: the paper's value, ours, the difference and the parameters, for every mixer and encoder."""
    _table(runs, output)


@app.command("corpus")
def check_corpus(
    specs: Annotated[list[str], typer.Argument(metavar="CORPUS...", help=_CORPUS)],
) -> None:
    """Read corpora end to end: durations, classes, what is missing or cannot be read; exits 1 if something is amiss."""
    from rich.console import Console

    from bench.accuracy.corpora import check

    with new_progress(Console(stderr=True)) as progress:
        task = progress.add_task("reading", total=None)
        found = check.check(specs, tell=lambda done, total: progress.update(task, completed=done, total=total))
    Console().print(check.render(found))
    if not found.sound:
        raise typer.Exit(1)


@app.command("demo-corpus")
def demo_corpus(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    utterances: Annotated[int, typer.Option(help="How many.", min=1)] = 480,
    speakers: Annotated[int, typer.Option(help="Of all splits together.", min=1)] = 24,
    seed: Annotated[int, typer.Option(help="Of everything in it.")] = 0,
) -> None:
    """Write a small synthetic corpus in MSP-Podcast's layout: voices whose pitch, rate, energy and words vary."""
    from bench.accuracy.corpora.demo import write_demo_corpus

    write_demo_corpus(folder, utterances=utterances, speakers=speakers, seed=seed)
    print(folder)


@app.command()
def throughput(
    speech: Annotated[str, typer.Option(help="An encoder; xlsr-random needs no download.")] = "xlsr-random",
    text: Annotated[str, typer.Option(help="A text encoder; bert-large-random needs no download.")] = (
        "bert-large-random"
    ),
    mixers: Annotated[str, typer.Option(help="With commas between.")] = MIXERS,
    steps: Annotated[int, typer.Option(help="Timed steps of each way.", min=1)] = 40,
    batch: Annotated[int, typer.Option(help="Utterances in a step.", min=1)] = 32,
    crop: Annotated[float, typer.Option(help="Seconds of each utterance.")] = 5.5,
    utterances: Annotated[int, typer.Option(help="In the synthetic corpus that is made for it.", min=64)] = 2800,
    workers: Workers = _WORKERS,
    device: Device = "auto",
    output: Annotated[Path, typer.Option(help="The figures, as JSON.")] = Path("throughput.json"),
) -> None:
    """Measure how fast all mixers train on one pass of the encoders, against one after another in float32."""
    import tempfile

    from rich.console import Console

    from bench.accuracy.corpora.demo import write_demo_corpus
    from bench.accuracy.training import setup
    from bench.accuracy.training import throughput as rates
    from bench.environment import choose_device, environment

    console = Console(stderr=True)
    make_folder_for(output)
    device = choose_device(device)
    precision = setup.choose_precision(None, device=device)
    found = {}
    with tempfile.TemporaryDirectory(prefix="sbench-") as scratch, console.status("Making a corpus") as status:
        folder = Path(scratch) / "corpus"
        write_demo_corpus(folder, utterances=utterances, speakers=40, seed=0, seconds=(crop, crop))
        plan = setup.Plan(
            corpus=f"msp-podcast:{folder}",
            speech=speech,
            text=text,
            mixers=tuple(mixers.split(",")),
            seeds=1,
            preset="paper",
            epochs=1,
            batch=batch,
            learning_rate=1e-4,
            crop_seconds=crop,
            data_seed=0,
            missing_text="error",
        )
        status.update("Loading the encoders")
        run, corpus, encoders = setup.prepare(plan, precision=precision, device=device)
        accelerator = setup.start_accelerator(device)
        status.update("Training together, then one after another")
        facts = {"environment": environment(device), "speech": speech, "text": text, "batch": batch}
        facts |= {"crop_seconds": crop, "precision": precision, "mixers": run.mixers}
        measured = rates.measure(run, corpus, encoders, accelerator=accelerator, steps=steps, workers=workers)
        del encoders  # which it replaces
        for name, rate in measured:
            found[name] = rate
            content = rates.write(found, output, facts=facts)  # so that an interruption costs only what is to come
            console.print(f"{name}: {rate.utterances_per_s:.1f} utterances/s; {rate.parts}", highlight=False)
    console.print(f"together {content['times_faster']:.1f} times as fast as one after another", highlight=False)
    print(output)


def _train(
    run: "Run",
    folder: Path,
    corpus: "Corpus",
    encoders: "Encoders | None",
    accelerator: "Accelerator",
    console: "Console",
    *,
    workers: int,
    checkpoint_steps: int,
) -> None:
    """Train under a progress bar."""
    from torch.utils.tensorboard import SummaryWriter

    from bench.accuracy.inputs.features import open_encoders
    from bench.accuracy.training.compiling import compiling_ahead
    from bench.accuracy.training.loop import Stepped, Training
    from bench.speech import frames_of, samples_of
    from mixers.autotuning import compiling_side_by_side

    ahead = compiling_ahead(
        [config for config, _ in run.models()] if accelerator.is_local_main_process else [],
        precisions=[run.precision],
        products=run.precision,
        batch=run.batch // accelerator.num_processes,
        frames=frames_of(samples_of(run.crop_seconds)),
        text=run.text is not None,
        device=accelerator.device,
    )
    with console.status("Compiling" if encoders else "Loading the encoders and compiling"), ahead:
        speech, text = encoders or open_encoders(run, device=str(accelerator.device))
    with console.status("Building the models"):
        work = Training(
            run,
            folder,
            corpus,
            speech=speech,
            text=text,
            accelerator=accelerator,
            workers=workers,
            checkpoint_steps=checkpoint_steps,
        )
    begin = work.begin.epoch * work.steps + work.begin.step
    progress = new_progress(console)
    progress.disable = not accelerator.is_main_process
    task = progress.add_task("", total=run.epochs * work.steps, completed=begin)
    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=begin) if accelerator.is_main_process else None
    try:
        with progress, compiling_side_by_side(settling=True):
            for event in work.work():
                if isinstance(event, Stepped):
                    at = event.place.epoch * work.steps + event.place.step
                    mean = sum(event.losses.values()) / len(event.losses)
                    description = f"epoch {event.place.epoch + 1}, loss {mean:.3f}"
                    progress.update(task, completed=at, description=description)
                    values = {f"loss/{name}": loss for name, loss in event.losses.items()}
                else:
                    at = (event.epoch + 1) * work.steps
                    values = {f"development macro-F/{name}": score for name, score in event.scores.items()}
                    scores = ", ".join(f"{name} {score:.1%}" for name, score in event.scores.items())
                    progress.console.print(f"epoch {event.epoch + 1}: development macro-F {scores}")
                if writer:
                    for name, value in values.items():
                        writer.add_scalar(name, value, at)
    finally:
        if writer:
            writer.close()
    if accelerator.is_main_process:
        print(folder)


def _evaluate(
    folder: Path, corpus: "Corpus", splits: Sequence[str], *, device: str, workers: int, console: "Console"
) -> None:
    from bench.accuracy import trained as evaluation
    from bench.reporting.accuracy.confusion import write_confusion

    utterances = {split: corpus.split(split) for split in splits}
    trained = evaluation.open_run(folder, device=device)
    if trained.run.demo:
        console.print(DEMONSTRATION, style="bold yellow")
    for split, chosen in utterances.items():
        left_out = sum(each.split == split for each in corpus.left_out)
        used = len(chosen)
        console.print(f"{split}: {used + left_out} utterances, {used} used, {left_out} left out", highlight=False)
        with console.status(f"Predicting {split}"):
            scores = list(evaluation.evaluate(trained, folder, corpus, [split], workers=workers))
        for _, name, summary in scores:
            stem = folder / "evaluation" / split / f"{name}-confusion"
            title = f"{name}, {split}{' (demonstration)' if trained.run.demo else ''}"
            try:
                write_confusion(summary, stem, title=title)
            except OSError as error:
                raise UserError(f"{stem} cannot be written: {error.strerror}", hint="Is the disk full?") from None
            estimate = summary.macro_f
            interval = f"{estimate.low:.1%} to {estimate.high:.1%}"
            line = f"  {name}: macro-F {estimate.value:.1%} ({interval}), micro-F {summary.micro_f.value:.1%}, "
            console.print(f"{line}recall {summary.average_recall.value:.1%}", highlight=False)


def _table(runs: Sequence[Path], output: Path) -> None:
    from rich.console import Console

    from bench.reporting.accuracy import table1_formats

    made = table1_formats.write(runs, output)
    Console().print(table1_formats.render(made))
    print(output)


def _differences(preset: str) -> object:
    from rich.table import Table

    from bench.accuracy.training.model import DIFFERENCES, PRESETS
    from mixers.support.errors import unknown_name

    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    table = Table(title=f"The presets; --preset {preset} is the one in use", show_lines=True)
    for column in ("", *PRESETS):
        table.add_column(column)
    for row in DIFFERENCES:
        table.add_row(*row)
    return table
