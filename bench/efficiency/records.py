"""One flat record for each case measured, failures included. Imports no torch."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from bench.efficiency.settings import WIDTH, Case, Part, Setting
from bench.validation import STRICT

SCHEMA_VERSION = 9
# 3 lacks gpu_clock: its gpu_ms is of calls behind a full queue. 3 and 4 are of 1 process, 3 to 5 of the presets' width,
# 3 to 6 of mixers alone, 3 to 7 of our own mixers and not checked, 3 to 8 of the presets' heads.
READABLE_VERSIONS = (3, 4, 5, 6, 7, 8, 9)


def _column(field: str) -> str:
    """Return the name of a field's column. They differ where Python reserves the name, as in ``pass_``."""
    return field.rstrip("_")


Status = Literal["ok", "oom", "skipped", "unavailable", "failed"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What measuring one case gave, failures included. Units stand in the names.

    `bench.reporting.efficiency.columns` makes the page on the columns from this list, so every field has an entry.

    Attributes:
        mixer: The mechanism, for instance ``kda``. For other parts of a whole system the encoder's name, or ``head``.
        implementation: How it was computed, for instance ``fla``; an encoder ``one-piece`` or ``windows-20s``.
        preset: The model: ``matched`` (a stack of about 20 M parameters), ``conformer`` (30 M, the mixers where a
            Conformer has its attention), ``layer`` (one mixer of ``matched``),
            ``released`` (the paper's single layers), ``encoder`` (a frozen speech encoder, from the waveform to its
            last layer) or ``head`` (attention pooling and the classifier).
        precision: ``bfloat16``, ``tf32``, ``float32`` (IEEE) or ``native`` (float32 tensors, every library at its own
            default).
        execution: ``eager``, ``graph`` (replay of a CUDA graph) or ``compile`` (torch.compile).
        pass_: ``inference`` or ``training`` (forward and backward).
        seconds: Length of the audio.
        frames: Length of the audio in frames. The sequence also has the frames of the text. An encoder makes one
            frame less for each of its windows but one.
        batch: Sequences in one call.
        parameters: Exact number of trainable parameters; empty if the model could not be built.
        status: ``ok``, ``oom`` (out of memory), ``skipped`` (would not fit, see ``error``), ``unavailable`` or
            ``failed``.
        latency_ms: Median time of a single call that begins on an idle device, as a user sees it. If several processes
            timed it, the median of their medians.
        latency_ms_mean: Mean of the same times.
        latency_ms_p05: Their 5th percentile.
        latency_ms_p95: Their 95th percentile.
        samples: Number of single calls timed.
        peak_memory_gib: Peak of the allocator above what was allocated before the call. Weights and input are excluded.
        error: Why there is no figure; empty if there is one.
        conforms: Whether the implementation gives what its reference gives. It is checked once, before it is timed, on
            one mixer of the model (one of each kind in a hybrid), in this precision and direction, at 2 s of audio, or
            at the shortest length of the sweep if that is shorter. It conforms if ``conformity_error`` is at most 1e-5
            in ``float32``, 3e-3 in ``tf32`` and ``native`` and 1.5e-2 in ``bfloat16``; in training 3e-4, 6e-3 and 3e-2.
            In ``compile`` the uncompiled mixer is checked, and in inference also whether compiling the model changes
            its output at the shortest length. False too where a pass changes its input, and in inference at a length
            where the output is not finite or of another shape or type. Empty if it was not checked, as
            ``conformity_note`` says, for encoders and the head, and before schema version 8.
        conformity_error: Norm of the difference from the reference in float64, over the norm of the reference. In
            training the larger of the output's and the input's gradient. In ``compile`` and inference the larger of
            this and of what compiling changes.
        conformity_note: Why it was not checked, or what is wrong besides the error; otherwise empty.
        plugin: Where a third party's mixer comes from: distribution and version, or a file's name and the digest of its
            text. Empty for our own mixers.
        gpu_ms: Median time of a call on the GPU alone; ``gpu_clock`` says how it was taken. Empty on a CPU, or if the
            call waits for the GPU.
        gpu_ms_p05: 5th percentile of the same times.
        gpu_ms_p95: Their 95th percentile.
        gpu_samples: Number of these calls.
        host_ms: Median time the host takes to issue one call; empty on a CPU.
        launch_bound: Whether ``host_ms`` exceeds ``gpu_ms``.
        latency_error: Standard error of ``latency_ms``, as a fraction of it. If several processes timed it, it follows
            from the spread of their medians.
        gpu_error: Standard error of ``gpu_ms``, as a fraction of it.
        latency_stop: Why the sampling of single calls stopped: ``converged``, ``cap`` (time limit) or ``contaminated``
            (too few windows of samples were clean).
        gpu_stop: Why the sampling of the GPU's time stopped, in the same words.
        converged: Whether ``gpu_ms``, or on a CPU ``latency_ms``, is precise enough for the stopping rule. Before
            schema version 4: whether both are.
        gpu_clock: How ``gpu_ms`` was taken: ``graph`` (replays of a CUDA graph of the call), ``queue`` (calls behind a
            full launch queue, if the call cannot be captured), or ``calls`` (single calls, if launch overhead is
            negligible too). Empty on a CPU, and before schema version 4, which had no graphs of eager calls.
        processes: Number of processes that timed single calls. Conclusions from them need at least five.
        latency_ms_low: Lowest median of one process; empty if there is only one process.
        latency_ms_high: Highest median of one process; empty likewise.
        cache: State of the GPU's L2 cache before each call: ``warm``, or ``cold`` (overwritten).
        text_tokens: Frames of text appended to each sequence within the call.
        direction: Which frames a frame may see: ``causal``, ``alternating``, ``both`` or ``paper``, as
            ``sbench sweep --help`` explains. Before schema version 5: ``paper``.
        width: Features per frame, D: 1,024 unless ``sbench sweep --width`` says otherwise. A matched stack has about
            20 M parameters at 1,024, and at other widths in proportion to their square. Before schema version 6: 1,024.
        heads: Heads of each mixer, as ``sbench sweep --heads`` says. Empty for those of the preset: 4 in most mixers.
        paper_ms: Mean over utterances of one call each, after one warm-up call, as the paper timed it. Only for the
            preset ``released``.
        void_samples: Samples thrown away because something disturbed their window; the next columns say what.
        compilations: Compilations in such windows.
        autotunings: Searches for a kernel configuration in such windows.
        algorithm_searches: Algorithm searches of a library in such windows.
        garbage_collections: Garbage collections of Python in such windows.
        device_allocations: Allocations of memory from the driver in such windows.
        clock_drops: Drops of the GPU's clock in such windows.
        queue_gaps: Calls thrown away because the GPU was ready for them before the host had issued them.
        sm_clock_mhz: Median clock of the multiprocessors while the case was timed.
        sm_clock_mhz_min: Lowest clock of the multiprocessors while the case was timed.
        temperature_c: Highest temperature of the GPU.
        throttle_reasons: What held the clocks down, in the words of NVML.
        energy_j: Energy of one call, of the whole card, measured while the GPU's time was taken. Before schema version
            4: while single calls were timed.
        power_w: Mean power during that time.
        energy_s: Length of that time.
        other_processes: Number of other processes on the GPU; empty if NVML hides them.
        weights_gib: Memory of parameters and buffers.
        input_gib: Memory of the input features.
        reserved_gib: Peak of what the caching allocator held; empty on a CPU.
        process_gib: Memory of the process, its CUDA context included, from NVML; empty if NVML hides processes.
        device_gib: Memory of all processes on the GPU, from NVML.
        oom_requested_gib: The allocation that did not fit, if memory ran out.
        longest_fitting_seconds: The longest audio that fits, found by bisection if memory ran out.
        configurations: How many of the kernels used a configuration of each origin: shipped for this GPU, shipped for
            another GPU of its architecture, saved on this machine, or tuned in this process. Empty if no kernel has a
            choice.
        kernel: The kernel that a library chose by itself. For ``sa/sdpa`` PyTorch's ``cudnn``, ``flash``, ``efficient``
            or ``math``. Empty if it has no choice, and before schema version 9.
        causal: Whether a frame of the whole model sees only itself and the frames before it.
        reach: How far a frame sees in one pass of the mixer if nothing is hidden from it, in words. Empty before schema
            version 5.
        state_numbers: How many numbers a layer keeps of what it has seen of a sequence; empty if they grow with the
            length, and before schema version 5.
        window_s: Length of the windows that an encoder hears; empty where it hears the audio in one piece, and for
            mixers.
        fused_attention: Whether an encoder's attention can run in a fused kernel. If not, it stores its scores, L x L
            for each head. Empty for mixers.
        feed_forward_width: Inner width of the feed-forward that brings a stack to its size; empty without one, and
            before schema version 5.
        flops: Arithmetic of one call, as the mechanism's equations state it. For an encoder: its convolutions and
            products, padding included, as PyTorch counts them.
        minimum_bytes: The fewest bytes that one call must move: it reads input and weights once and writes the output
            once. Training also moves their gradients.
        peak_tflops: Best rate of a large matrix product in this precision, in TFLOP/s, the same for all cases of a
            sweep. In float32 it is the faster of IEEE products and six bfloat16 products.
        copy_tb_s: Best rate of a large copy, bytes read and written, the same for all cases of a sweep.
        floor_ms: The least time that any implementation needs at these rates, for ``flops`` or for ``minimum_bytes``.
        input: Where the sequence came from.
        seed: Seed of weights and input.
        device: Name of the processor.
        device_type: ``cuda`` or ``cpu``.
        memory_source: Which allocator's statistics ``peak_memory_gib`` comes from.
        sbench: Version of this suite.
        torch: Version of PyTorch.
        triton: Version of Triton; empty if it is not installed.
        fla: Version of flash-linear-attention; empty if it is not installed.
        started_at: When the case began, in UTC, ISO 8601.
        wall_s: Wall time spent on the case, warm-up and compilation included.
        schema_version: Version of this list of columns.
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
    conforms: bool | None = None
    conformity_error: float | None = None
    conformity_note: str = ""
    plugin: str = ""
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
    processes: int = 1
    latency_ms_low: float | None = None
    latency_ms_high: float | None = None
    cache: str = "warm"
    text_tokens: int = 0
    direction: str = "paper"
    width: int = WIDTH
    heads: int | None = None
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
    kernel: str = ""
    causal: bool
    reach: str = ""
    state_numbers: int | None = None
    window_s: float | None = None
    fused_attention: bool | None = None
    feed_forward_width: int | None = None
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
    def part(self) -> Part:
        """What was measured."""
        return self.setting.part

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
