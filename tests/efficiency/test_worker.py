"""Every case becomes a record, whatever comes of it."""

from typing import Any

import pytest
import torch

from bench.efficiency import worker
from bench.efficiency.cases import Contestant, Plan
from bench.efficiency.inputs import RandomFeatures
from bench.efficiency.records import Record

SDPA = Contestant(mixer="sa", implementation="sdpa")
PLAN = Plan(
    contestants=(SDPA,),
    seconds=(0.1, 0.2, 0.3),
    preset="released",
    precision="float32",
    device_type="cpu",
    seed=0,
    time_budget_s=None,
)


def measured() -> list[Record]:
    source = RandomFeatures(width=1024, seed=0)
    results = worker.measure(PLAN.seconds, contestant=SDPA, plan=PLAN, source=source, device="here", time_budget_s=None)
    return [record for record, _ in results]


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


def test_an_error_of_a_library_is_a_row_and_ends_the_process_s_work(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, ZeroDivisionError("in a kernel\nwith details"), from_frames=9)
    records = measured()
    assert [record.status for record in records] == ["ok", "failed"]
    assert records[1].error == "ZeroDivisionError: in a kernel"


def test_a_lost_case_is_a_row() -> None:
    record = worker.lost(
        0.2,
        "the process was killed by SIGSEGV",
        contestant=SDPA,
        plan=PLAN,
        source=RandomFeatures(width=1024, seed=0),
        device="here",
    )
    assert (record.name, record.seconds, record.frames, record.status) == ("sa/sdpa", 0.2, 9, "failed")
    assert record.error == "the process was killed by SIGSEGV"
