"""The folder of a sweep: its plan and its records. Only `bench.efficiency.repair` reads or writes them too.

sweep.json     the plan and the environment, written once, before the first measurement
records.jsonl  one line for each case, appended the moment it exists
samples.jsonl  the raw samples behind the records, one line for each case that has any and each process that timed it
wall.json      how long an uninterrupted sweep took

The samples of a case are written before its record. So samples without a record are of a case that was cut off.
Imports no torch.
"""

import dataclasses
import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.efficiency.pooling import pooled
from bench.efficiency.records import READABLE_VERSIONS, Record, Samples
from bench.efficiency.settings import Case, Plan
from bench.files import check_new, make, resume_command
from bench.validation import STRICT, parse
from mixers.support.errors import UserError

SWEEP_FILE = "sweep.json"
RECORDS_FILE = "records.jsonl"
SAMPLES_FILE = "samples.jsonl"
WALL_FILE = "wall.json"

# These must be the same for two halves of a sweep to be one: the machine, the libraries and this suite's code.
_BINDING = ("device", "device_type", "driver", "torch_build", "triton", "fla", "source")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What ``sweep.json`` holds.

    Attributes:
        plan: What is to be measured.
        environment: The machine and the versions at its start, as `bench.environment.environment` returns them.
    """

    __pydantic_config__ = STRICT

    plan: Plan
    environment: dict[str, Any]

    @property
    def device(self) -> str:
        """The processor's name."""
        return str(self.environment["device"])

    @property
    def cases(self) -> list[Case]:
        """The planned cases, in the order of the plan."""
        return [
            Case(name=contestant.name, setting=contestant.setting, seconds=seconds)
            for contestant in self.plan.contestants
            for seconds in self.plan.seconds
        ]

    def changes(self, now: Mapping[str, Any]) -> list[str]:
        """Describe each fact of the environment that differs now and must not."""
        return [
            f"{name} {self.environment.get(name)!r} then, {now.get(name)!r} now"
            for name in _BINDING
            if self.environment.get(name) != now.get(name)
        ]


def start(header: Header, folder: Path) -> None:
    """Make the folder of a new sweep.

    Raises:
        UserError: It exists or cannot be written.
    """
    check_new(folder)
    make(folder, file=SWEEP_FILE, content=f"{json.dumps(dataclasses.asdict(header), indent=1)}\n")


def read_header(folder: Path) -> Header:
    """Read the plan and the environment of a sweep.

    Raises:
        UserError: The file is missing or damaged.
    """
    path = folder / SWEEP_FILE
    try:
        return parse(Header, path.read_bytes())
    except (OSError, ValueError):
        raise UserError(
            f"{path} is missing or damaged", hint="Give a whole folder, as `sbench sweep` left it."
        ) from None


def append_record(folder: Path, record: Record, samples: Samples | None = None) -> None:
    """Append the samples behind a record, then the record: whole lines or nothing.

    Raises:
        OSError: A file cannot be written, for instance because the disk is full.
        ValueError: A figure is infinite or not a number; nothing is written.
    """
    line = json.dumps(record.to_row(), allow_nan=False)
    if samples is not None:
        append_samples(folder, samples)
    _append_line(folder / RECORDS_FILE, line)


def append_samples(folder: Path, samples: Samples) -> None:
    """Append the samples that another process took of a case with a record: a whole line or nothing.

    Raises:
        OSError: The file cannot be written, for instance because the disk is full.
        ValueError: A time is infinite or not a number; nothing is written.
    """
    _append_line(folder / SAMPLES_FILE, json.dumps(dataclasses.asdict(samples), allow_nan=False))


def _append_line(path: Path, text: str) -> None:
    line = f"{text}\n".encode()
    with path.open("ab", buffering=0) as file:
        end = file.tell()
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(end)
            raise


def read_records(folder: Path) -> list[Record]:
    """Read the records of a sweep, in the order in which they were measured.

    Raises:
        UserError: The folder or its records are missing, truncated, empty or from another schema, or a case has two.
    """
    path = folder / RECORDS_FILE
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}", hint="Give the folder that `sbench sweep` printed.")
    if not path.is_file():
        raise UserError(f"{folder} holds no {RECORDS_FILE}", hint="Give a folder that `sbench sweep` made.")
    try:
        with path.open(encoding="utf-8") as file:
            lines = list(file)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", hint="Is it the file that `sbench sweep` wrote?") from None
    records = [parse_record(line, path, number=number) for number, line in enumerate(lines, start=1)]
    if not records:
        raise UserError(f"{path} holds no record", hint="The sweep ended before it had measured anything.")
    seen: set[Case] = set()
    for number, record in enumerate(records, start=1):
        if record.case in seen:
            message = (
                f"{path}, line {number}: {record.case.label}, {record.setting.label} is recorded for a second time"
            )
            raise UserError(message, hint=_repaired_by(path))
        seen.add(record.case)
    return records


def read_pooled(folder: Path) -> list[Record]:
    """Read the records of a sweep, each with the single calls of all processes that timed them.

    Raises:
        UserError: As for `read_records`, or the samples of several processes are damaged.
    """
    records = read_records(folder)
    try:
        processes = read_header(folder).plan.processes
    except UserError:  # a report needs no plan
        return records
    return pooled(records, read_samples(folder)) if processes > 1 else records


def whole_row(line: str) -> dict[str, Any] | None:
    """Return the columns that a line of JSON holds; None if it is cut or damaged."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and line.endswith("\n") else None


def _repaired_by(path: Path) -> str:
    return f"This keeps what is whole, and measures the rest again: {resume_command('sweep', path.parent)}"


_FAULTS = {"missing": "missing", "unexpected_keyword_argument": "unknown"}  # pydantic's word for each fault, and ours


def parse_record(line: str, path: Path, *, number: int) -> Record:
    """Return the record that one line of a file holds.

    Raises:
        UserError: The line is cut or damaged, or from another schema.
    """
    place = f"{path}, line {number}"
    row = whole_row(line)
    if row is None:
        raise UserError(f"{place}: not a whole record", hint=_repaired_by(path))
    version = row.get("schema_version")
    if version not in READABLE_VERSIONS:
        raise UserError(
            f"{place}: schema version {version!r}, this sbench reads {', '.join(map(str, READABLE_VERSIONS))}",
            hint="Read it with the version of sbench that wrote it.",
        )
    from pydantic import ValidationError

    try:
        return parse(Record, line)
    except ValidationError as error:
        faults: dict[str, list[str]] = {"missing": [], "unknown": [], "ill-typed": []}
        for each in error.errors():
            columns = faults[_FAULTS.get(each["type"], "ill-typed")]
            columns += [str(each["loc"][0])] if str(each["loc"][0]) not in columns else []
        found = "; ".join(f"{fault}: {', '.join(columns)}" for fault, columns in faults.items() if columns)
        raise UserError(f"{place}: {found}", hint="The file does not hold a sweep's records.") from None


def read_samples(folder: Path) -> list[Samples]:
    """Read the raw samples of a sweep, except those of a case that was cut off.

    Raises:
        UserError: The records or the samples are damaged.
    """
    recorded = {record.case for record in read_records(folder)}
    path = folder / SAMPLES_FILE
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()  # cut off while it was written, so it has no record
    every = [parse_samples(line, path, number=number) for number, line in enumerate(lines, start=1)]
    return list({(each.case, each.process): each for each in every if each.case in recorded}.values())


def parse_samples(line: bytes, path: Path, *, number: int) -> Samples:
    """Return the samples that one line of a file holds.

    Raises:
        UserError: The line is cut or damaged.
    """
    try:
        samples = parse(Samples, line)
        if all(time > 0 for time in (*samples.latency_ms, *samples.issue_ms, *samples.gpu_ms)):
            return samples
    except ValueError:
        pass
    raise UserError(f"{path}, line {number}: no samples", hint=_repaired_by(path)) from None


def record_wall_time(folder: Path, *, ready_s: Mapping[str, float], measured_s: float, total_s: float) -> None:
    """Write the wall time of an uninterrupted sweep, in seconds since the start of the command.

    Args:
        folder: The sweep's.
        ready_s: For each contestant, when it was imported, built and compiled, if that was done before measuring.
        measured_s: When the last record was written.
        total_s: When the figure was written.

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
        hint = "The records and the report were written before."
        raise UserError(f"{folder} cannot be written: {error.strerror}", hint=hint) from None
