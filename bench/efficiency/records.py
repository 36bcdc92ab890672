"""Records: one flat row for each case measured, written to JSONL the moment it exists. Imports nothing heavy.

Beside the records lie the raw samples behind their figures, a line for each case that has any, written before its
record: a record always has its samples, while samples without a record are of a case that was cut off.
"""

import dataclasses
import errno
import json
import math
import os
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.reporting.atomic import write_atomically
from mixers.errors import UserError

SCHEMA_VERSION = 3

RECORDS_FILE = "records.jsonl"
SAMPLES_FILE = "samples.jsonl"
SWEEP_FILE = "sweep.json"  # the plan and the environment

RANDOM_INPUT = "random features"

# The same short call behind a full queue takes up to so much longer in one process than in another, always in the same
# one; most likely in the gaps between its launches. Two sweeps of an H200 have differed by up to 0.019 ms where a call
# takes less than 0.5 ms (kda at 10 s), two of an H100 as graphs, which need no launches, by up to 0.007 ms (sa/sdpa at
# 25 s).
LAUNCH_GAPS_MS = {"eager": 0.02, "compile": 0.02, "graph": 0.007}

# And by this share any call may, in a CUDA graph too, for nothing that can be read off the card: two sweeps of the same
# code on an H200 have differed by a little more than 1 %.
PROCESSES_DIFFER = 0.015

Status = Literal["ok", "oom", "skipped", "unavailable", "failed"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The axes of a sweep: all that makes a case but the mixer, its implementation and the length.

    Attributes:
        preset: ``matched`` (a stack of about 20 M parameters), ``layer`` (one of its mixers alone) or ``released`` (the
            paper's bare layers).
        precision: ``bfloat16``, ``tf32``, ``float32`` (all bits of it) or ``native`` (float32 tensors, every library's
            default).
        execution: ``eager``, ``graph`` (a CUDA graph replayed) or ``compile`` (through torch.compile).
        pass_: ``inference`` or ``training`` (forward and backward); the column is named ``pass``.
        batch: Sequences in one call, B.
        text_tokens: Frames of text that are appended to each sequence within the call.
        cache: The state of the GPU's L2 cache before each call: ``warm``, or ``cold`` (overwritten).
    """

    preset: str
    precision: str
    execution: str = "eager"
    pass_: str = "inference"
    batch: int = 1
    text_tokens: int = 0
    cache: str = "warm"

    @property
    def label(self) -> str:
        """In words; an axis is named only where it is not at its default, but for preset, precision and pass."""
        parts = [self.precision, f"{self.preset} preset", self.pass_]
        parts += [] if self.execution == "eager" else [f"{self.execution} execution"]
        parts += [] if self.batch == 1 else [f"batch {self.batch}"]
        parts += [f"{self.text_tokens} text tokens"] if self.text_tokens else []
        parts += [] if self.cache == "warm" else [f"{self.cache} cache"]
        return ", ".join(parts)


# Of text of one utterance, beside speech of any length: the paper's memory at 400 s is that of about 100 frames beyond
# 19,999.
RELEASED_TEXT_TOKENS = 100

OF_THE_PAPER = Setting(preset="released", precision="native", text_tokens=RELEASED_TEXT_TOKENS)

Case = tuple[str, Setting, float]  # mixer and implementation, setting, seconds


@dataclass(frozen=True, kw_only=True)
class Record:
    """What measuring one case gave, failures included. Units stand in the names.

    Attributes:
        mixer: The mechanism, for instance ``kda``.
        implementation: How it was computed, for instance ``fla``.
        preset, precision, execution, pass_, batch, text_tokens, cache: See `Setting`.
        seconds: Length of the audio.
        frames: Its length in frames; the sequence is longer by the frames of text.
        parameters: Exact count of trainable parameters; None where the model could not be built.
        status: ``ok``, ``oom`` (out of memory), ``skipped`` (would not fit, see ``error``), ``unavailable`` or
            ``failed``.
        latency_ms: Median time of one call that begins on an idle device, as a user's single call sees it; the next
            three are its mean, 5th and 95th percentile.
        samples: Number of timed calls.
        peak_memory_gib: The allocator's peak above what was allocated at entry (weights and input excluded), GiB.
        error: Why there is no figure; empty where there is one.
        gpu_ms: Median time of one call on the device alone, with the launch queue kept full; the next two are its 5th
            and 95th percentile. Where issuing a call takes next to nothing of it, single calls tell it too. None on a
            CPU, and where no call could be issued ahead.
        gpu_samples: Number of calls timed so.
        host_ms: Median time that the host takes to issue one call; None on a CPU.
        launch_bound: Whether ``host_ms`` exceeds ``gpu_ms``.
        latency_error: Standard error of ``latency_ms``, as a fraction of it; ``gpu_error`` likewise.
        latency_stop: Why there are no more samples: ``converged``, ``cap`` (of time) or ``contaminated`` (too few
            windows of samples were clean); ``gpu_stop`` likewise.
        converged: Whether each series that was taken is known to the criterion's precision.
        paper_ms: The mean over utterances of one call each, after one call to warm up, as the paper timed it; for the
            preset ``released``.
        void_samples: Samples thrown away, since something happened in their window that does not belong there; the
            next seven count what. A queue gap is a call that the device reached before it was issued, a device
            allocation one of the allocator with the driver.
        sm_clock_mhz: Median clock of the multiprocessors while the case was timed; the next is the lowest.
        temperature_c: Highest temperature of the chip.
        throttle_reasons: What held the clocks down, as NVML says it.
        energy_j: Energy of one call, taken while single calls were timed; that of the whole card.
        power_w: Mean power over that time; ``energy_s`` says how long that was.
        other_processes: Processes of others on the GPU; None where NVML hides them.
        weights_gib: Parameters and buffers; ``input_gib`` the features.
        reserved_gib: Peak of what the caching allocator held; None on a CPU.
        process_gib: What NVML says that the process holds, its context included; None where it hides the processes.
        device_gib: What NVML says that all processes hold on the device.
        oom_requested_gib: The allocation that did not fit, where the memory ran out.
        longest_fitting_seconds: Found by bisection where the memory ran out: the longest audio that fits.
        configurations: How many of the kernels that were used ran with a configuration of which origin: shipped with
            this package, for this GPU or for another one of its architecture, saved on this machine, or tuned in this
            process; empty where no kernel has a choice.
        peak_tflops: Rate of a large matrix product in this precision, measured in the same process, in float32 by
            whichever products are the faster, IEEE's or six of bfloat16; ``copy_tb_s`` that of a large copy, bytes read
            and written.
        floor_ms: The least that any implementation needs by these rates: for ``flops``, or for ``minimum_bytes``.
        causal: Whether a frame sees only the frames before it.
        flops: Arithmetic of one call as the mechanism's equations state it.
        minimum_bytes: The fewest bytes that one call must move: input and weights read once, output written once, and
            in training their gradients too.
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
    parameters: int | None = None
    status: Status
    latency_ms: float | None = None
    latency_ms_mean: float | None = None
    latency_ms_p05: float | None = None
    latency_ms_p95: float | None = None
    samples: int = 0
    peak_memory_gib: float | None = None
    error: str = ""
    gpu_ms: float | None = None
    gpu_ms_p05: float | None = None
    gpu_ms_p95: float | None = None
    gpu_samples: int = 0
    host_ms: float | None = None
    launch_bound: bool | None = None
    latency_error: float | None = None
    gpu_error: float | None = None
    latency_stop: str = ""
    gpu_stop: str = ""
    converged: bool | None = None
    cache: str = "warm"
    text_tokens: int = 0
    paper_ms: float | None = None
    void_samples: int = 0
    compilations: int = 0
    autotunings: int = 0
    algorithm_searches: int = 0
    garbage_collections: int = 0
    device_allocations: int = 0
    clock_drops: int = 0
    queue_gaps: int = 0
    sm_clock_mhz: float | None = None
    sm_clock_mhz_min: float | None = None
    temperature_c: float | None = None
    throttle_reasons: str = ""
    energy_j: float | None = None
    power_w: float | None = None
    energy_s: float | None = None
    other_processes: int | None = None
    weights_gib: float | None = None
    input_gib: float | None = None
    reserved_gib: float | None = None
    process_gib: float | None = None
    device_gib: float | None = None
    oom_requested_gib: float | None = None
    longest_fitting_seconds: float | None = None
    configurations: str = ""
    causal: bool
    flops: int | None = None
    minimum_bytes: int | None = None
    peak_tflops: float | None = None
    copy_tb_s: float | None = None
    floor_ms: float | None = None
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
    wall_s: float = 0.0
    schema_version: int = SCHEMA_VERSION

    @property
    def name(self) -> str:
        """The mixer and its implementation as the command line writes them: ``sa/sdpa``."""
        return f"{self.mixer}/{self.implementation}"

    @property
    def setting(self) -> Setting:
        """Where it stands on each axis."""
        return Setting(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Setting)})

    @property
    def case(self) -> Case:
        """What no two records of a sweep share."""
        return self.name, self.setting, self.seconds

    def to_row(self) -> dict[str, Any]:
        """Return the fields under the names of the columns, in their order."""
        return {column: getattr(self, field) for column, field in _FIELD_OF_COLUMN.items()}


_FIELD_OF_COLUMN = {field.name.rstrip("_"): field.name for field in dataclasses.fields(Record)}

COLUMNS = tuple(_FIELD_OF_COLUMN)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The raw samples of one case, each series in the order in which it was taken.

    Attributes:
        name: Mixer and implementation: ``sa/sdpa``.
        setting: Where the case stands on each axis.
        seconds: Length of the audio.
        latency_ms: Times of single calls.
        issue_ms: For each the time that the host took to issue it; empty on a CPU.
        gpu_ms: Times of calls behind a full launch queue; empty on a CPU.
    """

    name: str
    setting: Setting
    seconds: float
    latency_ms: list[float]
    issue_ms: list[float] = dataclasses.field(default_factory=list)
    gpu_ms: list[float] = dataclasses.field(default_factory=list)

    @property
    def case(self) -> Case:
        """What it shares with its record alone."""
        return self.name, self.setting, self.seconds


def planned_cases(plan: Mapping[str, Any]) -> list[Case]:
    """Return the cases of a plan in its order.

    Args:
        plan: As ``sweep.json`` holds it.

    Raises:
        KeyError, TypeError: It is no plan.
    """
    return [
        (f"{each['mixer']}/{each['implementation']}", Setting(**each["setting"]), seconds)
        for each in plan["contestants"]
        for seconds in plan["seconds"]
    ]


def append_record(folder: Path, record: Record, samples: Samples | None = None) -> None:
    """Append one record, and before it the samples behind it, to a sweep's folder: whole lines or nothing.

    Raises:
        OSError: A file cannot be written, for instance because the disk is full.
        ValueError: A figure is infinite or not a number; nothing is written.
    """
    line = json.dumps(record.to_row(), allow_nan=False)
    if samples is not None:
        _append_line(folder / SAMPLES_FILE, json.dumps(dataclasses.asdict(samples), allow_nan=False))
    _append_line(folder / RECORDS_FILE, line)


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


def read_samples(folder: Path) -> list[Samples]:
    """Read the raw samples of a sweep's folder; those of a case that was cut off are left out.

    Raises:
        UserError: The records or the samples are damaged.
    """
    recorded = {record.case for record in read_records(folder)}
    path = folder / SAMPLES_FILE
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()  # cut off while it was written, so without a record
    every = [_parse_samples(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]
    return list({each.case: each for each in every if each.case in recorded}.values())


def _parse_samples(line: bytes, place: str) -> Samples:
    """Return the samples that one line of JSON holds."""
    try:
        fields = json.loads(line)
        samples = Samples(**fields | {"setting": Setting(**fields["setting"])})
        times = (*samples.latency_ms, *samples.issue_ms, *samples.gpu_ms)
        sound = isinstance(samples.seconds, float) and all(0 < time < math.inf for time in times)
        hash(samples.case)
    except (ValueError, TypeError, KeyError):
        sound = False
    if not sound:
        raise UserError(f"{place}: no samples", hint="The file is damaged; compare without it, or measure again.")
    return samples


def mend(folder: Path) -> None:
    """Remove what a process that was killed while it wrote left behind: half a line, samples without their record.

    Raises:
        OSError: A file cannot be written.
        UserError: A record is damaged.
    """
    for path in (folder / RECORDS_FILE, folder / SAMPLES_FILE):
        if path.exists():
            with path.open("r+b") as file:
                file.truncate(file.read().rfind(b"\n") + 1)
    path, records = folder / SAMPLES_FILE, folder / RECORDS_FILE
    if path.exists():
        kept = read_samples(folder) if records.exists() and records.stat().st_size else []
        content = "".join(json.dumps(dataclasses.asdict(each)) + "\n" for each in kept).encode()
        if content != path.read_bytes():
            write_atomically(path, content)


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
        with path.open(encoding="utf-8") as file:
            lines = list(file)
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
    except ValueError:
        row = None
    if not isinstance(row, dict) or not line.endswith("\n"):
        raise UserError(f"{place}: not a whole record", hint="The file is truncated or damaged; remove that line.")
    version = row.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{place}: schema version {version!r}, this sbench reads {SCHEMA_VERSION}",
            hint="Read it with the version of sbench that wrote it.",
        )
    faults = {
        "missing": [column for column in COLUMNS if column not in row],
        "unknown": [column for column in row if column not in COLUMNS],
        "ill-typed": [column for column in COLUMNS if column in row and not _fits(row[column], column)],
    }
    if any(faults.values()):
        found = "; ".join(f"{fault}: {', '.join(columns)}" for fault, columns in faults.items() if columns)
        raise UserError(f"{place}: {found}", hint="The file is not a sweep's records.")
    return Record(**{field: _restore(row[column], column) for column, field in _FIELD_OF_COLUMN.items()})


# For each column the members of the union or literal that the record declares, else the one type itself.
_DECLARED: dict[str, tuple[Any, ...]] = {
    field.rstrip("_"): typing.get_args(declared) or (declared,)
    for field, declared in typing.get_type_hints(Record).items()
}


def _fits(value: object, column: str) -> bool:
    """Tell whether a value read from JSON has the type that the record declares for its column."""
    if column == "status":
        return value in _DECLARED[column]
    if float in _DECLARED[column] and isinstance(value, int | float) and not isinstance(value, bool):
        return abs(value) <= sys.float_info.max  # neither infinite nor NaN, which Python's JSON lets through
    return type(value) in _DECLARED[column]


def _restore(value: Any, column: str) -> Any:
    """Return a value that fits as the record declares it: JSON knows no difference between 10 and 10.0."""
    return float(value) if float in _DECLARED[column] and value is not None else value
