"""What all commands share: the application, its exit codes and its progress bar."""

from typing import TYPE_CHECKING

import typer

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
