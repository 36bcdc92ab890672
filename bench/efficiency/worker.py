"""Measures one contestant at every length: each case becomes a record, whatever comes of it."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import torch
from torch import Tensor

import mixers
from bench.efficiency.cases import DTYPES, Contestant, Plan
from bench.efficiency.device import available_memory_gib, versions
from bench.efficiency.forecast import Forecast
from bench.efficiency.inputs import Input
from bench.efficiency.latency import WARM_UP_CALLS, Latency, measure_latency
from bench.efficiency.memory import SOURCES, peak_memory_gib
from bench.efficiency.records import Record, Samples
from bench.speech import frames_of, samples_of
from mixers import stack
from mixers.base import SequenceModel
from mixers.errors import UserError

_SPARE_GIB = 1.0  # of host memory, left to everything else


def measure(
    lengths: Sequence[float],
    *,
    contestant: Contestant,
    plan: Plan,
    source: Input,
    device: str,
    time_budget_s: float | None,
) -> Iterator[tuple[Record, Samples | None]]:
    """Measure a contestant at these lengths, in this order; yield each record with its samples as soon as it exists.

    An implementation that cannot run here, a case that runs out of memory, does not fit in the budget or fails in a
    library becomes a record that says so. A failure ends the work, since it may have left the GPU's context unusable:
    what is left is for a fresh process.
    """
    mixer = mixers.load(contestant.mixer)
    blank = _blank(contestant, plan, source, device)
    reason = mixer.unavailable(contestant.implementation, mixer.presets[plan.preset], device_type=plan.device_type)
    if reason:
        yield from ((blank.record(length, status="unavailable", error=reason), None) for length in lengths)
        return
    try:
        model = stack.build(
            contestant.mixer, implementation=contestant.implementation, preset=plan.preset, seed=plan.seed
        ).to(plan.device_type, DTYPES[plan.precision])
    except Exception as error:  # of whatever kind a library has
        yield blank.failure(lengths[0], error), None
        return
    gc.collect()
    gc.freeze()  # the collections before each case need not look at the libraries again
    cases = _Cases(model, plan, source, blank, time_budget_s=time_budget_s)
    for length in lengths:
        record, samples = cases.measure(length)
        yield record, samples
        if record.status == "failed":
            return


def lost(seconds: float, reason: str, *, contestant: Contestant, plan: Plan, source: Input, device: str) -> Record:
    """Return the record of a case whose process died."""
    return _blank(contestant, plan, source, device).record(seconds, status="failed", error=reason)


@dataclass(frozen=True, kw_only=True)
class _Blank:
    """The fields that all records of a contestant share."""

    shared: dict[str, Any]

    def record(self, seconds: float, **fields: Any) -> Record:
        """Fill in a record."""
        return Record(
            seconds=seconds, frames=frames_of(samples_of(seconds)), **{"started_at": _now()} | self.shared | fields
        )

    def failure(self, seconds: float, error: BaseException, **fields: Any) -> Record:
        """Turn what a library raised into a record."""
        out_of_memory = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        lines = str(error).strip().splitlines() or [""]
        text = f"{type(error).__name__}: {lines[0]}"[:400]
        return self.record(seconds, status="oom" if out_of_memory else "failed", error=text, **fields)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _blank(contestant: Contestant, plan: Plan, source: Input, device: str) -> _Blank:
    return _Blank(
        shared={
            "mixer": contestant.mixer,
            "implementation": contestant.implementation,
            "preset": plan.preset,
            "precision": plan.precision,
            "execution": "eager",
            "pass_": "inference",
            "batch": 1,
            "causal": mixers.load(contestant.mixer).causal,
            "input": source.description,
            "seed": plan.seed,
            "device": device,
            "device_type": plan.device_type,
            "memory_source": SOURCES[plan.device_type],
            **versions(),
        }
    )


class _Cases:
    """One built model, measured at one length after the other."""

    def __init__(
        self, model: SequenceModel, plan: Plan, source: Input, blank: _Blank, *, time_budget_s: float | None
    ) -> None:
        self._model = model
        self._plan = plan
        self._source = source
        self._blank = blank
        self._deadline = None if time_budget_s is None else time.perf_counter() + time_budget_s
        self._forecast = Forecast(self._attempt, free_gib=available_memory_gib() - _SPARE_GIB)

    def measure(self, seconds: float) -> tuple[Record, Samples | None]:
        """Measure one case."""
        began, started_at = time.perf_counter(), _now()
        try:
            x = self._source.features(seconds).to(self._plan.device_type, DTYPES[self._plan.precision])
            frames = x.shape[1]
            known = {
                "parameters": self._model.parameter_count(),
                "flops": self._model.flops(batch=1, frames=frames),
                "minimum_bytes": self._model.minimum_bytes(batch=1, frames=frames),
                "started_at": started_at,
            }
            obstacle = self._obstacle(frames)
            if obstacle:
                return self._blank.record(seconds, status="skipped", error=obstacle, **known), None
            latency, peak_gib = self._figures(partial(self._call, x))
        except UserError:
            raise
        except Exception as error:  # of whatever kind a library has
            # What the failed call had allocated hangs on the traceback, and would be missing in the next case.
            return self._blank.failure(seconds, error.with_traceback(None), started_at=started_at), None
        record = self._blank.record(
            seconds,
            status="ok",
            latency_ms=latency.median_ms,
            latency_ms_mean=latency.mean_ms,
            latency_ms_p05=latency.p05_ms,
            latency_ms_p95=latency.p95_ms,
            samples=len(latency.samples_ms),
            peak_memory_gib=peak_gib,
            wall_s=time.perf_counter() - began,
            **known,
        )
        return record, Samples(name=record.name, seconds=seconds, latency_ms=list(latency.samples_ms))

    def _call(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            return self._model(x)  # type: ignore[no-any-return]

    def _figures(self, call: Callable[[], Tensor]) -> tuple[Latency, float]:
        for _ in range(WARM_UP_CALLS):
            call()
        latency = measure_latency(call, device_type=self._plan.device_type)
        return latency, peak_memory_gib(call, device_type=self._plan.device_type)

    def _obstacle(self, frames: int) -> str:
        """Return why a case would not fit on a CPU; a GPU says so itself, without harm."""
        if self._plan.device_type != "cpu":
            return ""
        left = float("inf") if self._deadline is None else self._deadline - time.perf_counter()
        return self._forecast.obstacle(frames, seconds_left=left)

    def _attempt(self, frames: int) -> tuple[float, float]:
        """Run a call twice; return the seconds of the second and the peak memory of the first, in GiB."""
        x = torch.randn(1, frames, self._model.width, dtype=DTYPES[self._plan.precision])
        peak = peak_memory_gib(partial(self._call, x), device_type="cpu")
        began = time.perf_counter()
        self._call(x)
        return time.perf_counter() - began, peak
