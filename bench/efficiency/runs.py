"""The folder of a sweep: begun, gone on with after an interruption, finished.

It holds `sweep.json` (the plan and the environment), `records.jsonl` and `samples.jsonl`, from which the report is
made, and `wall.json`, which says how long it took.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from bench.devices import choose_device
from bench.efficiency import isolation
from bench.efficiency.cases import Contestant, Plan
from bench.efficiency.device import environment
from bench.efficiency.records import RECORDS_FILE, SWEEP_FILE, Record, Setting, mend, read_records
from bench.folders import check_new, make
from mixers.errors import UserError

WALL_FILE = "wall.json"

# What must be the same for two halves of a sweep to be one: the machine, the libraries and this suite's code.
_BINDING = ("device", "device_type", "driver", "torch_build", "triton", "fla", "source")


def start(plan: Plan, folder: Path) -> None:
    """Make the folder of a new sweep.

    Raises:
        UserError: It exists or cannot be written.
    """
    check_new(folder)
    here = isolation.call(environment, plan.device_type)
    content = json.dumps({"plan": dataclasses.asdict(plan), "environment": here}, indent=1)
    make(folder, file=SWEEP_FILE, content=f"{content}\n")


def resume(folder: Path, *, allow_mixed: bool = False) -> tuple[Plan, list[Record]]:
    """Return the plan of a sweep that was interrupted and what it has measured, a half-written last line removed.

    Args:
        folder: The sweep's.
        allow_mixed: Whether to go on under other conditions than it began with; each record says which they were,
            but for the driver and the code.

    Raises:
        UserError: The folder is not a sweep's or cannot be written, or this is another machine, library or code than it
            began with.
    """
    try:
        content = json.loads((folder / SWEEP_FILE).read_text(encoding="utf-8"))
        plan, before = _plan(content["plan"]), content["environment"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{folder} holds no sweep to resume", hint=f"Give a folder with a {SWEEP_FILE}, which `sbench sweep` made."
        ) from None
    choose_device(plan.device_type)
    now = isolation.call(environment, plan.device_type)
    changed = [
        f"{name} {before.get(name)!r} then, {now.get(name)!r} now"
        for name in _BINDING
        if before.get(name) != now.get(name)
    ]
    if changed and not allow_mixed:
        raise UserError(
            f"{folder} was measured under other conditions: {'; '.join(changed)}",
            hint="Start a new sweep, or mix the two with --allow-mixed.",
        )
    records = folder / RECORDS_FILE
    try:
        mend(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}", hint="Make room, then try again.") from None
    return plan, read_records(folder) if records.exists() and records.stat().st_size else []


def record_wall_time(folder: Path, *, ready_s: dict[str, float], measured_s: float, total_s: float) -> None:
    """Write what an uninterrupted sweep took, each from the start of the command, in seconds.

    Args:
        folder: The sweep's.
        ready_s: For each contestant, until it was imported, built and compiled, where that was done ahead.
        measured_s: Until the last record was written.
        total_s: Until the figure was.

    Raises:
        UserError: It cannot be written.
    """
    wall = {
        "ready_s": {name: round(seconds, 2) for name, seconds in ready_s.items()},
        "measured_s": round(measured_s, 2),
        "total_s": round(total_s, 2),
    }
    try:
        (folder / WALL_FILE).write_text(json.dumps(wall) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written: {error.strerror}", hint="The records and the report are."
        ) from None


def _plan(fields: dict[str, Any]) -> Plan:
    contestants = tuple(
        Contestant(**contestant | {"setting": Setting(**contestant["setting"])})
        for contestant in fields.pop("contestants")
    )
    return Plan(contestants=contestants, seconds=tuple(fields.pop("seconds")), **fields)
