"""How far a run has come, on disk: its checkpoints, the one to resume from, and its metrics.

A checkpoint counts only once state.json names it, so an interrupted one is never resumed from.
"""

import dataclasses
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.accuracy.run import METRICS_FILE
from bench.files import write_atomically
from bench.validation import STRICT, first_fault, parse
from mixers.support.errors import UserError

STATE_FILE = "state.json"

_CHECKPOINT = re.compile(r"checkpoint-(\d+)-(\d+)")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A point in a run: this many steps of this epoch are done. Both count from 0."""

    __pydantic_config__ = STRICT

    epoch: int
    step: int

    def __post_init__(self) -> None:
        if self.epoch < 0 or self.step < 0:
            raise ValueError("a place in a run is negative")


BEGINNING = Place(epoch=0, step=0)


def save_place(place: Place, folder: Path) -> None:
    """Make a checkpoint the one to resume from, and remove the others.

    Raises:
        OSError: It cannot be written.
    """
    write_atomically(folder / STATE_FILE, json.dumps(dataclasses.asdict(place)).encode())
    current = checkpoint(place, folder)
    for other in folder.glob("checkpoint-*"):
        if other != current:
            shutil.rmtree(other, ignore_errors=True)


def last_place(folder: Path) -> Place:
    """Return the place to resume from: the beginning if there is no checkpoint yet.

    Raises:
        UserError: The state is damaged, or names a checkpoint that is missing.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return BEGINNING
    try:
        place = parse(Place, path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged: {first_fault(error)}", hint=_ways_on(folder)) from None
    if not checkpoint(place, folder).is_dir():
        message = f"{path} names the checkpoint {checkpoint(place, folder).name}, which is missing"
        raise UserError(message, hint=_ways_on(folder))
    return place


def _ways_on(folder: Path) -> str:
    """Return what a user can do without a state that can be used."""
    anew = f"Or remove {STATE_FILE} to train this run from its beginning."
    matches = (_CHECKPOINT.fullmatch(path.name) for path in folder.iterdir() if path.is_dir())
    places = sorted((int(match[1]), int(match[2])) for match in matches if match)
    if not places:
        return f"Restore the folder from a copy. {anew}"
    epoch, step = places[0]  # of two, the later one may be incomplete
    content = json.dumps({"epoch": epoch, "step": step})
    return f"checkpoint-{epoch}-{step} is there: to continue from it, write {content} into {STATE_FILE}. {anew}"


def checkpoint(place: Place, folder: Path) -> Path:
    """Return the folder of a checkpoint."""
    return folder / f"checkpoint-{place.epoch}-{place.step}"


def append_metrics(place: Place, values: Mapping[str, Mapping[str, float]], folder: Path) -> None:
    """Append one line to a run's metrics.

    Args:
        place: Where the run is.
        values: By metric and learner: ``{"loss": {"sa-0": 1.9}}``.
        folder: The run's.

    Raises:
        OSError: It cannot be written.
    """
    with (folder / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({**dataclasses.asdict(place), **values}) + "\n")


def remove_metrics_after(place: Place, folder: Path) -> None:
    """Remove the metrics of steps that will be taken again, and a half-written last line.

    Raises:
        OSError: The file cannot be written.
        UserError: An earlier line is damaged.
    """
    path = folder / METRICS_FILE
    if not path.exists():
        return
    kept = []
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            fields = json.loads(line)
            later = (fields["epoch"], fields["step"]) > (place.epoch, place.step)
        except (ValueError, KeyError, TypeError):
            if number == len(lines):
                break
            hint = f"Remove that line, or {METRICS_FILE}: it is only for curves."
            raise UserError(f"{path} is damaged in line {number}", hint=hint) from None
        if later:
            break
        kept.append(line)
    write_atomically(path, b"".join(kept))
