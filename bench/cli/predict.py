"""The command `predict`."""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import mixers
from bench.cli.accuracy_options import DEMONSTRATION, WORKERS, Device, Run, Workers
from bench.cli.app import Plugins, app, new_progress
from bench.cli.scores import describe_models, show_done, warn, warn_if_unfinished
from bench.files import make_folder_for, write_atomically
from mixers.support.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from bench.accuracy.run import Run as TrainedRun

    Found = Mapping[str, NDArray[np.float64]]  # by learner: (recordings, classes)

_AUDIO = "Recordings, wav or flac, and folders of them. Several give CSV."
_TRANSCRIPT = "The transcript, if the run was trained with text; '' for none."
_OUTPUT = "A file for the result as CSV, or as JSON with --json; default: print it."


@app.command(rich_help_panel="Train")
def predict(
    run: Run,
    audio: Annotated[list[Path], typer.Argument(metavar="AUDIO", help=_AUDIO)],
    text: Annotated[str | None, typer.Option(help=_TRANSCRIPT, show_default=False)] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help=_OUTPUT, show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Give the result as JSON.")] = False,
    workers: Workers = WORKERS,
    device: Device = "auto",
    plugin: Plugins = None,
) -> None:
    """Print the probability of each emotion in recordings, for every mixer and seed of a run.

    A recording that cannot be used is named, and the others are predicted; the exit code is then 1.
    """
    mixers.use_files(plugin or ())
    from rich.console import Console

    from bench.accuracy import run as runs
    from bench.accuracy.trained import classify, open_run
    from bench.environment import choose_device

    trained_run = runs.read(run)
    device = choose_device(device)
    if output is not None:
        make_folder_for(output)
    recordings, faults = _find(audio)  # before anything is loaded
    _check_text(trained_run, text, count=len(recordings) + len(faults))
    trained = open_run(run, device=device)
    is_main = trained.accelerator.is_main_process
    console = Console(stderr=True, quiet=not is_main)
    for fault in faults:
        warn(str(fault), console)
    warn_if_unfinished(run, trained.run, console)
    with new_progress(console) as progress:
        task = progress.add_task("predicting", total=len(recordings), visible=len(recordings) > 1)
        workers = min(workers, len(recordings) - 1)
        found = classify(trained, recordings, text or "", workers=workers, done=partial(show_done, progress, task))
    if is_main:
        single = len(recordings) + len(faults) == 1
        _give(trained.run, recordings, found, output=output, as_json=as_json, single=single, console=console)
    trained.accelerator.end_training()
    if faults:
        raise typer.Exit(1)


def _find(given: Sequence[Path]) -> tuple[list[Path], list[UserError]]:
    """Return the recordings that can be used, each once, and what is wrong with the others.

    Raises:
        UserError: None can be used.
    """
    from bench.audio import check_recordings, find_recordings

    recordings: dict[Path, None] = {}  # os.path.isdir, unlike Path.is_dir, takes names of any length
    faults: list[UserError] = []
    for path in given:
        try:
            recordings |= dict.fromkeys(find_recordings(path) if os.path.isdir(path) else [path])
        except UserError as error:
            faults.append(error)
    sound = []
    for path in recordings:
        try:
            check_recordings([path])
            sound.append(path)
        except UserError as error:
            faults.append(error)
    if not sound and len(faults) == 1:
        raise faults[0]
    if not sound:
        raise UserError(f"none of {len(faults)} recordings can be used: {faults[0]}", hint=faults[0].hint)
    return sound, faults


def _check_text(run: "TrainedRun", text: str | None, *, count: int) -> None:
    """Check that a transcript is given exactly if the run was trained with text, and that it has one recording."""
    if run.text is not None and text is None:
        hint = "Give the transcript as --text, or --text '' to classify without one."
        raise UserError("the run was trained with text, but no --text is given", hint=hint)
    if run.text is None and text is not None:
        raise UserError("the run was trained without text, so --text would be ignored", hint="Remove --text.")
    if text and count > 1:
        hint = "Give --text '' to classify without transcripts, or put them into a manifest for `sbench evaluate`."
        raise UserError(f"--text is the transcript of one recording, but {count} are given", hint=hint)


def _give(
    run: "TrainedRun",
    recordings: Sequence[Path],
    found: "Found",
    *,
    output: Path | None,
    as_json: bool,
    single: bool,
    console: "Console",
) -> None:
    """Print or write what was predicted."""
    if single and output is None and not as_json:
        _show(run, found)
        return
    if run.demo:
        warn(DEMONSTRATION, console)
    content = _json(run, recordings, found) if as_json else _csv(run, recordings, found)
    if output is None:
        print(content, end="")
        return
    try:
        write_atomically(output, content.encode())
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}", hint="Give another --output.") from None
    print(output)


def _show(run: "TrainedRun", found: "Found") -> None:
    """Print a table for one recording: a row for each class, a column for each mixer and seed."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=DEMONSTRATION if run.demo else None, caption=describe_models(run))
    table.add_column("emotion")
    for learner in found:
        table.add_column(learner, justify="right")
    for place, label in enumerate(run.classes):
        table.add_row(label, *(f"{each[0, place]:.1%}" for each in found.values()))
    Console().print(table)


def _rows(
    run: "TrainedRun", recordings: Sequence[Path], found: "Found"
) -> Iterator[tuple[str, str, str, dict[str, float]]]:
    """Yield recording, learner, prediction and the probability of each class."""
    for place, recording in enumerate(recordings):
        for learner, table in found.items():
            probabilities = dict(zip(run.classes, table[place].tolist(), strict=True))
            yield str(recording), learner, max(probabilities, key=probabilities.__getitem__), probabilities


def _csv(run: "TrainedRun", recordings: Sequence[Path], found: "Found") -> str:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("recording", "learner", "prediction", *run.classes))
    for *names, probabilities in _rows(run, recordings, found):
        writer.writerow((*names, *probabilities.values()))
    return buffer.getvalue()


def _json(run: "TrainedRun", recordings: Sequence[Path], found: "Found") -> str:
    keys = ("recording", "learner", "prediction", "probabilities")
    predictions = [dict(zip(keys, row, strict=True)) for row in _rows(run, recordings, found)]
    facts = {"demo": run.demo, "preset": run.preset, "direction": run.direction}
    return json.dumps(facts | {"predictions": predictions}, indent=1) + "\n"
