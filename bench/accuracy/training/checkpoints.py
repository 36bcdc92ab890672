"""How far a run has come, on disk: its checkpoints, the one to resume from, and its metrics.

A checkpoint counts only once state.json names it, so an interrupted one is never resumed from.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.accuracy.run import METRICS_FILE
from bench.files import write_atomically
from bench.validation import STRICT, parse
from mixers.support.errors import UserError

STATE_FILE = "state.json"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A point in a run: this many steps of this epoch are done. Both count from 0."""

    __pydantic_config__ = STRICT

    epoch: int
    step: int


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
        UserError: The state is damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return BEGINNING
    try:
        return parse(Place, path.read_bytes())
    except (OSError, ValueError):
        raise UserError(f"{path} is damaged", hint="Begin a new run.") from None


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
    """
    path = folder / METRICS_FILE
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            fields = json.loads(line)
        except ValueError:
            break
        if (fields["epoch"], fields["step"]) > (place.epoch, place.step):
            break
        kept.append(line)
    write_atomically(path, "".join(kept).encode())
