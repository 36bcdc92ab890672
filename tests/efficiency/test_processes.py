"""On a GPU all contestants prepare side by side, and measure one after the other. Here the work is made up."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest

from bench.efficiency import sweep, worker
from bench.efficiency.isolation import Ready
from bench.efficiency.recording import Recorder
from bench.efficiency.samples import Measurement
from bench.efficiency.settings import Contestant, Plan, Setting
from bench.efficiency.store import Header, read_records, start
from bench.efficiency.sweep import Event, Interrupted, Measured, Prepared, SettingStarted
from bench.efficiency.task import Task

NAMES = ("sa/eager", "retnet/fla", "kda/fla")
SECONDS = (10.0, 20.0, 40.0)

INFERENCE = Setting(preset="matched", precision="bfloat16")
TRAINING = dataclasses.replace(INFERENCE, pass_="training")
BATCH = dataclasses.replace(TRAINING, batch=8)
TF32 = dataclasses.replace(TRAINING, precision="tf32")


def made_up(
    lengths: Sequence[float], *, task: Task, prepare: bool = False, alone: bool = True
) -> Iterator[Measurement | Ready]:
    """SA has no room for 40 s beside others, RetNet dies while it prepares, KDA has found a configuration.

    In training there is room for all, nothing dies, and KDA's last case fails.
    """
    mixer, training = task.contestant.mixer, task.contestant.setting.pass_ == "training"
    if prepare and mixer == "retnet" and not training:
        os._exit(1)
    if prepare:
        yield Ready(note={"kernel": {"autotune_entries": {"key": "choice"}}} if mixer == "kda" else {})
    recorder = Recorder(task=task, device="Made Up 100")
    for seconds in lengths:
        fits = alone or training or mixer != "sa" or seconds < 40
        fails = training and mixer == "kda" and seconds == 40
        status = recorder.record(seconds, status="failed" if fails else "ok" if fits else "oom", error=f"{os.getpid()}")
        yield Measurement(record=status)


@pytest.fixture(autouse=True)
def _made_up_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "measure", made_up)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@contextlib.contextmanager
def sweep_of(folder: Path, *settings: Setting, processes: int = 1) -> Iterator[Generator[Event, None, None]]:
    plan = Plan(
        contestants=tuple(
            Contestant(mixer=mixer, implementation=each, setting=setting)
            for setting in settings
            for mixer, each in (name.split("/") for name in NAMES)
        ),
        seconds=SECONDS,
        device_type="cuda",
        seed=0,
        time_budget_s=None,
        processes=processes,
    )
    header = Header(plan=plan, environment={"device": "Made Up 100"})
    start(header, folder)
    with contextlib.closing(sweep.run(plan, folder, interrupted=Interrupted(header=header, records=[]))) as events:
        yield events


def test_all_are_measured_and_what_ran_out_of_memory_comes_last(tmp_path: Path) -> None:
    with sweep_of(tmp_path / "run", INFERENCE) as events:
        first, *others = events
    assert first == SettingStarted(setting=INFERENCE, process=1, input="random features", contestants=NAMES)
    prepared = [each.contestant for each in others if isinstance(each, Prepared)]
    assert sorted(prepared) == sorted(NAMES)
    records = [each.record for each in others if isinstance(each, Measured)]
    assert len(prepared) + len(records) == len(others)
    order = [(name, seconds) for name in NAMES for seconds in SECONDS]
    order.append(order.pop(2))
    assert [(record.name, record.seconds) for record in records] == order
    assert {record.status for record in records} == {"ok"}
    assert read_records(tmp_path / "run") == records

    processes = {record.error: record.name for record in records}
    assert len(processes) == 4  # one each, and a fresh one for the case that had no room
    assert not any(alive(pid) for pid in processes)


def test_a_configuration_that_was_found_is_saved(tmp_path: Path) -> None:
    with sweep_of(tmp_path / "run", INFERENCE) as events:
        while not isinstance(next(events), Measured):
            pass
    saved = tmp_path / "cache" / "sbench" / "tuned" / "made-up-100" / "kernel.json"
    assert json.loads(saved.read_text())["autotune_entries"] == {"key": "choice"}


def test_leaving_early_leaves_no_process(tmp_path: Path) -> None:
    before = set(multiprocessing.active_children())
    with sweep_of(tmp_path / "run", TRAINING) as events:
        assert isinstance(next(events), SettingStarted)
        assert len(set(multiprocessing.active_children()) - before) == len(NAMES)
        while not isinstance(next(events), Measured):
            pass
    assert set(multiprocessing.active_children()) <= before


def alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


def processes_of_each_setting(events: Iterator[Event]) -> Iterator[dict[str, str]]:
    """Yield in which process each contestant was measured, when the next setting has started or all is over."""
    pids: dict[str, str] = {}
    for event in events:
        if isinstance(event, SettingStarted) and pids:
            yield pids
            pids = {}
        elif isinstance(event, Measured):
            pids[event.record.name] = event.record.error
    yield pids


def test_the_next_setting_is_measured_by_the_same_processes(tmp_path: Path) -> None:
    with sweep_of(tmp_path / "run", TRAINING, BATCH, TF32) as events:
        settings = processes_of_each_setting(events)
        first = next(settings)
        assert not alive(first["kda/fla"])  # it had failed
        assert alive(first["sa/eager"])
        again = next(settings)
        assert [first[name] == again[name] for name in NAMES] == [True, True, False]
        assert not alive(again["sa/eager"])  # the next setting is in another precision
        other = next(settings)
        assert set(other.values()).isdisjoint(again.values())
    assert not any(alive(pid) for pid in (*first.values(), *again.values(), *other.values()))


def test_without_room_for_all_at_once_no_process_is_kept(tmp_path: Path) -> None:
    with sweep_of(tmp_path / "run", INFERENCE, dataclasses.replace(INFERENCE, batch=8)) as events:
        first = next(processes_of_each_setting(events))
        assert not any(alive(pid) for pid in first.values())


def test_single_calls_are_timed_in_fresh_processes_one_mixer_after_the_other(tmp_path: Path) -> None:
    with sweep_of(tmp_path / "run", TRAINING, BATCH, processes=3) as every:
        events = list(every)
    rounds = [(each.process, each.setting) for each in events if isinstance(each, SettingStarted)]
    assert rounds == [(process, setting) for process in (1, 2, 3) for setting in (TRAINING, BATCH)]
    # KDA's last case has failed in the first process, so no other process tries it.
    assert [len(each.contestants) for each in events if isinstance(each, SettingStarted)] == [3] * 6
    measured = [each.record for each in events if isinstance(each, Measured)]
    assert len(measured) == 2 * 9 + 2 * 2 * 8
    assert len(read_records(tmp_path / "run")) == 2 * 9
    settings = processes_of_each_setting(event for event in events)
    pids = [set(each.values()) for each in settings]
    assert pids[0].isdisjoint(pids[2])
    assert pids[2].isdisjoint(pids[4])
    assert len(pids[2] & pids[3]) == 3  # a process times every setting
