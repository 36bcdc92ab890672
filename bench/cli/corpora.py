"""The commands about corpora: corpus and demo-corpus."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.accuracy_options import CORPUS
from bench.cli.app import Quiet, app, new_progress


@app.command("corpus", rich_help_panel="Tools")
def check_corpus(
    specs: Annotated[list[str], typer.Argument(metavar="CORPUS...", help=CORPUS)],
    quiet: Quiet = False,
) -> None:
    """Read corpora end to end: durations, classes, missing or unreadable files; exits 1 if something is wrong."""
    from rich.console import Console

    from bench.accuracy.corpora import check, rendering

    with new_progress(Console(stderr=True, quiet=quiet)) as progress:
        task = progress.add_task("reading", total=None)
        found = check.check(specs, tell=lambda done, total: progress.update(task, completed=done, total=total))
    Console().print(rendering.render(found))
    if not found.sound:
        raise typer.Exit(1)


@app.command("demo-corpus", rich_help_panel="Tools")
def demo_corpus(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    utterances: Annotated[int, typer.Option(help="The number of utterances.", min=1, max=1_000_000)] = 480,
    speakers: Annotated[int, typer.Option(help="The number of speakers in all splits together.", min=1)] = 24,
    seed: Annotated[int, typer.Option(help="The same seed gives the same corpus.", min=0, max=2**63 - 1)] = 0,
) -> None:
    """Write a small synthetic corpus in MSP-Podcast's layout: voices whose pitch, rate, energy and words vary."""
    from bench.accuracy.corpora.demo import write_demo_corpus

    write_demo_corpus(folder, utterances=utterances, speakers=speakers, seed=seed)
    print(folder)
