"""The commands that measure what mixers cost: sweep, report, compare, list, tune and doctor."""

import importlib
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.app import INTERRUPTED, app, check_alone, new_progress
from bench.files import check_new, resume_command
from mixers.support.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.progress import Progress, TaskID

    from bench.efficiency.inputs import Input
    from bench.efficiency.records import Record
    from bench.efficiency.settings import Plan
    from bench.efficiency.sweep import Sweep

CPU_BUDGET_S = 120.0

BEGAN_S = time.perf_counter()

_PRESETS = "matched: stacks of 20 M parameters; layer: one of their mixers alone; released: the paper's bare layers."


@app.command()
def sweep(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MIXER]...", help="Mixers, for instance kda or sa/sdpa (`sbench list`); default: all."),
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Longest audio; default: 400 on a GPU, 5 on a CPU.", show_default=False)
    ] = None,
    lengths: Annotated[
        str | None, typer.Option(help="The lengths themselves, in seconds: 10,20,40", show_default=False)
    ] = None,
    preset: Annotated[str, typer.Option(help=f"{_PRESETS} Like the next four, one or several: matched,released")] = (
        "matched"
    ),
    precision: Annotated[
        str | None,
        typer.Option(
            help="bfloat16 (default on a GPU), tf32, float32 (all its bits; default on a CPU) or native (default of "
            "released): float32 tensors, every library's own default for its products.",
            show_default=False,
        ),
    ] = None,
    pass_: Annotated[str, typer.Option("--pass", help="inference, or training: forward and backward.")] = "inference",
    execution: Annotated[
        str, typer.Option(help="eager, graph (a CUDA graph, replayed) or compile (through torch.compile).")
    ] = "eager",
    batch: Annotated[str, typer.Option(help="Sequences in one call.")] = "1",
    text_tokens: Annotated[
        int | None,
        typer.Option(
            help="Frames of text that each call appends to the audio; default: 100 in released, else none.",
            show_default=False,
        ),
    ] = None,
    cold_cache: Annotated[
        bool, typer.Option("--cold-cache", help="Overwrite the GPU's L2 cache before each timed call.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto",
    audio: Annotated[
        Path | None, typer.Option(help="Folder of recordings (wav, flac) in place of random features.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="What encodes --audio: a Hugging Face id, a folder, or xlsr-random.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights and input.")] = 0,
    time_budget: Annotated[
        float | None,
        typer.Option(help=f"Seconds for the whole sweep, on a CPU; default {CPU_BUDGET_S:g}.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="New folder for the results; default: under runs/.", show_default=False)
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with an interrupted sweep, in its folder.", show_default=False)
    ] = None,
    allow_mixed: Annotated[
        bool, typer.Option("--allow-mixed", help="With --resume: even on another machine, library or code.")
    ] = False,
) -> None:
    """Measure latency and peak memory over the length of the audio; leaves CSV, JSONL and PNG in a folder.

    On a GPU the implementations that people run are measured, on a CPU the plain PyTorch references, at lengths that
    take about two minutes.
    """
    from bench.efficiency import isolation

    isolation.start_server()  # which imports PyTorch while this process does
    from rich.console import Console

    from bench.efficiency import selection
    from bench.efficiency import sweep as sweeping
    from bench.efficiency.settings import Plan
    from bench.environment import choose_device

    console = Console(stderr=True)
    if resume is not None:
        check_alone(context, "resume", "goes on with the sweep as it was", beside=["allow_mixed"])
        plan, done = sweeping.resume(resume, allow_mixed=allow_mixed)
        folder = resume
    elif allow_mixed:
        raise UserError("--allow-mixed is for a sweep that goes on", hint="Give it with --resume.")
    else:
        device_type = choose_device(device)
        settings = selection.choose_settings(
            device_type=device_type,
            presets=preset,
            precisions=precision,
            passes=pass_,
            executions=execution,
            batches=batch,
            text_tokens=text_tokens,
            cold_cache=cold_cache,
        )
        plan = Plan(
            contestants=selection.choose_contestants(names or [], settings=settings, device_type=device_type),
            seconds=selection.choose_seconds(lengths, max_seconds, device_type=device_type),
            device_type=device_type,
            seed=seed,
            time_budget_s=_time_budget(time_budget, device_type=device_type),
            audio=_audio(audio, encoder),
            encoder=encoder,
        )
        folder, done = output or _default_folder(), []
        check_new(folder)
    with tempfile.TemporaryDirectory(prefix="sbench-") as scratch:
        with console.status("Preparing the input"):
            source = sweeping.make_input(plan, Path(scratch))
        _measure(plan, source, folder, done, console, begin=resume is None)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Folders that `sbench sweep` made.")],
    output: Annotated[
        Path | None, typer.Option(help="Where it goes; default: the folder, if it is one.", show_default=False)
    ] = None,
) -> None:
    """Write all that records say, and print their tables: figures, growth, crossings, floors, the paper's claims.

    Needs no torch. CSV, PNG and PDF, tables as CSV, Markdown and LaTeX; of several sweeps of one machine together.
    """
    from rich.console import Console

    from bench.reporting.efficiency.report import write_report

    if output is None and len(folders) > 1:
        raise UserError("several folders make a report of their own", hint="Give --output, a folder to put it in.")
    _show(write_report(folders, output or folders[0]), output or folders[0], Console())


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="A folder that `sbench sweep` made.")],
    after: Annotated[Path, typer.Argument(help="Another one.")],
    by: Annotated[
        str | None,
        typer.Option(
            help="gpu (the GPU's own time) or latency (single calls); default: gpu where both sides have it.",
            show_default=False,
        ),
    ] = None,
    fail_on_slower: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT",
            help="Exit with code 1 if a case is slower by more than this, for instance 5%, or has no figure any more.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Tell which cases are faster or slower in a second sweep, and what else differs; needs no torch."""
    from rich.console import Console

    from bench.reporting.efficiency import comparison, comparison_text, verdict

    fraction = None if fail_on_slower is None else verdict.parse_fraction(fail_on_slower)
    compared = comparison.compare(before, after, by=by)
    Console().print(comparison_text.render(compared))
    offending = [] if fraction is None else comparison_text.slower(compared, fraction)
    for line in offending:
        print(line, file=sys.stderr)
    if offending:
        raise typer.Exit(1)


@app.command("list")
def list_mixers(preset: Annotated[str, typer.Option(help=_PRESETS)] = "matched") -> None:
    """Show mixers and implementations, whether each runs on this machine, and exact parameter counts."""
    from rich.console import Console

    from bench.efficiency.listing import table

    Console().print(table(preset=preset))


@app.command()
def tune(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MIXER[/IMPLEMENTATION]]...", help="As for sweep; default: what it measures."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Only in these, for instance released.", show_default=False)
    ] = None,
    precision: Annotated[str | None, typer.Option(help="Only in these: native,bfloat16", show_default=False)] = None,
    pass_: Annotated[str | None, typer.Option("--pass", help="Only in these: training", show_default=False)] = None,
    again: Annotated[bool, typer.Option("--again", help="Search also for what is known already.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Where its folders go; default: where sweeps look for them.", show_default=False)
    ] = None,
) -> None:
    """Find the fastest kernel configurations on this GPU, once, so that sweeps need not search; exits 1 if one fails.

    Takes minutes.
    """
    from functools import partial

    from bench.efficiency import tune as tuning

    settings = tuning.choose(presets=preset, precisions=precision, passes=pass_)
    told = partial(print, file=sys.stderr, flush=True)
    folders, failed = tuning.tune(names or [], output, settings=settings, again=again, tell=told)
    for folder in folders:
        print(folder)
    if failed:
        raise typer.Exit(1)


@app.command()
def doctor(device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto") -> None:
    """Check this machine by known answers, and find the smallest difference that it can tell; exits 1 if one fails.

    Takes about half a minute and changes no setting.
    """
    from bench.efficiency import isolation

    isolation.start_server()  # which imports PyTorch while this process does
    from rich.console import Console

    from bench.efficiency.doctor import checks as doctors
    from bench.efficiency.doctor import verdicts as diagnoses
    from bench.environment import choose_device

    device_type = choose_device(device)
    with Console(stderr=True).status(f"Checking {device_type}") as status:
        diagnosis = doctors.examine(device_type, tell=status.update)
    console = Console()
    console.print(diagnoses.table(diagnosis))
    difference = diagnoses.smallest_difference(diagnosis.repetitions)
    console.print(f"smallest difference this machine can tell: {difference}", highlight=False, soft_wrap=True)
    if not diagnosis.passed:
        raise typer.Exit(1)


def _time_budget(seconds: float | None, *, device_type: str) -> float | None:
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UserError(f"--time-budget {seconds} is no time", hint="Give the seconds the whole sweep may take.")
    if seconds is not None and device_type != "cpu":
        raise UserError("--time-budget is for sweeps on a CPU", hint="A GPU takes seconds for any case; leave it away.")
    return CPU_BUDGET_S if seconds is None and device_type == "cpu" else seconds


def _audio(audio: Path | None, encoder: str | None) -> str | None:
    if (audio is None) != (encoder is None):
        missing, given = ("--encoder", "--audio") if encoder is None else ("--audio", "--encoder")
        raise UserError(f"{given} needs {missing}", hint="For instance --audio recordings --encoder xlsr-random.")
    return None if audio is None else str(audio)


def _default_folder() -> Path:
    return Path("runs") / datetime.now().strftime("%Y-%m-%dT%H-%M-%S")


def _measure(
    plan: "Plan", source: "Input", folder: Path, done: "list[Record]", console: "Console", *, begin: bool
) -> None:
    """Run a sweep under a progress bar, then write and show its report; Ctrl-C keeps what was measured."""
    from bench.efficiency.store import record_wall_time
    from bench.efficiency.sweep import Rested, Sweep, begin_folder

    resumed, interrupted = bool(done), False
    ready_s: dict[str, float] = {}
    progress = new_progress(console)
    task = progress.add_task("", total=len(plan.contestants) * len(plan.seconds), completed=len(done))
    try:
        with Rested() as rested:
            for part in plan.parts():
                with Sweep(part, source, folder, done=done, rested=rested) as work:
                    importlib.import_module("bench.reporting.efficiency.report")  # takes a second, while they compile

                    if begin:
                        begin_folder(plan, folder)
                        _announce(plan, console)
                        begin = False
                    console.print(f"{plan.device_type}, {part.contestants[0].setting.label}, {source.description}")
                    progress.start()
                    for name in _compiling(work, progress, visible=plan.device_type == "cuda"):
                        ready_s.setdefault(name, time.perf_counter() - BEGAN_S)
                    done.extend(_measuring(work, progress, task))
        measured_s = time.perf_counter() - BEGAN_S
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if progress.live.is_started:
            progress.stop()
    if not done:
        console.print("Nothing was measured.")
    else:
        from bench.reporting.efficiency.report import write_figures  # here too: Ctrl-C may have come before

        records = write_figures(folder)
        if not interrupted and not resumed:
            record_wall_time(folder, ready_s=ready_s, measured_s=measured_s, total_s=time.perf_counter() - BEGAN_S)
        _show(records, folder, console)
    if interrupted:
        if folder.exists():
            print("To go on:", resume_command("sweep", folder), file=sys.stderr)
        raise typer.Exit(INTERRUPTED)


def _announce(plan: "Plan", console: "Console") -> None:
    """Say what will be missing, and what the figures are not good for."""
    import mixers
    from bench.reporting.efficiency.overview import CPU_NOTICE

    for name, reason in mixers.unavailable().items():
        console.print(f"{name} is unavailable: {reason}", style="yellow")
    if plan.device_type == "cpu":
        console.print(CPU_NOTICE, style="bold yellow")


def _compiling(work: "Sweep", progress: "Progress", *, visible: bool) -> "Iterator[str]":
    """Show how many contestants have compiled, and yield the name of each that has."""
    task = progress.add_task("compiling", total=len(work.unfinished), visible=visible)
    for name in work.prepare():
        progress.update(task, advance=1, description=f"ready: {name}")
        yield name
    progress.remove_task(task)


def _measuring(work: "Sweep", progress: "Progress", task: "TaskID") -> "Iterator[Record]":
    """Show which contestant is measured, and yield each record."""
    waiting = work.unfinished
    progress.update(task, description=waiting[0] if waiting else "")
    for record in work.measure():
        progress.update(task, advance=1, description=f"{record.name} {record.seconds:g} s: {record.status}")
        yield record


def _show(records: "list[Record]", folder: Path, console: "Console") -> None:
    """Print a table for each setting, what has no figure and why, and the folder, which goes to standard output."""
    from bench.reporting.efficiency.overview import by_setting
    from bench.reporting.efficiency.summary import failures, summary

    for alike in by_setting(records).values():
        console.print(summary(alike))
        for line in failures(alike):
            console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)
    print(folder)
