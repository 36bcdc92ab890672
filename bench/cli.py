"""`sbench`: parses, prints and exits. Imports nothing heavy at the top, so that `--help` answers at once."""

import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixers.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from bench.efficiency.cases import Plan
    from bench.efficiency.records import Record
    from bench.efficiency.sweep import Sweep

CPU_BUDGET_S = 120.0

BEGAN_S = time.perf_counter()

INTERRUPTED = 130  # 128 + SIGINT, as shells report it

app = typer.Typer(
    name="sbench",
    help="Latency and memory of sequence mixers for speech emotion recognition, from 10 s to 400 s of audio.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Preset = Annotated[
    str, typer.Option(help="matched: stacks of 20 M parameters; released: the bare layers of the paper's code.")
]


def main() -> None:
    """Run the command line: exit code 2 for the user's mistakes, 130 after Ctrl-C."""
    try:
        app()
    except UserError as error:
        hint = f"\n  hint: {error.hint}" if error.hint else ""
        print(f"sbench: {error}{hint}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("sbench: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


@app.command()
def sweep(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MIXER]...", help="Mixers, for instance kda or sa/sdpa (`sbench list`); default: all."),
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Longest audio; default: 400 on a GPU, 5 on a CPU.", show_default=False)
    ] = None,
    seconds: Annotated[
        str | None, typer.Option(help="The lengths themselves, for instance 10,20,40.", show_default=False)
    ] = None,
    preset: Preset = "matched",
    precision: Annotated[
        str | None,
        typer.Option(
            help="bfloat16 (default on a GPU), float32 (default on a CPU, CPU only) or native: float32 tensors, "
            "every library's own default for its matrix products.",
            show_default=False,
        ),
    ] = None,
    execution: Annotated[
        str, typer.Option(help="eager, graph (a CUDA graph, replayed) or compile (through torch.compile).")
    ] = "eager",
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

    from bench.efficiency import runs
    from bench.efficiency import sweep as sweeping

    console = Console(stderr=True)
    if resume is not None:
        given = (names, max_seconds, seconds, precision, audio, encoder, time_budget, output)
        if any(value is not None for value in given) or execution != "eager" or cold_cache:
            raise UserError("--resume goes on with the sweep as it was", hint="Leave the other options away.")
        plan, done = runs.resume(resume, allow_mixed=allow_mixed)
        folder = resume
    elif allow_mixed:
        raise UserError("--allow-mixed is for a sweep that goes on", hint="Give it with --resume.")
    else:
        plan = _plan(
            names or [],
            max_seconds=max_seconds,
            seconds=seconds,
            preset=preset,
            precision=precision,
            device=device,
            execution=execution,
            cold_cache=cold_cache,
            audio=audio,
            encoder=encoder,
            seed=seed,
            time_budget=time_budget,
        )
        folder, done = output or _default_folder(), []
        runs.check_new(folder)
    with tempfile.TemporaryDirectory(prefix="sbench-") as scratch:
        with console.status("Preparing the input"):
            source = sweeping.make_input(plan, Path(scratch))
        with sweeping.Sweep(plan, source, folder, done=done) as work:
            if resume is None:
                runs.start(plan, folder)
            _measure(plan, source.description, folder, done, work, console)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A folder that `sbench sweep` made.")]) -> None:
    """Rebuild CSV and PNG of a sweep from its records, and print its table; needs no torch."""
    from rich.console import Console

    from bench.reporting.report import write_report

    _show(write_report(folder), folder, Console())


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

    from bench.reporting import comparison, verdict

    fraction = None if fail_on_slower is None else verdict.parse_fraction(fail_on_slower)
    compared = comparison.compare(before, after, by=by)
    Console().print(comparison.render(compared))
    offending = [] if fraction is None else comparison.slower(compared, fraction)
    for line in offending:
        print(line, file=sys.stderr)
    if offending:
        raise typer.Exit(1)


@app.command("list")
def list_mixers(preset: Preset = "matched") -> None:
    """Show mixers and implementations, whether each runs on this machine, and exact parameter counts."""
    from rich.console import Console

    from bench.efficiency.listing import table

    Console().print(table(preset=preset))


@app.command()
def tune(
    names: Annotated[list[str] | None, typer.Argument(metavar="[MIXER]...", help="Mixers; default: all.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the configurations; default: where sweeps look.", show_default=False)
    ] = None,
) -> None:
    """Find the fastest kernel configurations on this GPU, once, so that sweeps need not search: takes minutes."""
    from bench.efficiency import tune as tuning

    for line in tuning.tune(names or [], output, precisions=("bfloat16", "native")):
        print(line, flush=True)


@app.command()
def doctor(device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto") -> None:
    """Check this machine by known answers, and find the smallest difference that it can tell; exits 1 if one fails.

    Takes about half a minute and changes no setting.
    """
    from bench.efficiency import isolation

    isolation.start_server()  # which imports PyTorch while this process does
    from rich.console import Console

    from bench.efficiency import doctor as doctors
    from bench.efficiency.cases import choose_device

    device_type = choose_device(device)
    with Console(stderr=True).status(f"Checking {device_type}") as status:
        diagnosis = doctors.examine(device_type, tell=status.update)
    console = Console()
    console.print(doctors.table(diagnosis))
    difference = doctors.smallest_difference(diagnosis.repetitions)
    console.print(f"smallest difference this machine can tell: {difference}", highlight=False, soft_wrap=True)
    if not diagnosis.passed:
        raise typer.Exit(1)


def _plan(
    names: list[str],
    *,
    max_seconds: float | None,
    seconds: str | None,
    preset: str,
    precision: str | None,
    device: str,
    execution: str,
    cold_cache: bool,
    audio: Path | None,
    encoder: str | None,
    seed: int,
    time_budget: float | None,
) -> "Plan":
    """Check every option and return what they mean, before anything is built or written."""
    from bench.efficiency import cases
    from bench.efficiency.execution import check_execution

    if (audio is None) != (encoder is None):
        missing, given = ("--encoder", "--audio") if encoder is None else ("--audio", "--encoder")
        raise UserError(f"{given} needs {missing}", hint="For instance --audio recordings --encoder xlsr-random.")
    if time_budget is not None and not 0 < time_budget < float("inf"):
        raise UserError(f"--time-budget {time_budget} is no time", hint="Give the seconds the whole sweep may take.")
    device_type = cases.choose_device(device)
    check_execution(execution, device_type=device_type)
    if cold_cache and device_type != "cuda":
        raise UserError("--cold-cache is for the L2 cache of a GPU", hint="Leave it away on a CPU.")
    if time_budget is not None and device_type != "cpu":
        raise UserError("--time-budget is for sweeps on a CPU", hint="A GPU takes seconds for any case; leave it away.")
    if time_budget is None and device_type == "cpu":
        time_budget = CPU_BUDGET_S
    return cases.Plan(
        contestants=cases.choose_contestants(names, preset=preset, device_type=device_type),
        seconds=cases.choose_seconds(seconds, max_seconds, device_type=device_type),
        preset=preset,
        precision=cases.choose_precision(precision, device_type=device_type),
        device_type=device_type,
        execution=execution,
        cold_cache=cold_cache,
        seed=seed,
        time_budget_s=time_budget,
        audio=None if audio is None else str(audio),
        encoder=encoder,
    )


def _default_folder() -> Path:
    return Path("runs") / datetime.now().strftime("%Y-%m-%dT%H-%M-%S")


def _measure(
    plan: "Plan", description: str, folder: Path, done: "list[Record]", work: "Sweep", console: "Console"
) -> None:
    """Run a sweep under a progress bar, then write and show its report; Ctrl-C keeps what was measured."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    import mixers
    from bench.efficiency import runs
    from bench.reporting.overview import CPU_NOTICE
    from bench.reporting.report import write_report

    for name, reason in mixers.unavailable().items():
        console.print(f"{name} is unavailable: {reason}", style="yellow")
    cache = ", cold cache" if plan.cold_cache else ""
    console.print(f"{plan.device_type}, {plan.precision}, {plan.preset} preset, {plan.execution}{cache}, {description}")
    if plan.device_type == "cpu":
        console.print(CPU_NOTICE, style="bold yellow")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    order = [f"{contestant.name} {length:g} s" for contestant in plan.contestants for length in plan.seconds]
    measured = {f"{record.name} {record.seconds:g} s" for record in done}
    remaining = [case for case in order if case not in measured]
    interrupted = False
    ready_s: dict[str, float] = {}
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(order), completed=len(done))
        try:
            compiling = progress.add_task("compiling", total=len(work.unfinished), visible=plan.device_type == "cuda")
            for name in work.prepare():
                ready_s[name] = time.perf_counter() - BEGAN_S
                progress.update(compiling, advance=1, description=f"ready: {name}")
            progress.update(compiling, visible=False)
            progress.reset(task, completed=len(done), description=(remaining or order)[0])
            for position, record in enumerate(work.measure(), start=1):
                done.append(record)
                progress.update(task, advance=1, description=(remaining + order[-1:])[position])
            measured_s = time.perf_counter() - BEGAN_S
        except KeyboardInterrupt:
            interrupted = True
    if not done:
        console.print(f"Nothing was measured. {folder}")
    else:
        records = write_report(folder)
        if not interrupted and not measured:
            runs.record_wall_time(folder, ready_s=ready_s, measured_s=measured_s, total_s=time.perf_counter() - BEGAN_S)
        _show(records, folder, console)
    if interrupted:
        console.print(
            f"Interrupted; what was measured is kept. To go on: sbench sweep --resume {folder}", soft_wrap=True
        )
        raise typer.Exit(INTERRUPTED)


def _show(records: "list[Record]", folder: Path, console: "Console") -> None:
    """Print a sweep's table, what has no figure and why, and the folder, which goes to standard output."""
    from bench.reporting.tables import failures, summary

    console.print(summary(records))
    for line in failures(records):
        console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)
    print(folder)
