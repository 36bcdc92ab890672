"""Records: one flat row for each case measured, written to JSONL the moment it exists. Imports nothing heavy."""

import dataclasses
import json
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mixers.errors import UserError

SCHEMA_VERSION = 1

RECORDS_FILE = "records.jsonl"

Status = Literal["ok", "oom", "skipped", "unavailable", "failed"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What measuring one case gave, failures included. Units stand in the names.

    Attributes:
        mixer: The mechanism, for instance ``kda``.
        implementation: How it was computed, for instance ``fla``.
        preset: ``matched`` (a stack of about 20 M parameters) or ``released`` (the paper's bare layers).
        precision: ``bfloat16``, ``float32`` or ``native``.
        execution: ``eager``.
        pass_: ``inference``; the column is named ``pass``.
        seconds: Length of the audio.
        frames: Length of the sequence, L.
        batch: Sequences in one call, B.
        parameters: Exact count of trainable parameters; None where the model could not be built.
        status: ``ok``, ``oom`` (out of memory), ``skipped`` (would not fit, see ``error``), ``unavailable`` or
            ``failed``.
        latency_ms: Median time of one call; the next three are its mean, 5th and 95th percentile.
        samples: Number of timed calls.
        peak_memory_gib: The allocator's peak above what was allocated at entry (weights and input excluded), GiB.
        error: Why there is no figure; empty where there is one.
        causal: Whether a frame sees only the frames before it.
        flops: Arithmetic of one call as the mechanism's equations state it.
        minimum_bytes: The fewest bytes that one call must move: input and weights read once, output written once.
        input: Where the sequence came from.
        seed: Seed of weights and input.
        device: The processor's name.
        device_type: ``cuda`` or ``cpu``.
        memory_source: Which allocator's books ``peak_memory_gib`` was read from.
        sbench, torch, triton, fla: Versions of the libraries; empty where one is not installed.
        started_at: UTC, ISO 8601.
        wall_s: Wall time spent on the case, warm-up and compilation included.
        schema_version: Version of this list of fields.
    """

    mixer: str
    implementation: str
    preset: str
    precision: str
    execution: str
    pass_: str
    seconds: float
    frames: int
    batch: int
    parameters: int | None
    status: Status
    latency_ms: float | None
    latency_ms_mean: float | None
    latency_ms_p05: float | None
    latency_ms_p95: float | None
    samples: int
    peak_memory_gib: float | None
    error: str
    causal: bool
    flops: int | None
    minimum_bytes: int | None
    input: str
    seed: int
    device: str
    device_type: str
    memory_source: str
    sbench: str
    torch: str
    triton: str
    fla: str
    started_at: str
    wall_s: float
    schema_version: int = SCHEMA_VERSION

    @property
    def name(self) -> str:
        """The mixer and its implementation as the command line writes them: ``sa/sdpa``."""
        return f"{self.mixer}/{self.implementation}"

    def to_row(self) -> dict[str, Any]:
        """Return the fields under the names of the columns, in their order."""
        return {column: getattr(self, field) for column, field in _FIELD_OF_COLUMN.items()}


_FIELD_OF_COLUMN = {field.name.rstrip("_"): field.name for field in dataclasses.fields(Record)}

COLUMNS = tuple(_FIELD_OF_COLUMN)


def append_record(path: Path, record: Record) -> None:
    """Append one record to a JSONL file and flush it.

    Raises:
        OSError: The file cannot be written, for instance because the disk is full.
    """
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record.to_row(), allow_nan=False) + "\n")


def read_records(folder: Path) -> list[Record]:
    """Read the records of a sweep's folder, in the order in which they were measured.

    Raises:
        UserError: The folder or its records are missing, truncated, empty or from another schema.
    """
    path = folder / RECORDS_FILE
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}", hint="Give the folder that `sbench sweep` printed.")
    if not path.is_file():
        raise UserError(f"{folder} holds no {RECORDS_FILE}", hint="Give a folder that `sbench sweep` made.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", hint="Is it the file that `sbench sweep` wrote?") from None
    records = [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]
    if not records:
        raise UserError(f"{path} holds no record", hint="Its sweep ended before it had measured anything.")
    return records


def _parse(line: str, place: str) -> Record:
    """Return the record that one line of JSON holds."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        row = None
    if not isinstance(row, dict) or not line.endswith("\n"):
        raise UserError(f"{place}: not a whole record", hint="The file is truncated or damaged; remove that line.")
    version = row.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{place}: schema version {version!r}, this sbench reads {SCHEMA_VERSION}",
            hint="Read it with the version of sbench that wrote it.",
        )
    odd = _names(set(row) ^ set(COLUMNS)) or _names(c for c in COLUMNS if not _fits(row[c], _FIELD_OF_COLUMN[c]))
    if odd:
        raise UserError(f"{place}: missing, unknown or ill-typed: {odd}", hint="The file is not a sweep's records.")
    return Record(**{field: row[column] for column, field in _FIELD_OF_COLUMN.items()})


def _names(columns: Iterable[str]) -> str:
    return ", ".join(sorted(columns))


_TYPES = typing.get_type_hints(Record)


def _fits(value: object, field: str) -> bool:
    """Tell whether a value read from JSON has the type that the record declares for it."""
    declared = _TYPES[field]
    if typing.get_origin(declared) is Literal:
        return value in typing.get_args(declared)
    allowed = typing.get_args(declared) if isinstance(declared, types.UnionType) else (declared,)
    if float in allowed and type(value) is int:
        return True
    return type(value) in allowed
