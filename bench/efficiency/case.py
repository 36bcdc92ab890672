"""Measures the cases of one built model: its times, its memory and the conditions, at one length after the other."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from bench.efficiency import conformity, subjects
from bench.efficiency.failures import is_out_of_memory
from bench.efficiency.fitting import longest_fitting
from bench.efficiency.forecast import Forecast
from bench.efficiency.measurement.execution import capture
from bench.efficiency.measurement.latency import (
    WARM_UP_CALLS,
    measure_as_the_paper,
    measure_latency,
    measure_single_calls,
)
from bench.efficiency.measurement.limits import Limits, limits_of_sweep
from bench.efficiency.measurement.memory import GIB, measure_memory, peak_bytes
from bench.efficiency.measurement.telemetry import Conditions, Monitor, Occupancy
from bench.efficiency.measurement.windows import Series
from bench.efficiency.recording import Figures, Recorder, now, with_figures, with_single_calls
from bench.efficiency.records import Record
from bench.efficiency.samples import Measurement
from bench.efficiency.task import Task
from bench.environment import available_memory_gib, gpu_uuid
from bench.gpu import Card
from bench.speech import FRAME_SAMPLES, HOP_SAMPLES, frames_of, samples_of
from mixers import autotuning
from mixers.base import Mixer
from mixers.support.errors import UserError
from mixers.support.precision import use_precision

_SPARE_GIB = 1.0  # of host memory, left to everything else

_UTTERANCES = 20  # timed as in the paper


class ModelUnderTest:
    """A contestant's model on its device: a mixer, an encoder or the head."""

    def __init__(self, task: Task, recorder: Recorder, *, alone: bool) -> None:
        """Build the model.

        Args:
            task: The contestant.
            recorder: Makes its records.
            alone: Whether no other process of the sweep is alive. Only then the longest length that fits is looked
                for.

        Raises:
            Exception: Whatever a library raises.
        """
        self._device_type = task.plan.device_type
        self._setting = task.contestant.setting
        self._shared = task.shared
        self._process = task.process
        self._recorder = recorder
        self._alone = alone
        if self._device_type == "cuda":
            use_precision(self._setting.precision)
        self._subject = subjects.build(task)
        self._card = Card(gpu_uuid()) if self._device_type == "cuda" else None
        self._deadline = None if task.time_budget_s is None else time.perf_counter() + task.time_budget_s
        self._forecast = Forecast(self._attempt, free_gib=available_memory_gib() - _SPARE_GIB)
        self._longest_measured = 0.0
        self._longest_fitting: float | None = None

    def warm_up(self, lengths: Sequence[float]) -> None:
        """Call the model once at each length. A length for which other processes leave no memory is passed over."""
        for seconds in lengths:
            self._fits(seconds)
        if self._card:
            torch.cuda.empty_cache()

    def check(self, *, shortest_s: float) -> None:
        """Compare it with its reference, once. All records of this process say what came of it.

        Args:
            shortest_s: The shortest length of the sweep.
        """
        if self._setting.part != "mixer" or self._process > 1:
            return
        bind_compiled = None
        # in training the dropout of a compiled model is not that of an eager one
        if self._setting.execution == "compile" and self._setting.pass_ == "inference":
            samples = samples_of(shortest_s)
            bind_compiled = lambda: self._subject.bind(self._subject.random(samples), samples)  # noqa: E731
        found = conformity.check(self._subject.model, self._setting, shortest_s=shortest_s, bind_compiled=bind_compiled)
        self._recorder = dataclasses.replace(self._recorder, conformity=found)
        if self._card:
            torch.cuda.empty_cache()

    def measure(self, seconds: float, *, later: Sequence[float] = ()) -> Measurement:
        """Measure one case.

        Args:
            seconds: Length of the audio.
            later: The lengths that are measured after it, for which time must be left.
        """
        began, started_at = time.perf_counter(), now()
        x: Tensor | None = None
        try:
            samples = samples_of(seconds)
            record = partial(
                self._recorder.record,
                seconds,
                started_at=started_at,
                sizes=self._subject.sizes(samples),
                limits=self._limits,
            )
            obstacle = self._obstacle(frames_of(samples))
            if obstacle:
                return Measurement(record=record(status="skipped", error=obstacle))
            x = self._subject.audio(seconds)
            if self._process > 1:
                return with_single_calls(record(status="ok"), self._single_calls(x, samples), process=self._process)
            figures, remark = self._figures(x, samples, spare_s=self._spare_s(later))
        except UserError:
            raise
        except Exception as error:  # libraries raise every kind
            # The traceback holds what the failed call had allocated. The next case needs that memory.
            x = None
            return Measurement(record=self._failure(seconds, error.with_traceback(None), started_at=started_at))
        self._longest_measured = max(self._longest_measured, seconds)
        measured = record(status="ok", wall_s=time.perf_counter() - began)
        if remark:
            note = measured.conformity_note or f"at {seconds:g} s: {remark}"
            measured = dataclasses.replace(measured, conforms=False, conformity_note=note)
        return with_figures(measured, figures)

    @functools.cached_property
    def _limits(self) -> Limits | None:
        """What this GPU can do at best, asked for when it is this process's turn; None where no record needs it."""
        needed = self._device_type == "cuda" and self._process == 1
        return limits_of_sweep(self._setting.precision, self._shared) if needed else None

    def _figures(self, x: Tensor, samples: int, *, spare_s: float) -> tuple[Figures, str]:
        """Take all figures of a call on this input, and look at its output."""
        monitor = Monitor(self._card) if self._card else None
        issue, remark = self._warmed_up(x, samples)
        as_graph = self._setting.execution == "graph"
        replay = capture(issue) if as_graph else self._captured(issue)
        latency = measure_latency(
            replay if as_graph and replay else issue,
            device_type=self._device_type,
            replay=replay,
            cold_cache=self._setting.cache == "cold",
            spare_s=spare_s,
            observe=monitor.observe if monitor else lambda _: 0,
            pause=monitor.pause if monitor else lambda: None,
        )
        replay = None  # its memory must not count
        # A graph takes its memory while it is captured.
        memory_call = partial(capture, issue) if as_graph else issue
        figures = Figures(
            latency=latency,
            memory=measure_memory(memory_call, model=self._subject.model, x=x, device_type=self._device_type),
            configurations=autotuning.origins(),
            kernel=self._kernel(x),
            conditions=monitor.conditions() if monitor else Conditions(),
            occupancy=self._occupancy(),
            paper_ms=self._paper_ms(x, samples),
        )
        return figures, remark

    def _single_calls(self, x: Tensor, samples: int) -> Series:
        """Time single calls on this input, and nothing else."""
        monitor = Monitor(self._card) if self._card else None
        issue, _ = self._warmed_up(x, samples)
        return measure_single_calls(
            capture(issue) if self._setting.execution == "graph" else issue,
            device_type=self._device_type,
            cold_cache=self._setting.cache == "cold",
            observe=lambda _: monitor.observe(0) if monitor else 0,
        )

    def _warmed_up(self, x: Tensor, samples: int) -> tuple[Callable[[], object], str]:
        """Return a call on this input that has compiled and tuned all it needs, and what is wrong with its output."""
        issue = self._subject.bind(x, samples)
        with autotuning.compiling_side_by_side():  # raises what the preparation passed over
            for _ in range(WARM_UP_CALLS - 1):
                issue()
            y = issue()
        return issue, self._remark_on(y, x)

    def _remark_on(self, y: object, x: Tensor) -> str:
        """Return what is wrong with a mixer's output; empty for what has no such output: gradients, and other parts."""
        setting = self._setting
        if setting.part != "mixer" or setting.pass_ != "inference":
            return ""
        batch, frames, width = x.shape
        return conformity.remark_on(y, shape=(batch, frames + setting.text_tokens, width), dtype=x.dtype)

    def _captured(self, issue: Callable[[], object]) -> Callable[[], object] | None:
        """Return a replay of the call as a CUDA graph, to take the GPU's time from; None if it cannot be captured."""
        if self._device_type != "cuda":
            return None
        try:
            return capture(issue)
        except RuntimeError:  # it waits for the GPU, or there is no room for a second set of its tensors
            torch.cuda.empty_cache()
            return None

    def _occupancy(self) -> Occupancy:
        card = self._card
        if card is None:
            return Occupancy()
        own_gib, used_gib = card.own_gib(), card.used_gib()
        return Occupancy(process_gib=own_gib, device_gib=used_gib, other_processes=card.other_processes())

    def _kernel(self, x: Tensor) -> str:
        """Ask a mixer which kernel a library chooses for this input, in this pass."""
        found = (module for module in self._subject.model.modules() if isinstance(module, Mixer))
        with torch.inference_mode(self._setting.pass_ == "inference"):
            return next(filter(None, (mixer.kernel(x) for mixer in found)), "")

    def _paper_ms(self, x: Tensor, samples: int) -> float | None:
        """Time the released layers as the paper did, on a GPU."""
        if not self._card or self._setting.preset != "released" or self._setting.execution != "eager":
            return None
        utterances = (x.roll(frame, dims=1) for frame in range(_UTTERANCES + 1))
        return measure_as_the_paper(self._subject.bind(utterance, samples) for utterance in utterances)

    def _failure(self, seconds: float, error: Exception, *, started_at: str) -> Record:
        longest: float | None = None
        if is_out_of_memory(error) and self._alone:
            if self._longest_fitting is None:
                self._longest_fitting = longest_fitting(self._fits, low=self._longest_measured, high=seconds)
            longest = self._longest_fitting
        record = self._recorder.failure(seconds, error, started_at=started_at, sizes=self._subject.sizes())
        return dataclasses.replace(record, longest_fitting_seconds=longest)

    def _fits(self, seconds: float) -> bool:
        """Call the model once on random input of this length; return whether the memory suffices."""
        samples = max(FRAME_SAMPLES, samples_of(seconds))  # a bisection may ask for less than one frame
        try:
            self._subject.bind(self._subject.random(samples), samples)()
            if self._device_type == "cuda":
                torch.cuda.synchronize()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def _obstacle(self, frames: int) -> str:
        """Return why a case would not fit on a CPU. A GPU refuses such a case by itself, without harm."""
        if self._device_type != "cpu":
            return ""
        return self._forecast.obstacle(frames, seconds_left=self._seconds_left())

    def _spare_s(self, later: Sequence[float]) -> float:
        """Return how much of the time budget a case on a CPU may take if it does not converge in the usual time."""
        if self._device_type != "cpu" or self._deadline is None:
            return 0.0
        frames = [frames_of(samples_of(each)) for each in later]
        return self._forecast.spare_s(frames, seconds_left=self._seconds_left())

    def _seconds_left(self) -> float:
        return float("inf") if self._deadline is None else self._deadline - time.perf_counter()

    def _attempt(self, frames: int) -> tuple[float, float]:
        """Run a call twice; return the seconds of the second and the peak memory of the first, in GiB."""
        samples = FRAME_SAMPLES + (frames - 1) * HOP_SAMPLES
        call = self._subject.bind(self._subject.random(samples), samples)
        peak = peak_bytes(call, device_type="cpu")
        began = time.perf_counter()
        call()
        return time.perf_counter() - began, peak / GIB
