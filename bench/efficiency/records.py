"""One flat record for each case measured, failures included, and the raw samples behind it. Imports no torch."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from bench.efficiency.settings import Case, Setting
from bench.validation import STRICT

SCHEMA_VERSION = 4
READABLE_VERSIONS = (3, 4)  # 3 lacks gpu_clock: its gpu_ms is of calls behind a full queue


def _column(field: str) -> str:
    """Return the name of a field's column. They differ where Python reserves the name, as in ``pass_``."""
    return field.rstrip("_")


Status = Literal["ok", "oom", "skipped", "unavailable", "failed"]


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

    __pydantic_config__ = STRICT | {"alias_generator": _column}

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
    gpu_clock: str = ""
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
        """Its value on each axis."""
        return Setting(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Setting)})

    @property
    def case(self) -> Case:
        """The case; no two records of a sweep share one."""
        return Case(name=self.name, setting=self.setting, seconds=self.seconds)

    def to_row(self) -> dict[str, Any]:
        """Return the value of each column, in order."""
        return {column: getattr(self, field) for column, field in _FIELD_OF_COLUMN.items()}


_FIELD_OF_COLUMN = {_column(field.name): field.name for field in dataclasses.fields(Record)}

COLUMNS = tuple(_FIELD_OF_COLUMN)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The raw samples of one case, each series in the order in which it was taken.

    Attributes:
        name: Mixer and implementation: ``sa/sdpa``.
        setting: The value of the case on each axis.
        seconds: Length of the audio.
        latency_ms: Times of single calls.
        issue_ms: The time the host took to issue each single call; empty on a CPU.
        gpu_ms: Times of calls behind a full launch queue; empty on a CPU.
    """

    __pydantic_config__ = STRICT

    name: str
    setting: Setting
    seconds: float
    latency_ms: list[float]
    issue_ms: list[float] = dataclasses.field(default_factory=list)
    gpu_ms: list[float] = dataclasses.field(default_factory=list)

    @property
    def case(self) -> Case:
        """The case, which identifies the record of these samples."""
        return Case(name=self.name, setting=self.setting, seconds=self.seconds)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What measuring one case gave: its record, and the samples behind it where there are any."""

    record: Record
    samples: Samples | None = None
