"""Turns what was measured of a case into a record and its samples."""

import dataclasses
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import mixers
from bench import plugins
from bench.efficiency.conformity import UNCHECKED, Conformity
from bench.efficiency.failures import describe, is_out_of_memory, requested_gib
from bench.efficiency.measurement.latency import Latency
from bench.efficiency.measurement.limits import Limits
from bench.efficiency.measurement.memory import GIB, SOURCES, Memory
from bench.efficiency.measurement.sizes import Sizes
from bench.efficiency.measurement.telemetry import Conditions, Occupancy
from bench.efficiency.measurement.windows import Series
from bench.efficiency.records import Record, Status
from bench.efficiency.samples import Measurement, Samples
from bench.efficiency.selection import cannot_be
from bench.efficiency.settings import Contestant
from bench.efficiency.task import Task
from bench.environment import versions
from bench.speech import frames_of, samples_of
from mixers import stack


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All figures of one case.

    Attributes:
        latency: Its times.
        memory: Its memory.
        configurations: Where its kernels' configurations came from, as `mixers.autotuning.origins` says it.
        kernel: Which of its kernels a library chose.
        conditions: The state of the GPU while it was timed.
        occupancy: Who else used the GPU, and how much of its memory was taken.
        paper_ms: Its time as the paper took it; None if it was not taken so.
    """

    latency: Latency
    memory: Memory
    configurations: str
    kernel: str
    conditions: Conditions
    occupancy: Occupancy
    paper_ms: float | None


def now() -> str:
    """Return the time as records write it: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class Recorder:
    """Makes the records of one contestant.

    Attributes:
        task: The contestant and its sweep.
        device: The processor's name.
        conformity: Whether the implementation agrees with its reference.
    """

    task: Task
    device: str
    conformity: Conformity = UNCHECKED

    def record(
        self,
        seconds: float,
        *,
        status: Status,
        error: str = "",
        started_at: str | None = None,
        wall_s: float = 0.0,
        sizes: Sizes | None = None,
        limits: Limits | None = None,
    ) -> Record:
        """Return the record of a case without figures.

        Args:
            seconds: Length of the audio.
            status: What became of the case.
            error: Why there is no figure.
            started_at: When it began; None for now.
            wall_s: Wall time spent on it.
            sizes: Of the model and the call; None if the model could not be built.
            limits: What the GPU can do at best; None if unknown.
        """
        contestant, plan, installed = self.task.contestant, self.task.plan, versions()
        setting = contestant.setting
        record = Record(
            mixer=contestant.mixer,
            implementation=contestant.implementation,
            seconds=seconds,
            frames=frames_of(samples_of(seconds)),
            status=status,
            error=error,
            window_s=contestant.window_s,
            **_mechanism(contestant),
            **dataclasses.asdict(self.conformity),
            input=self.task.source.description,
            seed=plan.seed,
            device=self.device,
            device_type=plan.device_type,
            memory_source=SOURCES[plan.device_type],
            started_at=started_at or now(),
            wall_s=wall_s,
            sbench=installed["sbench"],
            torch=installed["torch"],
            triton=installed["triton"],
            fla=installed["fla"],
            **dataclasses.asdict(setting),
        )
        if sizes is not None:
            record = dataclasses.replace(record, **dataclasses.asdict(sizes))
        if sizes is None or limits is None or sizes.flops is None or sizes.minimum_bytes is None:
            return record
        return dataclasses.replace(
            record,
            peak_tflops=limits.tflops,
            copy_tb_s=limits.tb_s,
            floor_ms=limits.floor_ms(flops=sizes.flops, minimum_bytes=sizes.minimum_bytes),
        )

    def failure(
        self, seconds: float, error: BaseException, *, started_at: str | None = None, sizes: Sizes | None = None
    ) -> Record:
        """Return the record of a case in which a library raised an error."""
        if not is_out_of_memory(error):
            return self.record(seconds, status="failed", error=describe(error), started_at=started_at, sizes=sizes)
        record = self.record(seconds, status="oom", error=describe(error), started_at=started_at, sizes=sizes)
        return dataclasses.replace(record, oom_requested_gib=requested_gib(str(error)))


def _mechanism(contestant: Contestant) -> dict[str, Any]:
    """Return what a contestant's frames see, and what a layer keeps of them."""
    setting = contestant.setting
    if setting.part != "mixer":
        window_s = contestant.window_s
        return {"causal": False, "reach": f"its window of {window_s:g} s" if window_s else "the whole clip"}
    mixer = mixers.load(contestant.mixer)
    sizes = stack.sizes(mixer, setting.preset, width=setting.width, heads=setting.heads)
    causal = stack.is_causal(mixer, setting.direction, preset=setting.preset)
    return {
        "plugin": "; ".join(each.origin for each in plugins.used([contestant.mixer])),
        "causal": causal and not cannot_be(mixer, setting.direction),
        "reach": mixer.reach_at(sizes),
        "state_numbers": mixer.state_numbers(sizes),
    }


def with_figures(record: Record, figures: Figures) -> Measurement:
    """Return a record with the figures of its case, and the samples behind them."""
    single, queue, memory = figures.latency.single, figures.latency.gpu, figures.memory
    series = [single] if queue is None or queue is single else [single, queue]
    events = sum((each.events for each in series[1:]), series[0].events)
    record = dataclasses.replace(
        record,
        latency_ms=single.median,
        latency_ms_mean=single.mean,
        latency_ms_p05=single.percentile(5),
        latency_ms_p95=single.percentile(95),
        samples=len(single.samples_ms),
        latency_error=_finite(single.relative_error),
        latency_stop=single.stop,
        host_ms=figures.latency.host_ms,
        launch_bound=figures.latency.launch_bound,
        converged=(queue or single).stop == "converged",
        gpu_clock=figures.latency.gpu_clock,
        void_samples=sum(each.void_samples for each in series),
        gpu_stop=queue.stop if queue else "",
        gpu_samples=len(queue.samples_ms) if queue else 0,
        peak_memory_gib=memory.peak / GIB,
        weights_gib=memory.weights / GIB,
        input_gib=memory.input / GIB,
        reserved_gib=None if memory.reserved is None else memory.reserved / GIB,
        configurations=figures.configurations,
        kernel=figures.kernel,
        paper_ms=figures.paper_ms,
        **dataclasses.asdict(events),
        **dataclasses.asdict(figures.conditions),
        **dataclasses.asdict(figures.occupancy),
    )
    if queue is not None and queue.samples_ms:
        record = dataclasses.replace(
            record,
            gpu_ms=queue.median,
            gpu_ms_p05=queue.percentile(5),
            gpu_ms_p95=queue.percentile(95),
            gpu_error=_finite(queue.relative_error),
        )
    return Measurement(record=record, samples=_samples(record, figures.latency))


def with_single_calls(record: Record, single: Series, *, process: int) -> Measurement:
    """Return what a later process measured of a case: the samples of its single calls."""
    samples = Samples(
        name=record.name,
        setting=record.setting,
        seconds=record.seconds,
        process=process,
        latency_ms=list(single.samples_ms),
        issue_ms=list(single.issue_ms),
    )
    return Measurement(record=record, samples=samples)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _samples(record: Record, latency: Latency) -> Samples:
    return Samples(
        name=record.name,
        setting=record.setting,
        seconds=record.seconds,
        latency_ms=list(latency.single.samples_ms),
        issue_ms=list(latency.single.issue_ms),
        gpu_ms=list(latency.gpu.samples_ms) if latency.gpu else [],
    )
