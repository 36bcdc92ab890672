"""What all commands share: the application, its exit codes and its progress bar."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import typer

from mixers.support.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

INTERRUPTED = 130  # 128 + SIGINT, as shells report it

app = typer.Typer(
    name="sbench",
    help="What sequence mixers cost and give in speech emotion recognition: latency and memory from 10 s to 400 s of "
    "audio, and the accuracy of the whole model.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def check_alone(context: typer.Context, option: str, reason: str, *, beside: Collection[str]) -> None:
    """Refuse what was given beside an option that would silently win over it.

    Args:
        context: The command's.
        option: Of the command, for instance ``resume``.
        reason: What it does instead, for the message.
        beside: Parameters that may stand beside it, as the command's function names them.
    """
    given = [
        max(parameter.opts, key=len) if parameter.param_type_name == "option" else str(parameter.metavar)
        for parameter in context.command.params
        if parameter.name not in (option, *beside) and is_given(context, str(parameter.name))
    ]
    if given:
        raise UserError(f"--{option} {reason}", hint=f"Leave away {', '.join(given)}.")


def is_given(context: typer.Context, name: str) -> bool:
    """Tell whether a parameter of a command stands on the command line, and is no default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def new_progress(console: "Console") -> "Progress":
    """Return a bar that shows what is done of how much, and the time left."""
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
    )
