"""The main command: sweep."""

import contextlib
import importlib
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

import mixers
from bench import signals
from bench.cli import sweep_options as options
from bench.cli.app import MEASURE, Plugins, Quiet, app, check_alone, new_progress
from bench.cli.parsing import split_names
from bench.cli.report import print_records
from bench.files import resume_command
from bench.locking import writing
from mixers.support.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from bench.efficiency.settings import Plan
    from bench.efficiency.sweep import Event, Interrupted, SettingStarted

BEGAN_S = time.perf_counter()


@app.command(rich_help_panel=MEASURE)
def sweep(
    context: typer.Context,
    names: options.Names = None,
    max_seconds: options.MaxSeconds = None,
    lengths: options.Lengths = None,
    preset: options.Preset = "matched",
    direction: options.Direction = None,
    precision: options.Precision = None,
    pass_: options.Pass = "inference",
    execution: options.Execution = "eager",
    batch: options.Batch = "1",
    width: options.Width = None,
    heads: options.Heads = None,
    text_tokens: options.TextTokens = None,
    cold_cache: options.ColdCache = False,
    processes: options.Processes = 1,
    device: options.Device = "auto",
    audio: options.Audio = None,
    encoder: options.Encoder = None,
    with_encoder: options.WithEncoder = None,
    encoder_window: options.EncoderWindow = None,
    seed: options.Seed = 0,
    time_budget: options.TimeBudget = None,
    plugin: Plugins = None,
    output: options.Output = None,
    resume: options.Resume = None,
    allow_mixed: options.AllowMixed = False,
    quiet: Quiet = False,
) -> None:
    """Measure latency and peak memory over the length of the audio.

    It leaves CSV, JSONL and PNG in a folder. On a GPU it measures the implementations that people run. On a CPU it
    measures plain PyTorch, at lengths that take about two minutes. It exits with code 1 if no case gave a figure.
    """
    mixers.use_files(plugin or ())
    from bench.efficiency import isolation

    isolation.start_server()  # imports PyTorch while this process does
    from bench.efficiency import selection, whole_system
    from bench.efficiency.settings import Plan
    from bench.environment import choose_device

    if resume is not None:
        _continue(context, resume, allow_mixed=allow_mixed, quiet=quiet)
        return
    if allow_mixed:
        raise UserError("--allow-mixed is for a sweep that continues", hint="Give it with --resume.")
    device_type = choose_device(device)
    widths = options.parse_widths(width)
    settings = selection.choose_settings(
        device_type=device_type,
        presets=split_names(preset),
        precisions=None if precision is None else split_names(precision),
        directions=None if direction is None else split_names(direction),
        passes=split_names(pass_),
        executions=split_names(execution),
        batches=options.parse_batches(batch),
        widths=widths,
        heads=options.parse_heads(heads),
        text_tokens=text_tokens,
        cold_cache=cold_cache,
    )
    chosen = selection.choose_seconds(options.parse_seconds(lengths), max_seconds, device_type=device_type)
    selection.check_frames(chosen, settings)
    encoders = options.parse_encoders(with_encoder)
    windows = options.parse_windows(encoder_window, encoders=encoders)
    chosen_mixers = selection.choose_contestants(names or [], settings=settings, device_type=device_type)
    plan = Plan(
        contestants=(*chosen_mixers, *whole_system.choose_parts(encoders, windows, settings=settings)),
        seconds=chosen,
        device_type=device_type,
        seed=seed,
        time_budget_s=options.check_time_budget(time_budget, device_type=device_type, processes=processes),
        audio=options.check_audio(audio, encoder, widths=widths),
        encoder=encoder,
        processes=options.check_processes(processes),
    )
    _measure(plan, output or Path("runs") / datetime.now().strftime("%Y-%m-%dT%H-%M-%S"), None, quiet=quiet)


def _continue(context: typer.Context, folder: Path, *, allow_mixed: bool, quiet: bool) -> None:
    from bench.efficiency.sweep import read_interrupted

    check_alone(context, "resume", "continues the sweep as it was", beside=["allow_mixed", "plugin"])
    with writing(folder):
        interrupted = read_interrupted(folder, allow_mixed=allow_mixed)
        if interrupted.lost and not quiet:
            found = ", ".join(f"{reason}: {count}" for reason, count in interrupted.lost.items())
            print(f"{folder} is repaired, and what it lacks is measured again: {found}", file=sys.stderr)
        _measure(interrupted.header.plan, folder, interrupted, quiet=quiet)


def _measure(plan: "Plan", folder: Path, interrupted: "Interrupted | None", *, quiet: bool) -> None:
    """Run a sweep, show what happens, then write and show its report. A signal keeps what was measured."""
    from rich.console import Console

    from bench.efficiency import sweep as sweeping
    from bench.efficiency.wall_time import WallTime, add_session

    console, stopped, done_before = Console(stderr=True), False, interrupted.done if interrupted else 0
    display = Display(plan, Console(stderr=True, quiet=quiet), done=done_before)
    try:
        with (
            signals.interruptible(),
            contextlib.closing(sweeping.run(plan, folder, interrupted=interrupted)) as events,
            display.shown(),
        ):
            for event in events:
                display.show(event)
    except KeyboardInterrupt:
        stopped = True
    measured_s = time.perf_counter() - BEGAN_S
    if display.done:
        from bench.reporting.efficiency.report import write_figures

        records = write_figures(folder)
        if new := display.done - done_before:
            total_s = time.perf_counter() - BEGAN_S
            session = WallTime(ready_s=display.ready_s, measured_s=measured_s, total_s=total_s, cases=new)
            add_session(session, folder, done_before=done_before)
        print_records(records, folder, console)
        if not stopped and not any(record.status == "ok" for record in records):
            raise typer.Exit(1)
    else:
        console.print("Nothing was measured.")
    if stopped:
        if folder.exists():
            print("To continue:", resume_command("sweep", folder), file=sys.stderr)
        raise typer.Exit(signals.exit_code())


class Display:
    """Shows the events of a sweep: a line for each setting, and a progress bar for its cases.

    Attributes:
        done: How many cases are measured.
        ready_s: For each contestant that was compiled before measuring, when it was ready.
    """

    def __init__(self, plan: "Plan", console: "Console", *, done: int) -> None:
        self.done = done
        self.ready_s: dict[str, float] = {}
        self._plan = plan
        self._console = console
        self._status = console.status("Preparing the input")
        self._progress = new_progress(console)
        total = len(plan.contestants) * len(plan.seconds) * plan.processes
        self._cases = self._progress.add_task("", total=total, completed=done)
        self._compiling: TaskID | None = None
        self._contestants: tuple[str, ...] = ()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the terminal as it was before, after the block."""
        self._status.start()
        try:
            yield
        finally:
            self._status.stop()
            if self._progress.live.is_started:
                self._progress.stop()

    def show(self, event: "Event") -> None:
        """Show one event."""
        from bench.efficiency.sweep import FolderMade, Prepared, SettingStarted

        if isinstance(event, FolderMade):
            self._status.stop()
            self._announce()
        elif isinstance(event, SettingStarted):
            self._status.stop()
            importlib.import_module("bench.reporting.efficiency.report")  # takes a second, while contestants compile
            self._console.print(self._heading(event))
            self._progress.start()
            self._contestants = event.contestants
            if self._plan.device_type == "cuda" and event.contestants:
                self._compiling = self._progress.add_task("compiling", total=len(event.contestants))
            else:
                self._show_first_contestant()
        elif isinstance(event, Prepared):
            self._show_prepared(event.contestant)
        else:
            self.done += 1
            record = event.record
            description = f"{record.name} {record.seconds:g} s: {record.status}"
            self._progress.update(self._cases, advance=1, description=description)

    def _heading(self, event: "SettingStarted") -> str:
        if event.process > 1:
            return f"single calls, process {event.process} of {self._plan.processes}: {event.setting.label}"
        return f"{self._plan.device_type}, {event.setting.label}, {event.input}"

    def _show_prepared(self, contestant: str) -> None:
        self.ready_s.setdefault(contestant, time.perf_counter() - BEGAN_S)
        if self._compiling is None:
            return
        self._progress.update(self._compiling, advance=1, description=f"ready: {contestant}")
        if all(each.finished for each in self._progress.tasks if each.id == self._compiling):
            self._progress.remove_task(self._compiling)
            self._compiling = None
            self._show_first_contestant()

    def _show_first_contestant(self) -> None:
        """Show what is being measured before the first record."""
        self._progress.update(self._cases, description=next(iter(self._contestants), ""))

    def _announce(self) -> None:
        """Say which mixers are missing, and what the figures of a CPU are not good for."""
        from bench.reporting.efficiency.overview import CPU_NOTICE

        for name, reason in mixers.unavailable().items():
            self._console.print(f"{name} is unavailable: {reason}", style="yellow", markup=False)
        if self._plan.device_type == "cpu":
            self._console.print(CPU_NOTICE, style="bold yellow")
