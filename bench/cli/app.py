"""What all commands share: the application, its help, its exit codes and its progress bar."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mixers.support.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables, with unrounded numbers.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show only the result and errors, no progress and no notes.")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="A mixer of your own: a Python file. Can be given several times."),
]
_TABLE_WIDTH = 72

PANELS = MEASURE, REPORT, TRAIN, TOOLS = ("Measure", "Report", "Train", "Tools")


class CommandsInGroups(TyperGroup):
    """Lists the commands in the help under the headings of `PANELS`, by default under the last one.

    typer itself prints headings only with rich, which doubles the time of ``--help``.
    """

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(len(name) for name in self.commands)
        rows: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
        for name in self.list_commands(ctx):
            command = self.commands[name]
            panel = getattr(command, "rich_help_panel", None)
            row = f"{name:{width}}", command.get_short_help_str(limit=200)
            rows[panel if isinstance(panel, str) else TOOLS].append(row)
        for panel in PANELS:
            if rows[panel]:
                with formatter.section(panel):
                    formatter.write_dl(rows[panel])


app = typer.Typer(
    name="sbench",
    cls=CommandsInGroups,
    help="Compare sequence mixers for speech emotion recognition: latency and memory from 10 s to 400 s of audio, and "
    "accuracy in the whole model.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"sbench {version('sbench')}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def check_alone(context: typer.Context, option: str, reason: str, *, beside: Collection[str]) -> None:
    """Refuse parameters that an option would silently override.

    Args:
        context: The command's.
        option: The option, for instance ``resume``.
        reason: What the option does instead, for the message.
        beside: Parameters that it can be combined with, as the command's function names them.

    Raises:
        UserError: Another parameter was given.
    """
    given = [
        max(parameter.opts, key=len) if parameter.param_type_name == "option" else str(parameter.metavar)
        for parameter in context.command.params
        if parameter.name not in (option, "quiet", *beside) and is_given(context, str(parameter.name))
    ]
    if given:
        raise UserError(f"--{option} {reason}", hint=f"Remove {', '.join(given)}.")


def is_given(context: typer.Context, name: str) -> bool:
    """Tell whether a parameter of a command was given on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def console_for_tables() -> "Console":
    """Return a console that is wide enough for the tables. A narrower terminal breaks their lines."""
    from rich.console import Console

    console = Console()
    console.width = max(console.width, _TABLE_WIDTH)
    return console


def new_progress(console: "Console") -> "Progress":
    """Return a bar that shows how many steps are done, out of how many, and the time left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=console.quiet,
    )
