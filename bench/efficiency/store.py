"""The folder of a sweep: its plan and its records. `repair` also writes them, and `progress` counts their lines.

sweep.json     the plan and the environment, written once, before the first measurement
records.jsonl  one line for each case, appended the moment it exists
samples.jsonl  the raw samples behind the records, one line for each case that has any and each process that timed it

The samples of a case are written before its record. So samples without a record are of a case that was cut off.
Imports no torch.
"""

import dataclasses
import errno
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.efficiency.pooling import pooled
from bench.efficiency.records import READABLE_VERSIONS, Record
from bench.efficiency.samples import Samples
from bench.efficiency.settings import Case, Plan
from bench.files import make, resume_command
from bench.validation import STRICT, first_fault, parse
from mixers.support.errors import UserError
from mixers.support.extras import DISTRIBUTIONS

SWEEP_FILE = "sweep.json"
RECORDS_FILE = "records.jsonl"
SAMPLES_FILE = "samples.jsonl"

HEADER_VERSION = 1  # of sweep.json; files without a version are of the first

_OTHER_VERSION = "Read it with the version of sbench that wrote it."

# These must be the same for two halves of a sweep to be one: the machine, the libraries and this suite's code.
_LIBRARIES = ("torch_build", "cudnn", "triton", "fla", *DISTRIBUTIONS.values())
BINDING = ("device", "device_type", "driver", *_LIBRARIES, "source")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What ``sweep.json`` holds.

    Attributes:
        plan: What is to be measured.
        environment: The machine and the versions at its start, as `bench.environment.environment` returns them.
        schema_version: `HEADER_VERSION`.
    """

    __pydantic_config__ = STRICT

    plan: Plan
    environment: dict[str, Any]
    schema_version: int = HEADER_VERSION

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
            for name in BINDING
            if self.environment.get(name) != now.get(name)
        ]


@dataclass(frozen=True, kw_only=True)
class _Version:
    """The part of ``sweep.json`` that every version has."""

    schema_version: int = HEADER_VERSION


def start(header: Header, folder: Path) -> None:
    """Make the folder of a new sweep.

    Raises:
        UserError: It exists or cannot be written.
    """
    make(folder, file=SWEEP_FILE, content=f"{json.dumps(dataclasses.asdict(header), indent=1)}\n")


def read_header(folder: Path) -> Header:
    """Read the plan and the environment of a sweep.

    Raises:
        UserError: The file is missing, damaged or from another schema.
    """
    path = folder / SWEEP_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing", hint="Give a folder that `sbench sweep` made.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    try:
        version = parse(_Version, text).schema_version
        if version == HEADER_VERSION:
            return parse(Header, text)
    except ValueError as error:
        hint = f"Restore it, or measure again. `sbench report {shlex.quote(str(folder))}` needs only the records."
        raise UserError(f"{path} is damaged: {first_fault(error)}", hint=hint) from None
    raise UserError(f"{path}: schema version {version}, this sbench reads {HEADER_VERSION}", hint=_OTHER_VERSION)


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
        message = f"{folder} is not a folder" if folder.exists() else f"no such folder: {folder}"
        raise UserError(message, hint="Give the folder that `sbench sweep` printed.")
    if not path.is_file():
        raise UserError(f"{folder} holds no {RECORDS_FILE}", hint="Give a folder that `sbench sweep` made.")
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}", hint="Is it the file that `sbench sweep` wrote?") from None
    records = parse_records(lines, path)
    if not records:
        raise UserError(f"{path} holds no record", hint="The sweep ended before it had measured anything.")
    return records


def parse_records(lines: Sequence[bytes], path: Path) -> list[Record]:
    """Return the records that the lines of a file hold.

    Raises:
        UserError: A line is cut or damaged, or from another schema, or a case has two.
    """
    records = [parse_record(line, path, number=number) for number, line in enumerate(lines, start=1)]
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


def whole_row(line: bytes) -> dict[str, Any] | None:
    """Return the columns that a line of JSON holds; None if it is cut or damaged, so that it is no record."""
    try:
        row = json.loads(line.decode())
    except ValueError:
        return None
    is_record = isinstance(row, dict) and isinstance(row.get("schema_version"), int)
    return row if is_record and line.endswith(b"\n") else None


def _repaired_by(path: Path) -> str:
    return f"This keeps what is whole, and measures the rest again: {resume_command('sweep', path.parent)}"


_FAULTS = {"missing": "missing", "unexpected_keyword_argument": "unknown"}  # pydantic's word for each fault, and ours


def parse_record(line: bytes, path: Path, *, number: int) -> Record:
    """Return the record that one line of a file holds.

    Raises:
        UserError: The line is cut or damaged, or from another schema.
    """
    place = f"{path}, line {number}"
    row = whole_row(line)
    if row is None:
        raise UserError(f"{place}: not a whole record", hint=_repaired_by(path))
    version = row["schema_version"]
    if version not in READABLE_VERSIONS:
        raise UserError(
            f"{place}: schema version {version!r}, this sbench reads {', '.join(map(str, READABLE_VERSIONS))}",
            hint=_OTHER_VERSION,
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
