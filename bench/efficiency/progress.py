"""How far a sweep has come, as its folder says. Imports no torch."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.efficiency.records import Record
from bench.efficiency.settings import Plan
from bench.efficiency.store import RECORDS_FILE, SAMPLES_FILE, parse_records, parse_samples
from mixers.support.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Done:
    """How far a sweep has come, in cases, those of each process counted; or a training, in epochs.

    Attributes:
        done: How many are done.
        planned: How many are planned.
        left: How many are still to be done: later processes do not try what failed.
        begun: When the first case began; None if none is measured, and of a training.
    """

    done: int
    planned: int
    left: int
    begun: datetime | None = None


def cases_done(folder: Path, plan: Plan) -> Done:
    """Count the cases of a sweep, which may be running: half a line is not counted.

    Raises:
        UserError: A line is damaged or from another schema, a case has two records, or a file cannot be read.
    """
    records = parse_records(_whole_lines(folder / RECORDS_FILE), folder / RECORDS_FILE)
    samples = folder / SAMPLES_FILE
    later = enumerate(_whole_lines(samples), start=1) if plan.processes > 1 else ()
    timed = sum(parse_samples(line, samples, number=number).process > 1 for number, line in later)
    cases, good = len(plan.contestants) * len(plan.seconds), sum(record.status == "ok" for record in records)
    left = cases - len(records) + good * (plan.processes - 1) - timed
    begun = min(_moments(records), default=None)
    return Done(done=len(records) + timed, planned=cases * plan.processes, left=left, begun=begun)


def _moments(records: Iterable[Record]) -> Iterator[datetime]:
    """Yield when each case began, where its record has a valid date."""
    for record in records:
        with contextlib.suppress(ValueError):
            yield datetime.fromisoformat(record.started_at).astimezone()


def _whole_lines(path: Path) -> list[bytes]:
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    cut_off = lines and not lines[-1].endswith(b"\n")
    return lines[:-1] if cut_off else lines
