"""Measures one contestant at every length: each case becomes a record, whatever comes of it."""

import dataclasses
import functools
import gc
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import torch
from torch import Tensor

import mixers
from bench.efficiency.fitting import longest_fitting, requested_gib
from bench.efficiency.forecast import Forecast
from bench.efficiency.inputs import Input
from bench.efficiency.isolation import Ready
from bench.efficiency.measurement.execution import bind, callable_model, capture
from bench.efficiency.measurement.latency import WARM_UP_CALLS, Latency, measure_as_the_paper, measure_latency
from bench.efficiency.measurement.limits import Limits, measure_limits
from bench.efficiency.measurement.memory import GIB, SOURCES, Memory, measure_memory, peak_bytes
from bench.efficiency.measurement.telemetry import Monitor
from bench.efficiency.measurement.windows import EVENTS
from bench.efficiency.records import Record, Samples
from bench.efficiency.settings import Contestant, Plan
from bench.environment import available_memory_gib, gpu_uuid, processor_name, versions
from bench.gpu import Card
from bench.speech import frames_of, samples_of
from mixers import autotuning, stack
from mixers.base import SequenceModel
from mixers.support.errors import UserError
from mixers.support.precision import DTYPES, use_precision

_SPARE_GIB = 1.0  # of host memory, left to everything else

# A backward pass multiplies twice for each product of the forward one, for the gradients of its two factors, and moves
# gradients of all that the forward one moves.
TRAINING_FLOPS, TRAINING_BYTES = 3, 2

_UTTERANCES = 20  # timed as in the paper


@dataclass(frozen=True, kw_only=True)
class Task:
    """All that a process must know to measure one contestant; only the lengths come on top.

    Attributes:
        contestant: What is measured.
        plan: The sweep that it belongs to.
        source: Where the sequences come from.
        time_budget_s: Wall time for all of it; None for no limit.
    """

    contestant: Contestant
    plan: Plan
    source: Input
    time_budget_s: float | None = None


def measure(
    lengths: Sequence[float], *, task: Task, prepare: bool = False, alone: bool = True
) -> Iterator[tuple[Record, Samples | None] | Ready]:
    """Measure a contestant at these lengths, in this order; yield each record with its samples as soon as it exists.

    An implementation that cannot run here, a case that runs out of memory, does not fit in the budget or fails in a
    library becomes a record that says so. A failure ends the work, since it may have left the GPU's context unusable:
    what is left is for a fresh process.

    Args:
        lengths: Seconds.
        task: What is measured.
        prepare: Whether to run each length once, so that all is compiled, and then to yield ``Ready``, with the
            kernel configurations that had to be found for it.
        alone: Whether no other process of the sweep is alive, so that the memory is this one's. Only then the longest
            length that fits is looked for.
    """
    blank = _Blank(task, device=processor_name(task.plan.device_type))
    mixer = mixers.load(task.contestant.mixer)
    preset = stack.sizes(mixer, task.contestant.setting.preset)
    reason = mixer.unavailable(task.contestant.implementation, preset, device_type=task.plan.device_type)
    if reason:
        yield from [Ready()] if prepare else []
        yield from ((blank.record(length, status="unavailable", error=reason), None) for length in lengths)
        return
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()  # what another setting compiled counts against a limit
    autotuning.forget_uses()
    gc.disable()  # importing the mixer's library takes a seventh less without
    try:
        cases = _Cases(task, blank, alone=alone)
    except Exception as error:  # of whatever kind a library has
        yield from [Ready()] if prepare else []
        yield blank.failure(lengths[0], error), None
        return
    finally:
        gc.enable()
    if prepare:
        try:
            with autotuning.compiling_side_by_side():
                cases.warm_up(lengths)
        except Exception:  # of whatever kind a library has; in a fresh process the case at fault will say so
            return
        yield Ready(note=autotuning.chosen_configurations())
    gc.collect()
    gc.freeze()  # the collections before each series need not look at the libraries again
    for length in lengths:
        record, samples = cases.measure(length)
        yield record, samples
        if record.status == "failed":
            return
    if task.plan.device_type == "cuda":
        torch.cuda.empty_cache()  # for the neighbours


def lost(seconds: float, reason: str, *, task: Task, device: str) -> Record:
    """Return the record of a case whose process died, which was measured on the processor of this name."""
    return _Blank(task, device=device).record(seconds, status="failed", error=reason)


class _Blank:
    """A record with the fields filled in that all records of a contestant share."""

    def __init__(self, task: Task, *, device: str) -> None:
        plan, contestant = task.plan, task.contestant
        self._shared = {
            "mixer": contestant.mixer,
            "implementation": contestant.implementation,
            **dataclasses.asdict(contestant.setting),
            "causal": mixers.load(contestant.mixer).causal,
            "input": task.source.description,
            "seed": plan.seed,
            "device": device,
            "device_type": plan.device_type,
            "memory_source": SOURCES[plan.device_type],
            **versions(),
        }

    def record(self, seconds: float, **fields: Any) -> Record:
        """Fill in the rest."""
        frames = frames_of(samples_of(seconds))
        return Record(seconds=seconds, frames=frames, **{"started_at": _now()} | self._shared | fields)

    def failure(self, seconds: float, error: BaseException, **fields: Any) -> Record:
        """Turn what a library raised into a record."""
        lines = str(error).strip().splitlines() or [""]
        text = f"{type(error).__name__}: {lines[0]}"[:400]
        if not _out_of_memory(error):
            return self.record(seconds, status="failed", error=text, **fields)
        return self.record(seconds, status="oom", error=text, oom_requested_gib=requested_gib(str(error)), **fields)


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Cases:
    """One built model, measured at one length after the other."""

    def __init__(self, task: Task, blank: _Blank, *, alone: bool) -> None:
        """Build the model on its device, with whatever a library may raise."""
        self._device_type = task.plan.device_type
        self._setting = setting = task.contestant.setting
        self._source = task.source
        self._blank = blank
        self._alone = alone
        self._dtype = DTYPES[setting.precision]
        if self._device_type == "cuda":
            use_precision(setting.precision)
        contestant = task.contestant
        self._model: SequenceModel = (
            stack.build(
                contestant.mixer, implementation=contestant.implementation, preset=setting.preset, seed=task.plan.seed
            )
            .to(self._device_type, self._dtype)
            .train(setting.pass_ == "training")
        )
        normal = torch.Generator().manual_seed(task.plan.seed)
        text = torch.randn(setting.batch, setting.text_tokens, self._model.width, generator=normal)  # (B, N, D)
        self._bind = partial(
            bind,
            callable_model(self._model, setting.execution),
            pass_=setting.pass_,
            text=text.to(self._device_type, self._dtype) if setting.text_tokens else None,
        )
        self._card = Card(gpu_uuid()) if self._device_type == "cuda" else None
        self._deadline = None if task.time_budget_s is None else time.perf_counter() + task.time_budget_s
        self._forecast = Forecast(self._attempt, free_gib=available_memory_gib() - _SPARE_GIB)
        self._longest_measured = 0.0
        self._longest_fitting: float | None = None

    def warm_up(self, lengths: Sequence[float]) -> None:
        """Call the model once at each length; where a neighbour's use of the memory prevents it, that is for later."""
        for seconds in lengths:
            self._fits(seconds)
        if self._card:
            torch.cuda.empty_cache()

    def measure(self, seconds: float) -> tuple[Record, Samples | None]:
        """Measure one case."""
        began, started_at = time.perf_counter(), _now()
        x: Tensor | None = None
        try:
            frames = frames_of(samples_of(seconds))
            known = {**self._size(frames), "started_at": started_at}
            obstacle = self._obstacle(frames)
            if obstacle:
                return self._blank.record(seconds, status="skipped", error=obstacle, **known), None
            x = self._input(seconds)
            latency, fields = self._figures(x)
        except UserError:
            raise
        except Exception as error:  # of whatever kind a library has
            # What the failed call had allocated hangs on the traceback, and would be missing in what comes next.
            x = None
            return self._failure(seconds, error.with_traceback(None), started_at=started_at), None
        self._longest_measured = max(self._longest_measured, seconds)
        record = self._blank.record(seconds, status="ok", wall_s=time.perf_counter() - began, **known, **fields)
        return record, _samples(record, latency)

    def _input(self, seconds: float) -> Tensor:
        """Return the features of a batch: the same audio, begun at another place in each sequence."""
        features = self._source.features(seconds).to(self._device_type, self._dtype)  # (1, L, D)
        step = features.shape[1] // self._setting.batch
        return torch.cat([features.roll(row * step, dims=1) for row in range(self._setting.batch)])  # (B, L, D)

    def _size(self, frames: int) -> dict[str, Any]:
        """Return the fields that follow from the model and the length of its input."""
        size = {"batch": self._setting.batch, "frames": frames + self._setting.text_tokens}
        training = self._setting.pass_ == "training"
        flops = self._model.flops(**size) * (TRAINING_FLOPS if training else 1)
        minimum_bytes = self._model.minimum_bytes(**size) * (TRAINING_BYTES if training else 1)
        fields = {"parameters": self._model.parameter_count(), "flops": flops, "minimum_bytes": minimum_bytes}
        if self._limits is None:
            return fields
        return fields | {
            "peak_tflops": self._limits.tflops,
            "copy_tb_s": self._limits.tb_s,
            "floor_ms": self._limits.floor_ms(flops=flops, minimum_bytes=minimum_bytes),
        }

    @functools.cached_property
    def _limits(self) -> Limits | None:
        """What this GPU can do at best, measured when it is this process's turn; None on a CPU."""
        return measure_limits(self._setting.precision) if self._device_type == "cuda" else None

    def _figures(self, x: Tensor) -> tuple[Latency, dict[str, Any]]:
        """Return the times and the fields of everything that is measured."""
        monitor = Monitor(self._card) if self._card else None
        issue = self._bind(x)
        with autotuning.compiling_side_by_side():  # if that failed while it was prepared, this says why
            for _ in range(WARM_UP_CALLS):
                issue()
        as_graph = self._setting.execution == "graph"
        call = capture(issue) if as_graph else issue
        latency = measure_latency(
            call,
            device_type=self._device_type,
            cold_cache=self._setting.cache == "cold",
            observe=monitor.observe if monitor else lambda _: 0,
            rest=monitor.rest if monitor else lambda: None,
        )
        if as_graph:
            call = partial(capture, issue)  # what a graph takes, it takes while it is captured
        memory = measure_memory(call, model=self._model, x=x, device_type=self._device_type)
        fields = _latency_fields(latency) | _memory_fields(memory) | {"configurations": autotuning.origins()}
        if self._card and monitor:
            fields |= dataclasses.asdict(monitor.conditions())
            fields |= {"process_gib": self._card.own_gib(), "device_gib": self._card.used_gib()}
            fields |= {"other_processes": self._card.other_processes()}
        if self._card and self._setting.preset == "released" and self._setting.execution == "eager":
            utterances = (x.roll(frame, dims=1) for frame in range(_UTTERANCES + 1))
            fields |= {"paper_ms": measure_as_the_paper(self._bind(utterance) for utterance in utterances)}
        return latency, fields

    def _failure(self, seconds: float, error: Exception, *, started_at: str) -> Record:
        fields: dict[str, Any] = {"parameters": self._model.parameter_count(), "started_at": started_at}
        if _out_of_memory(error) and self._alone:
            if self._longest_fitting is None:
                self._longest_fitting = longest_fitting(self._fits, low=self._longest_measured, high=seconds)
            fields["longest_fitting_seconds"] = self._longest_fitting
        return self._blank.failure(seconds, error, **fields)

    def _fits(self, seconds: float) -> bool:
        """Call the model once on random features of this length; return whether the memory suffices."""
        frames = max(1, frames_of(samples_of(seconds)))  # a bisection may come to less than one
        try:
            self._bind(self._random(frames))()
            if self._device_type == "cuda":
                torch.cuda.synchronize()
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            return False
        return True

    def _obstacle(self, frames: int) -> str:
        """Return why a case would not fit on a CPU; a GPU says so itself, without harm."""
        if self._device_type != "cpu":
            return ""
        left = float("inf") if self._deadline is None else self._deadline - time.perf_counter()
        return self._forecast.obstacle(frames, seconds_left=left)

    def _attempt(self, frames: int) -> tuple[float, float]:
        """Run a call twice; return the seconds of the second and the peak memory of the first, in GiB."""
        call = self._bind(self._random(frames))
        peak = peak_bytes(call, device_type="cpu")
        began = time.perf_counter()
        call()
        return time.perf_counter() - began, peak / GIB

    def _random(self, frames: int) -> Tensor:
        size = self._setting.batch, frames, self._model.width
        return torch.randn(size, device=self._device_type, dtype=self._dtype)


def _latency_fields(latency: Latency) -> dict[str, Any]:
    single, queue = latency.single, latency.full_queue
    taken = [single] if queue is None or queue is single else [single, queue]
    events = sum((series.events for series in taken[1:]), taken[0].events)
    fields = {
        "latency_ms": single.median,
        "latency_ms_mean": single.mean,
        "latency_ms_p05": single.percentile(5),
        "latency_ms_p95": single.percentile(95),
        "samples": len(single.samples_ms),
        "latency_error": _finite(single.relative_error),
        "latency_stop": single.stop,
        "host_ms": latency.host_ms,
        "launch_bound": latency.launch_bound,
        "converged": all(series.stop == "converged" for series in taken),
        "void_samples": sum(series.void_samples for series in taken),
        **{name: getattr(events, name) for name in EVENTS},
    }
    if queue is not None:
        fields |= {"gpu_stop": queue.stop, "gpu_samples": len(queue.samples_ms)}
    if queue is not None and queue.samples_ms:
        fields |= {"gpu_ms": queue.median, "gpu_ms_p05": queue.percentile(5), "gpu_ms_p95": queue.percentile(95)}
        fields |= {"gpu_error": _finite(queue.relative_error)}
    return fields


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _memory_fields(memory: Memory) -> dict[str, Any]:
    return {
        "peak_memory_gib": memory.peak / GIB,
        "weights_gib": memory.weights / GIB,
        "input_gib": memory.input / GIB,
        "reserved_gib": None if memory.reserved is None else memory.reserved / GIB,
    }


def _samples(record: Record, latency: Latency) -> Samples:
    return Samples(
        name=record.name,
        setting=record.setting,
        seconds=record.seconds,
        latency_ms=list(latency.single.samples_ms),
        issue_ms=list(latency.single.issue_ms),
        gpu_ms=list(latency.full_queue.samples_ms) if latency.full_queue else [],
    )
