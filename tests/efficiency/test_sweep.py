"""A sweep that is killed at any moment loses no finished record, doubles none, and ends as if nothing had happened."""

import multiprocessing
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.efficiency import sweep
from bench.efficiency.records import Record
from bench.efficiency.repair import repair
from bench.efficiency.settings import Contestant, Plan, Setting
from bench.efficiency.store import RECORDS_FILE, SWEEP_FILE, read_records, read_samples
from tests.cli.commands import measure_quickly

KILLS = 5
LONGEST_LIFE = 0.7  # of the processor's time that a whole sweep takes: on a busy machine the same share of its work

SETTING = Setting(preset="released", precision="float32")
PLAN = Plan(
    contestants=(
        Contestant(mixer="sa", implementation="sdpa", setting=SETTING),
        Contestant(mixer="fox", implementation="reference", setting=SETTING),
        Contestant(mixer="kda", implementation="fla", setting=SETTING),  # unavailable: rows without samples
    ),
    seconds=(0.1, 0.2),
    device_type="cpu",
    seed=0,
    time_budget_s=None,
)
TIMINGS = {
    *("latency_ms", "latency_ms_mean", "latency_ms_p05", "latency_ms_p95", "samples", "started_at", "wall_s"),
    *("latency_error", "latency_stop", "converged", "void_samples"),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that keeps the records is killed. It measures by itself, one call for each case."""
    measure_quickly(monkeypatch, samples=1)


def begin_or_continue(folder: Path) -> None:
    torch.set_num_threads(1)  # a fork has none of the threads that its parent may have started
    interrupted = sweep.read_interrupted(folder) if (folder / SWEEP_FILE).exists() else None
    for _ in sweep.run(PLAN, folder, interrupted=interrupted):
        pass


def exit_code_on(folder: Path, life_s: float = 0) -> int | None:
    """Sweep in a process that dies, with nothing cleaned up, after `life_s` of the processor's time; 0: that ends."""

    def live() -> None:
        signal.setitimer(signal.ITIMER_PROF, life_s)  # SIGPROF ends a process as SIGKILL does: Python handles neither
        begin_or_continue(folder)

    process = multiprocessing.get_context("fork").Process(target=live)
    process.start()
    process.join()
    return process.exitcode


def processor_s_of_children() -> float:
    return sum(os.times()[2:4])


def finished(folder: Path) -> list[Record]:
    """What is on disk, repaired as a resumed sweep repairs it."""
    if not (folder / RECORDS_FILE).exists():
        return []
    repair(folder)
    return read_records(folder) if (folder / RECORDS_FILE).stat().st_size else []


def without_timings(records: list[Record]) -> list[dict[str, Any]]:
    return [{column: value for column, value in each.to_row().items() if column not in TIMINGS} for each in records]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """In a fresh process: threads of other tests may hold locks, which a fork would never see released."""
    process = multiprocessing.get_context("spawn").Process(target=kill_at_random_moments, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0


def kill_at_random_moments(tmp_path: Path) -> None:
    before_s = processor_s_of_children()
    assert exit_code_on(tmp_path / "whole") == 0
    longest_life_s = LONGEST_LIFE * (processor_s_of_children() - before_s)
    expected = read_records(tmp_path / "whole")
    assert [record.status for record in expected] == ["ok"] * 4 + ["unavailable"] * 2

    moments, kills, sweeps = random.Random(0), 0, 0
    while kills < KILLS or sweeps < 2:
        folder, before = tmp_path / str(sweeps), list[Record]()
        exit_code: int | None = -signal.SIGPROF
        while exit_code != 0:
            assert kills < 100, "no sweep ever ends"
            patience = 1 + kills / 20  # on a busy machine the same work takes more of the processor's time
            exit_code = exit_code_on(folder, moments.uniform(0, patience * longest_life_s))
            assert exit_code in (0, -signal.SIGPROF)
            kills += exit_code != 0
            assert (folder / SWEEP_FILE).exists() == folder.exists()
            after = finished(folder)
            assert after[: len(before)] == before
            before = after
        assert without_timings(before) == without_timings(expected)
        measured = [(record.name, record.seconds) for record in expected if record.status == "ok"]
        assert [(samples.name, samples.seconds) for samples in read_samples(folder)] == measured
        sweeps += 1
