"""On a GPU all contestants prepare side by side, and measure one after the other. Here the work is made up."""

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench.efficiency import sweep, worker
from bench.efficiency.inputs import RandomFeatures
from bench.efficiency.isolation import Ready
from bench.efficiency.records import Record, Samples
from bench.efficiency.settings import Contestant, Plan, Setting
from bench.efficiency.store import SWEEP_FILE, Header, read_records

NAMES = ("sa/eager", "retnet/fla", "kda/fla")
SECONDS = (10.0, 20.0, 40.0)

SETTING = Setting(preset="matched", precision="bfloat16")


def plan_of(setting: Setting) -> Plan:
    return Plan(
        contestants=tuple(
            Contestant(mixer=mixer, implementation=each, setting=setting)
            for mixer, each in (name.split("/") for name in NAMES)
        ),
        seconds=SECONDS,
        device_type="cuda",
        seed=0,
        time_budget_s=None,
    )


PLAN = plan_of(SETTING)


def made_up(
    lengths: Sequence[float], *, task: worker.Task, prepare: bool = False, alone: bool = True
) -> Iterator[tuple[Record, Samples | None] | Ready]:
    """SA has no room for 40 s among others, RetNet dies while it prepares, KDA has found a configuration.

    In training there is room for all, nothing dies, and KDA's last case fails.
    """
    mixer, training = task.contestant.mixer, task.contestant.setting.pass_ == "training"
    if prepare and mixer == "retnet" and not training:
        os._exit(1)
    if prepare:
        yield Ready(note={"kernel": {"autotune_entries": {"key": "choice"}}} if mixer == "kda" else {})
    for seconds in lengths:
        record = worker.lost(seconds, f"{os.getpid()}", task=task, device="Made Up 100")
        fits = alone or training or mixer != "sa" or seconds < 40
        fails = training and mixer == "kda" and seconds == 40
        yield dataclasses.replace(record, status="failed" if fails else "ok" if fits else "oom"), None


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sweep.Sweep]:
    monkeypatch.setattr(worker, "measure", made_up)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    header = Header(plan=PLAN, environment={"device": "Made Up 100"})
    (tmp_path / SWEEP_FILE).write_text(json.dumps(dataclasses.asdict(header)))
    source = RandomFeatures(width=1024, seed=0)
    with sweep.Rested() as rested, sweep.Sweep(PLAN, source, tmp_path, done=[], rested=rested) as entered:
        yield entered


def test_all_are_measured_and_what_ran_out_of_memory_comes_last(work: sweep.Sweep, tmp_path: Path) -> None:
    assert work.unfinished == list(NAMES)
    assert sorted(work.prepare()) == sorted(NAMES)
    records = list(work.measure())
    order = [(name, seconds) for name in NAMES for seconds in SECONDS]
    order.append(order.pop(2))
    assert [(record.name, record.seconds) for record in records] == order
    assert {record.status for record in records} == {"ok"}
    assert read_records(tmp_path) == records

    processes = {record.error: record.name for record in records}
    assert len(processes) == 4  # one each, and a fresh one for the case that had no room
    for pid in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_a_configuration_that_was_found_is_saved(work: sweep.Sweep, tmp_path: Path) -> None:
    list(work.prepare())
    saved = tmp_path / "cache" / "sbench" / "tuned" / "made-up-100" / "kernel.json"
    assert json.loads(saved.read_text())["autotune_entries"] == {"key": "choice"}


def test_leaving_early_leaves_no_process(work: sweep.Sweep) -> None:
    list(work.prepare())
    first = next(work.measure())
    work.__exit__()
    assert all(child._process.exitcode is not None for child in work._children.values())
    assert first.name == NAMES[0]


def pids(plan: Plan, rested: sweep.Rested, folder: Path) -> dict[str, str]:
    """Measure, and return in which process each contestant was."""
    with sweep.Sweep(plan, RandomFeatures(width=1024, seed=0), folder, done=[], rested=rested) as work:
        list(work.prepare())
        return {record.name: record.error for record in work.measure()}


def alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.usefixtures("work")
def test_the_next_setting_is_measured_by_the_same_processes(tmp_path: Path) -> None:
    training = dataclasses.replace(SETTING, pass_="training")
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
        (folder / SWEEP_FILE).write_text((tmp_path / SWEEP_FILE).read_text())
    with sweep.Rested() as rested:
        first = pids(plan_of(training), rested, folders[0])
        again = pids(plan_of(dataclasses.replace(training, batch=8)), rested, folders[1])
        assert [first[name] == again[name] for name in NAMES] == [True, True, False]  # KDA had failed
        assert not alive(first["kda/fla"])
        assert alive(again["sa/eager"])
        other = pids(plan_of(dataclasses.replace(training, precision="tf32")), rested, folders[2])
        assert set(other.values()).isdisjoint(again.values())
        assert not alive(again["sa/eager"])
        assert alive(other["sa/eager"])
    assert not any(alive(pid) for pid in (*first.values(), *again.values(), *other.values()))


def test_without_room_for_all_at_once_nobody_rests(work: sweep.Sweep, tmp_path: Path) -> None:
    work.__exit__()
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / SWEEP_FILE).write_text((tmp_path / SWEEP_FILE).read_text())
    with sweep.Rested() as rested:
        found = pids(PLAN, rested, tmp_path / "again")
        assert not any(alive(pid) for pid in found.values())
