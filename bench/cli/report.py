"""The commands that read what a sweep measured: report and compare. They need no torch."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.app import REPORT, Json, app, console_for_tables
from bench.cli.output import print_json
from bench.cli.parsing import split_names
from mixers.support.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from bench.efficiency.records import Record


@app.command(rich_help_panel=REPORT)
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Folders that `sbench sweep` made.")],
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for the report; default: that of the sweep, if there is one.", show_default=False),
    ] = None,
    mixers: Annotated[
        str | None,
        typer.Option(
            help="Only these mixers or implementations, for instance kda,sa/sdpa; needs --output. Default: all.",
            show_default=False,
        ),
    ] = None,
    accuracy: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="A folder that `sbench table` wrote, whose scores the page shows too; may be repeated.",
            show_default=False,
        ),
    ] = None,
    history: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="An older sweep of the same cases: the page shows what changed since; may be repeated.",
            show_default=False,
        ),
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Draw Figure 2 and single calls on logarithmic axes.")] = False,
) -> None:
    """Write all figures and tables of a sweep, and a page with all of it.

    The report holds costs, growth with length, crossings, floors, and the verdicts on the paper's claims. Figures are
    PNG and PDF; tables are CSV, Markdown and LaTeX. index.html opens anywhere, without a network. Several sweeps of one
    machine can share a report.
    """
    from rich.console import Console

    from bench.reporting.efficiency import history as histories
    from bench.reporting.efficiency.report import write_report
    from bench.reporting.page.accuracy import read
    from bench.reporting.page.write import write_page

    if output is None and len(folders) > 1:
        raise UserError("several folders need a folder for their report", hint="Give it as --output.")
    if output is None and mixers is not None:
        raise UserError("a report on some mixers would replace that of the whole sweep", hint="Give another --output.")
    chosen = () if mixers is None else split_names(mixers)
    scores = [read(folder) for folder in accuracy or ()]
    older = histories.read([*folders, *history]) if history else None
    records = write_report(folders, output or folders[0], mixers=chosen, log=log)
    write_page(records, output or folders[0], folders=folders, scores=scores, history=older)
    print_records(records, output or folders[0], Console())


@app.command(rich_help_panel=REPORT)
def compare(
    sides: Annotated[
        list[Path],
        typer.Argument(
            metavar="BEFORE AFTER",
            help="Folders that `sbench sweep` made. Each is compared with the first. Commas join repeats of a sweep, "
            "whose processes are pooled: A1,A2 B1,B2.",
            show_default=False,
        ),
    ],
    by: Annotated[
        str | None,
        typer.Option(
            help="gpu (the GPU's own time) or latency (single calls); default: gpu, if all sides have it.",
            show_default=False,
        ),
    ] = None,
    fail_on_slower: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT",
            help="Exit with code 1 if a case is slower by more than this, for instance 5%, or has lost its figure.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show which cases are faster or slower than in a first sweep, and what else differs."""
    from bench.reporting.efficiency import comparison, comparison_json, comparison_text, verdict

    fraction = None if fail_on_slower is None else verdict.parse_fraction(fail_on_slower)
    compared = comparison.compare_sides([_repeats(side) for side in sides], by=by)
    if json:
        values = [comparison_json.as_json(each) for each in compared]
        print_json(values if len(values) > 1 else values[0])
    else:
        console_for_tables().print(comparison_text.render(*compared))
    offending = [] if fraction is None else comparison_text.slower(compared, fraction)
    for line in offending:
        print(line, file=sys.stderr)
    if offending:
        raise typer.Exit(1)


@app.command("history", rich_help_panel=REPORT)
def history_command(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Two or more that `sbench sweep` made.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for history.csv, a row for each case and sweep.", show_default=False)
    ] = None,
    by: Annotated[str | None, typer.Option(help="gpu or latency, as in `sbench compare`.", show_default=False)] = None,
    github: Annotated[bool, typer.Option("--github", help="Print Markdown for a pull request.")] = False,
) -> None:
    """Show when the same cases became faster or slower.

    The sweeps are ordered by their dates. Each case is compared with the sweep of its last change, by the rules of
    `sbench compare`.
    """
    from bench.reporting.efficiency import history as histories
    from bench.reporting.efficiency import history_text

    found = histories.read(folders, by=by)
    if output is not None:
        _write_text(output / history_text.CSV_FILE, history_text.csv(found))
    if github:
        print(history_text.markdown(found))
    else:
        console_for_tables().print(history_text.render(found))


def _write_text(path: Path, text: str) -> None:
    """Write a file into a folder, which is made if needed.

    Raises:
        UserError: It cannot be written.
    """
    from bench.files import write_atomically

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", hint="Give another --output.") from None


def _repeats(side: Path) -> list[Path]:
    """Return the folders of one side of a comparison. A folder may have a comma in its own name."""
    return [side] if side.exists() else [Path(name) for name in split_names(str(side))]


def print_records(records: "Sequence[Record]", folder: Path, console: "Console") -> None:
    """Print a table for each setting, and why cases have no figure. Print the folder to standard output."""
    from bench.reporting.efficiency.overview import by_setting
    from bench.reporting.efficiency.summary import failures, summary

    for alike in by_setting(records).values():
        console.print(summary(alike))
        for line in failures(alike):
            console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)
    print(folder)
