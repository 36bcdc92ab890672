"""Sweeps, trainings and probes below a folder, and how far each has come. Imports no torch."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from bench.accuracy import run as runs
from bench.accuracy.probe.record import PROBE_FILE
from bench.accuracy.progress import epochs_done
from bench.efficiency.progress import Done, cases_done
from bench.efficiency.store import SWEEP_FILE, read_header
from bench.files import resume_command
from bench.locking import holder
from mixers.support.errors import UserError

Kind = Literal["sweep", "training", "probe"]
State = Literal["running", "interrupted", "finished", "scored", "damaged"]

_KINDS: dict[str, Kind] = {SWEEP_FILE: "sweep", runs.RUN_FILE: "training", PROBE_FILE: "probe"}

_STYLES: dict[State, str] = {"running": "cyan", "interrupted": "yellow", "damaged": "bold red"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """A folder that a command made.

    Attributes:
        folder: Where it is.
        kind: What made it.
        begun: When the first case of a sweep began, otherwise the date of the first file: local time, ISO 8601.
        state: ``running``: a process writes it. ``scored``: finished, and `evaluate` has scored it.
        done, total: How many cases or epochs are done, and of how many; None where nothing is counted.
        scored: The splits that are scored.
        holder: The process that writes it; empty if none does.
        resume: The command that continues it; empty if nothing is to be continued.
        problem: Why it cannot be read; otherwise empty.
    """

    folder: str
    kind: Kind
    begun: str
    state: State
    done: int | None = None
    total: int | None = None
    scored: tuple[str, ...] = ()
    holder: str = ""
    resume: str = ""
    problem: str = ""


def find(folder: Path) -> list[Found]:
    """Return what is in a folder and below it, the oldest first.

    Raises:
        UserError: There is no such folder, or it is none.
    """
    if not folder.is_dir():
        message = f"{folder} is not a folder" if folder.exists() else f"no such folder: {folder}"
        raise UserError(message, hint="Give the folder that holds sweeps or trainings.")
    return sorted(_walk(folder), key=lambda found: (found.begun, found.folder))


def _walk(folder: Path) -> Iterator[Found]:
    for place, below, files in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        for file, kind in _KINDS.items():
            if file in files:
                below.clear()
                yield _examine(Path(place), kind, file)


def _examine(folder: Path, kind: Kind, file: str) -> Found:
    begun = _local(datetime.fromtimestamp((folder / file).stat().st_mtime))
    who = holder(folder)
    scored = tuple(sorted(path.parent.name for path in folder.glob("evaluation/*/utterances.json")))
    try:
        progress = _progress(folder, kind)
    except UserError as error:
        return Found(folder=str(folder), kind=kind, begun=begun, state="damaged", problem=str(error))
    left = progress is not None and progress.left > 0
    state: State = "running" if who else "interrupted" if left else "scored" if scored else "finished"
    command = resume_command("sweep" if kind == "sweep" else "train", folder) if state == "interrupted" else ""
    return Found(
        folder=str(folder),
        kind=kind,
        begun=_local(progress.begun) if progress and progress.begun else begun,
        state=state,
        done=progress.done if progress else None,
        total=progress.planned if progress else None,
        scored=scored,
        holder=who,
        resume=command,
    )


def _local(time: datetime) -> str:
    return time.astimezone().replace(tzinfo=None).isoformat(timespec="seconds")


def _progress(folder: Path, kind: Kind) -> Done | None:
    """Return how many cases or epochs are done; None of a probe, which has neither."""
    if kind == "sweep":
        return cases_done(folder, read_header(folder).plan)
    if kind == "training":
        epochs, trained = runs.read(folder).epochs, epochs_done(folder)
        return Done(done=trained, planned=epochs, left=epochs - trained)
    return None


def table(found: list[Found]) -> Table:
    """Return a row for each folder. Its name is whole at any width."""
    listing = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    listing.add_column("folder", overflow="fold")
    for column in ("kind", "begun", "state"):
        listing.add_column(column, overflow="fold")
    for each in found:
        begun = each.begun.replace("T", " ").rpartition(":")[0]
        listing.add_row(Text(each.folder), each.kind, begun, Text(_state(each), style=_STYLES.get(each.state, "")))
    return listing


def _state(found: Found) -> str:
    unit = "cases" if found.kind == "sweep" else "epochs"
    match found.state:
        case "running":
            return f"running, {found.done} of {found.total} {unit}: {found.holder}"
        case "interrupted":
            return f"interrupted at {found.done} of {found.total} {unit}"
        case "scored":
            return f"scored: {', '.join(found.scored)}"
        case "damaged":
            return f"damaged: {found.problem}"
    return "finished"
