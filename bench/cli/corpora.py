"""The commands about corpora: corpus, compose and demo-corpus."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.accuracy_options import CORPUS
from bench.cli.app import Quiet, app, new_progress
from bench.cli.folds import load_folds
from bench.cli.parsing import parse_number, split_names
from bench.cli.scores import warn
from mixers.support.errors import UserError, choose

_KIND = (
    "sustained: one speaker, one label throughout; salient: one emotional recording among neutral ones of its speaker; "
    "change: two emotions of a speaker, one after the other."
)
_FOLD = "A fold of the corpus, from 1; several, such as 1,2, or all. Default: its own splits."
_HOURS = "Hours of speech in train, of each length, at most; default: a recording for each that carries a label."
_TEST_HOURS = "The same of development and of each test."
_REPEATS = "Use a recording once in a composed one at most; what cannot be filled so is left out."


@app.command("corpus", rich_help_panel="Tools")
def check_corpus(
    specs: Annotated[list[str], typer.Argument(metavar="CORPUS", help=CORPUS)],
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


@app.command(rich_help_panel="Tools")
def compose(
    corpus: Annotated[str, typer.Argument(metavar="CORPUS", help=CORPUS)],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder; it gets a folder for each length.")],
    kind: Annotated[str, typer.Option(help=_KIND)] = "sustained",
    seconds: Annotated[str, typer.Option(help="Lengths to learn from, each a corpus of its own.")] = "30,120",
    test_seconds: Annotated[str, typer.Option(help="Lengths of the tests in each corpus.")] = "10,30,60,120,240",
    fold: Annotated[str | None, typer.Option(help=_FOLD, show_default=False)] = None,
    hours: Annotated[float | None, typer.Option(help=_HOURS, show_default=False)] = None,
    test_hours: Annotated[float | None, typer.Option(help=_TEST_HOURS, show_default=False)] = None,
    label: Annotated[str, typer.Option(help="In change, which emotion is the label: later or earlier.")] = "later",
    neutral: Annotated[str, typer.Option(help="In salient, the neutral classes, comma-separated.")] = "neutral",
    silence: Annotated[float, typer.Option(help="Seconds of silence between recordings.", min=0, max=60)] = 0.25,
    keep_levels: Annotated[bool, typer.Option("--keep-levels", help="Do not bring recordings to one level.")] = False,
    without_repeats: Annotated[bool, typer.Option("--without-repeats", help=_REPEATS)] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same corpus.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Write corpora of long recordings, each composed of short ones of one speaker and one split of a corpus.

    Each length to learn from is a corpus with tests of every length: train on manifest:FOLDER/30s/manifest.jsonl, or
    with folds on manifest:FOLDER/30s --fold 1, and --evaluate test-10s,test-240s. A short recording carries the label
    of one composed recording. A probe shows whether mixing is needed at all: what it solves is no test of mixing.
    """
    from rich.console import Console

    from bench.accuracy.composing import plans, writing

    chosen_kind = choose("kind", kind, plans.KINDS)
    earlier = choose("label", label, ("later", "earlier")) == "earlier"
    for option, amount in (("--hours", hours), ("--test-hours", test_hours)):
        if amount is not None and not amount > 0:
            raise UserError(f"{option} {amount:g} is no amount of speech", hint="Give more than 0 hours.")
    learned, tested = _parse_seconds(seconds, "--seconds"), _parse_seconds(test_seconds, "--test-seconds")
    requests = [
        plans.Request(
            kind=chosen_kind,
            seconds=each,
            earlier=earlier,
            neutral=split_names(neutral),
            silence_s=silence,
            repeats=not without_repeats,
            match_levels=not keep_levels,
            hours=hours,
            test_hours=test_hours,
            learned=each in learned,
            tested=each in tested,
            seed=seed,
        )
        for each in sorted({*learned, *tested})
    ]
    divisions = load_folds(corpus, fold)
    console = Console(stderr=True, quiet=quiet)
    for line in writing.limits(divisions):
        warn(line, console)
    with new_progress(console) as progress:
        task = progress.add_task("reading", total=None)
        for event in writing.compose(divisions, folder, requests):
            match event:
                case writing.Written():
                    description = f"{event.seconds:g} s"
                    progress.update(task, completed=event.done, total=event.total, description=description)
                case writing.Finished():
                    for length, reasons in event.left_out.items():
                        for reason, count in reasons.items():
                            warn(f"{length:g} s: {count} short recordings carry no label: {reason}", console)
                    print("\n".join(map(str, event.manifests)))


def _parse_seconds(text: str, option: str) -> list[float]:
    lengths = [parse_number(each, option, or_else="several, such as 10,30") for each in split_names(text)]
    for each in lengths:
        if not 1 <= each <= 3600:
            raise UserError(f"{option} {text}: {each:g} s cannot be composed", hint="Give 1 to 3600 s.")
    if len(set(lengths)) < len(lengths):
        raise UserError(f"{option} {text} names a length twice", hint="Give each length once.")
    return lengths


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
