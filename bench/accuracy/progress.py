"""How far a run has come, as its folder says: whether training ended, and of which epochs the best weights are."""

import contextlib
import json
import os
from pathlib import Path

from bench.accuracy.run import METRICS_FILE, Run

_LINE = 2**20  # bytes: longer than a line of metrics with the losses of hundreds of learners


def unfinished(folder: Path, run: Run) -> str:
    """Return why a run is not finished, in words; empty if it is, or if its folder holds no metrics."""
    done = _last_epoch(folder)
    if done is None or done >= run.epochs:
        return ""
    return f"not finished: {done} of {run.epochs} epochs are complete"


def epochs_done(folder: Path) -> int:
    """Return how many epochs of a run are complete; 0 if its folder holds no metrics."""
    return _last_epoch(folder) or 0


def _last_epoch(folder: Path) -> int | None:
    try:
        with (folder / METRICS_FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LINE))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):  # a kill cuts the last one off
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return int(json.loads(line)["epoch"])
    return None


def best_epochs(folder: Path, run: Run) -> dict[str, int | None]:
    """Return the epoch of each learner's best weights, from 0; None if it cannot be read."""
    return {name: _number(folder / name / "best.json", "epoch") for name in run.learners()}


def _number(path: Path, key: str) -> int | None:
    try:
        value = json.loads(path.read_bytes())[key]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, int) else None
