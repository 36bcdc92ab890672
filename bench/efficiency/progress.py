"""How far a sweep has come, as its folder says. Imports no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.efficiency.settings import Plan
from bench.efficiency.store import RECORDS_FILE, SAMPLES_FILE
from bench.validation import first_fault, parse
from mixers.support.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Done:
    """How far a sweep has come, in cases, those of each process counted.

    Attributes:
        done: How many are measured.
        planned: How many are planned.
        left: How many are still to be measured: later processes do not try what failed.
    """

    done: int
    planned: int
    left: int


def cases_done(folder: Path, plan: Plan) -> Done:
    """Count the cases of a sweep, which may be running: half a line is not counted.

    Raises:
        UserError: A line is damaged, or a file cannot be read.
    """
    records = list(_whole_lines(folder / RECORDS_FILE))
    later = _whole_lines(folder / SAMPLES_FILE) if plan.processes > 1 else ()
    timed = sum(line.get("process", 1) > 1 for line in later)
    cases, good = len(plan.contestants) * len(plan.seconds), sum(line.get("status") == "ok" for line in records)
    left = cases - len(records) + good * (plan.processes - 1) - timed
    return Done(done=len(records) + timed, planned=cases * plan.processes, left=left)


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield parse(dict[str, Any], line)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged: {first_fault(error) if isinstance(error, ValueError) else error}"
        ) from None
