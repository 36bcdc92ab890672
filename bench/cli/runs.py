"""The command runs."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.app import REPORT, Json, app
from bench.cli.output import print_json


@app.command(rich_help_panel=REPORT)
def runs(
    folder: Annotated[
        Path, typer.Argument(help="Where to look, subfolders included; default: where sweeps and trainings go.")
    ] = Path("runs"),
    json: Json = False,
) -> None:
    """List sweeps, trainings and probes with their state, and how to continue those that were interrupted."""
    from rich.console import Console

    from bench.reporting.runs import find, table

    found = find(folder)
    if json:
        print_json(found)
        return
    console = Console()
    console.print(table(found) if found else f"{folder} holds no sweep, training or probe", highlight=False)
    if commands := [each.resume for each in found if each.resume]:
        console.print("To continue:")
    for command in commands:
        console.print(f"  {command}", highlight=False, markup=False, soft_wrap=True)
