"""Every case becomes a record, whatever comes of it."""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.efficiency import case, worker
from bench.efficiency.inputs import RandomFeatures
from bench.efficiency.isolation import Ready
from bench.efficiency.measurement import latency
from bench.efficiency.measurement.criterion import Criterion
from bench.efficiency.measurement.latency import CPU_CALLS
from bench.efficiency.recording import Recorder
from bench.efficiency.records import Record
from bench.efficiency.settings import Contestant, Plan, Setting
from bench.efficiency.task import Task

SDPA = Contestant(mixer="sa", implementation="sdpa", setting=Setting(preset="released", precision="float32"))
PLAN = Plan(
    contestants=(SDPA,),
    seconds=(0.1, 0.2, 0.3),
    device_type="cpu",
    seed=0,
    time_budget_s=None,
)


TASK = Task(contestant=SDPA, plan=PLAN, source=RandomFeatures(width=1024, seed=0), shared=Path())


def measured(*, alone: bool = True, time_budget_s: float | None = None) -> list[Record]:
    task = dataclasses.replace(TASK, time_budget_s=time_budget_s)
    results = worker.measure(PLAN.seconds, task=task, alone=alone)
    return [result.record for result in results if not isinstance(result, Ready)]


def refuse(monkeypatch: pytest.MonkeyPatch, error: Exception, *, from_frames: int) -> None:
    """Let attention fail at this length and beyond."""
    attend = torch.nn.functional.scaled_dot_product_attention

    def refuse_long(q: torch.Tensor, *others: Any, **options: Any) -> torch.Tensor:
        if q.shape[2] >= from_frames:
            raise error
        return attend(q, *others, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", refuse_long)


def test_an_allocation_that_fails_is_a_row_and_the_next_one_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 11.92 GiB."), from_frames=9)
    records = measured()
    assert [record.status for record in records] == ["ok", "oom", "oom"]
    assert "Tried to allocate 11.92 GiB" in records[1].error
    assert records[1].latency_ms is None
    assert [record.oom_requested_gib for record in records] == [None, 11.92, 11.92]


def test_where_the_memory_runs_out_the_longest_length_that_fits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine frames begin at 0.185 s."""
    refuse(monkeypatch, torch.OutOfMemoryError("CUDA out of memory."), from_frames=9)
    found = [record.longest_fitting_seconds for record in measured()]
    assert found[0] is None
    assert found[1] == found[2] == pytest.approx(0.185, abs=0.02)
    assert found[1] is not None
    assert found[1] < 0.185


def test_a_case_far_too_long_for_a_cpu_is_skipped_before_its_input_is_made() -> None:
    """A year of audio would be 6 TiB of features."""
    results = worker.measure([0.1, 3.15e7], task=dataclasses.replace(TASK, time_budget_s=2.0))
    records = [result.record for result in results if not isinstance(result, Ready)]
    assert [record.status for record in records] == ["ok", "skipped"]
    assert "share of --time-budget" in records[1].error


def test_a_case_may_take_what_is_left_of_the_time_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    spare_s: list[float] = []

    def remember(*arguments: Any, **options: Any) -> latency.Latency:
        spare_s.append(options["spare_s"])
        return latency.measure_latency(*arguments, **options)

    at_once = Criterion(relative_error=1e9, minimum_seconds=0, maximum_seconds=9, minimum_samples=4, fewest_samples=4)
    monkeypatch.setattr(latency, "CPU_CALLS", at_once)
    monkeypatch.setattr(case, "measure_latency", remember)
    measured()
    measured(time_budget_s=120.0)
    assert spare_s == [0.0] * 3 + [3.0] * 3


def test_among_other_processes_it_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, torch.OutOfMemoryError("CUDA out of memory."), from_frames=9)
    assert [record.longest_fitting_seconds for record in measured(alone=False)] == [None, None, None]


def test_an_error_of_a_library_is_a_row_and_ends_the_process_s_work(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, ZeroDivisionError("in a kernel\nwith details"), from_frames=9)
    records = measured()
    assert [record.status for record in records] == ["ok", "failed"]
    assert records[1].error == "ZeroDivisionError: in a kernel"


def test_a_case_whose_process_died_is_a_row() -> None:
    recorder = Recorder(task=TASK, device="here")
    record = recorder.record(0.2, status="failed", error="the process was killed by SIGSEGV")
    assert (record.name, record.seconds, record.frames, record.status) == ("sa/sdpa", 0.2, 9, "failed")
    assert (record.device, record.error) == ("here", "the process was killed by SIGSEGV")


def test_prepared_work_says_so_before_it_measures() -> None:
    first, *rest = worker.measure(PLAN.seconds, task=TASK, prepare=True)
    assert first == Ready(note={})  # nothing had to be searched for
    assert len(rest) == len(PLAN.seconds)


def test_what_fails_while_it_is_prepared_is_left_to_a_fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, ZeroDivisionError("in a kernel"), from_frames=9)
    assert list(worker.measure(PLAN.seconds, task=TASK, prepare=True)) == []


def test_every_record_says_how_it_was_measured() -> None:
    for record in measured():
        assert record.status == "ok"
        assert record.latency_error is not None
        assert record.latency_stop in ("converged", "cap")
        assert record.samples >= CPU_CALLS.fewest_samples  # on a machine that is not busy, the minimum
        assert record.converged == (record.latency_stop == "converged")
        assert record.cache == "warm"
        assert (record.gpu_ms, record.host_ms, record.launch_bound, record.energy_j) == (None, None, None, None)
        assert record.weights_gib == pytest.approx(4 * (4 * 1024**2 + 1024) / 2**30)
        assert record.input_gib == pytest.approx(4 * record.frames * 1024 / 2**30)
        assert record.void_samples == 0 or record.garbage_collections + record.compilations > 0


def test_an_implementation_without_kernels_of_the_width_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "processor_name", lambda _: "NVIDIA H200")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())  # as if the library were installed
    setting = Setting(preset="matched", precision="bfloat16", width=1280)
    contestant = Contestant(mixer="kda", implementation="fla", setting=setting)
    plan = dataclasses.replace(PLAN, contestants=(contestant,), device_type="cuda")
    (result,) = worker.measure([10.0], task=dataclasses.replace(TASK, contestant=contestant, plan=plan))
    assert not isinstance(result, Ready)
    assert (result.record.status, result.record.width) == ("unavailable", 1280)
    assert result.record.error == "supports no keys wider than 256"
