"""wall.json: how long a sweep took, over all sessions of it. Imports no torch.

ready_s        for each contestant that was compiled ahead, when it was ready, in seconds since its session began
measured_s     until the last record of each session was written, summed over the sessions
total_s        until the figure was written, summed likewise
sessions       how many are summed: more than one if the sweep was interrupted and resumed
cases          how many cases they measured, those of each process counted
untimed_cases  cases of sessions that were killed, whose time nobody knows: the sums are too small by it

Files without the last three are of one session that measured everything.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from bench.files import write_atomically
from bench.validation import parse
from mixers.support.errors import UserError

WALL_FILE = "wall.json"


@dataclass(frozen=True, kw_only=True)
class WallTime:
    """What ``wall.json`` holds."""

    ready_s: dict[str, float]
    measured_s: float
    total_s: float
    sessions: int = 1
    cases: int | None = None
    untimed_cases: int = 0

    def __str__(self) -> str:
        least = "more than " if self.untimed_cases else ""
        return f"{least}{self.total_s:.0f} s{f' in {self.sessions} sessions' if self.sessions > 1 else ''}"


def read_wall_time(folder: Path) -> WallTime | None:
    """Return how long a sweep took; None if nobody knows."""
    try:
        return parse(WallTime, (folder / WALL_FILE).read_bytes())
    except (OSError, ValueError):
        return None


def add_session(session: WallTime, folder: Path, *, done_before: int) -> None:
    """Write what a session took, added to what earlier sessions of the sweep took.

    Args:
        session: What it took.
        folder: The sweep's.
        done_before: How many cases earlier sessions had measured.

    Raises:
        UserError: It cannot be written.
    """
    earlier = read_wall_time(folder) if done_before else None
    timed = 0
    if earlier:
        timed = done_before if earlier.cases is None else min(earlier.cases, done_before)
        session = WallTime(
            ready_s=earlier.ready_s | session.ready_s,
            measured_s=earlier.measured_s + session.measured_s,
            total_s=earlier.total_s + session.total_s,
            sessions=earlier.sessions + session.sessions,
            cases=timed + (session.cases or 0),
        )
    wall = dataclasses.replace(
        session,
        ready_s={name: round(seconds, 2) for name, seconds in session.ready_s.items()},
        measured_s=round(session.measured_s, 2),
        total_s=round(session.total_s, 2),
        untimed_cases=done_before - timed,
    )
    try:
        write_atomically(folder / WALL_FILE, f"{json.dumps(dataclasses.asdict(wall))}\n".encode())
    except OSError as error:
        hint = "The records and the report were written before."
        raise UserError(f"{folder} cannot be written: {error.strerror}", hint=hint) from None
