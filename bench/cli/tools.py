"""The commands around a sweep: doctor, tune, list and check."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import mixers
from bench import signals
from bench.cli.app import MEASURE, Json, Plugins, Quiet, app, console_for_tables, new_progress
from bench.cli.output import print_json
from bench.cli.parsing import split_names
from bench.cli.sweep_options import PRESETS, parse_heads, parse_widths


@app.command(rich_help_panel=MEASURE)
def doctor(
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto", json: Json = False, quiet: Quiet = False
) -> None:
    """Check the instruments on this machine against known answers.

    It also finds the smallest difference that this machine resolves. It takes half a minute, changes no setting, and
    exits with code 1 if a check fails.
    """
    from bench.efficiency import isolation

    isolation.start_server()  # imports PyTorch while this process does
    from rich.console import Console

    from bench.efficiency.doctor import checks, verdicts
    from bench.environment import choose_device

    device_type = choose_device(device)
    with Console(stderr=True, quiet=quiet).status(f"Checking {device_type}") as status:
        diagnosis = checks.examine(device_type, on_step=status.update)
    if json:
        print_json(verdicts.as_json(diagnosis, device_type=device_type))
    else:
        console = Console()
        console.print(verdicts.table(diagnosis))
        difference = verdicts.smallest_difference(diagnosis.repetitions)
        console.print(f"smallest difference this machine resolves: {difference}", highlight=False, soft_wrap=True)
        for line in verdicts.advice(diagnosis, device_type=device_type):
            console.print(line, highlight=False, soft_wrap=True)
    if not diagnosis.passed:
        raise typer.Exit(1)


@app.command(rich_help_panel=MEASURE)
def tune(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="MIXER[/IMPLEMENTATION]", help="As for sweep; default: what sweep measures by default."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Only these presets, for instance released.", show_default=False)
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Only these precisions, for instance native,bfloat16.", show_default=False)
    ] = None,
    pass_: Annotated[
        str | None, typer.Option("--pass", help="Only these passes, for instance training.", show_default=False)
    ] = None,
    width: Annotated[str | None, typer.Option(help="Features per frame, as for sweep.", show_default=False)] = None,
    heads: Annotated[str | None, typer.Option(help="Heads of each mixer, as for sweep.", show_default=False)] = None,
    again: Annotated[bool, typer.Option("--again", help="Search again for known configurations too.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Parent of the new folders; default: where sweeps look for them.", show_default=False),
    ] = None,
    plugin: Plugins = None,
    quiet: Quiet = False,
) -> None:
    """Find the fastest kernel configurations on this GPU, once.

    It takes minutes. Later sweeps need not search. It exits with code 1 if a search fails.
    """
    mixers.use_files(plugin or ())
    from bench.efficiency import tune as tuning

    presets, precisions, passes = (None if text is None else split_names(text) for text in (preset, precision, pass_))
    settings = tuning.choose(
        presets=presets, precisions=precisions, passes=passes, widths=parse_widths(width), heads=parse_heads(heads)
    )

    def say(line: str, failed: bool) -> None:
        if failed or not quiet:
            print(line, file=sys.stderr, flush=True)

    try:
        with signals.interruptible():
            tuned = tuning.tune(names or [], output, settings=settings, again=again, on_search_ended=say)
    except KeyboardInterrupt:
        raise typer.Exit(signals.exit_code()) from None
    for folder in tuned.folders:
        print(folder)
    if tuned.failed:
        raise typer.Exit(1)


@app.command("list", rich_help_panel=MEASURE)
def list_mixers(
    preset: Annotated[str, typer.Option(help=PRESETS)] = "matched", plugin: Plugins = None, json: Json = False
) -> None:
    """Show the mixers: exact parameter counts, how far back each sees, and which implementations run here."""
    mixers.use_files(plugin or ())
    from bench.efficiency.listing import examine, tables

    listing = examine(preset=preset)
    if json:
        print_json(listing)
    else:
        console_for_tables().print(tables(listing))


@app.command(rich_help_panel=MEASURE)
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="MIXER[/IMPLEMENTATION]", help="As for sweep; default: all that are available."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="As for sweep; default: bfloat16 on a GPU, float32 on a CPU.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto",
    plugin: Plugins = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check that mixers keep the contract, with the figure behind each verdict.

    Checked are causality and padding in every direction, agreement with the reference in output and gradients, the
    number of parameters, and FLOPs. It exits with code 1 if a promise is broken.
    """
    mixers.use_files(plugin or ())
    from bench.efficiency import isolation

    isolation.start_server()  # imports PyTorch while this process does
    from rich.console import Console

    from bench.efficiency import examining
    from bench.efficiency.selection import default_precision
    from bench.environment import choose_device

    device_type = choose_device(device)
    chosen_precision = precision or default_precision("matched", device_type=device_type)
    chosen = examining.choose(names or [], precision=chosen_precision, device_type=device_type)
    verdicts = []
    with new_progress(Console(stderr=True, quiet=quiet)) as progress:
        task = progress.add_task("", total=len(chosen))
        for what, found in zip(chosen, examining.run(chosen, device_type=device_type), strict=True):
            progress.update(task, advance=1, description=f"{what.name} {what.precision}")
            verdicts += found
    passed = all(each.kept is not False for each in verdicts)
    examination = examining.Examination(
        device_type=device_type, precision=chosen_precision, passed=passed, verdicts=verdicts
    )
    if json:
        print_json(examination)
    else:
        console_for_tables().print(examining.table(examination))
    if not passed:
        raise typer.Exit(1)
