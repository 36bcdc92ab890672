"""What a made-up card says, and what the real one does."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import pytest
import torch

from bench.efficiency.isolation import start_server
from bench.efficiency.measurement import telemetry
from bench.efficiency.measurement.telemetry import Conditions, Monitor
from bench.environment import gpu_uuid
from bench.gpu import Card
from tests.efficiency.measurement.conftest import Clock


@dataclass
class FakeCard:
    """Reports what it is told to; its energy counter moves on by 50 J at every second question."""

    max_sm_clock_mhz: int = 2000
    clock: int | None = 1900
    temperature: int | None = 40
    reasons: set[str] = field(default_factory=set)
    counts_energy: bool = True
    questions: int = 0

    def sm_clock_mhz(self) -> int | None:
        return self.clock

    def temperature_c(self) -> int | None:
        return self.temperature

    def throttle_reasons(self) -> set[str]:
        return self.reasons

    def energy_j(self) -> float | None:
        self.questions += 1
        return 1000.0 + 50 * (self.questions // 2) if self.counts_energy else None


@pytest.fixture(autouse=True)
def _read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_READING_EVERY_S", 0.0)


def monitor_of(card: FakeCard) -> Monitor:
    return Monitor(card)  # type: ignore[arg-type]


def test_a_card_at_its_power_cap_rests_until_it_is_not(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_READING_EVERY_S", 0.02)
    card = FakeCard(reasons={"software power cap"})
    monitor = monitor_of(card)

    def rested() -> float:
        began = clock.now_s
        monitor.pause()
        return clock.now_s - began

    assert rested() == 0  # nothing is known yet
    monitor.observe(0)
    assert 0.06 <= rested() < 0.09  # in vain
    card.reasons = set()
    assert 0 < rested() < 0.03
    monitor.observe(0)
    assert rested() == 0


def test_energy_of_a_call_is_counted_from_movement_to_movement() -> None:
    """The counter moves at the 2nd, 4th, 6th question; between them lie 2 x 5 calls and 50 J."""
    monitor = monitor_of(FakeCard())
    for _ in range(7):
        monitor.observe(5)
        time.sleep(0.001)
    conditions = monitor.conditions()
    assert conditions.energy_j == pytest.approx(5.0)
    assert conditions.energy_s is not None
    assert conditions.energy_s >= 0.004
    assert conditions.power_w == pytest.approx(100 / conditions.energy_s)


@pytest.mark.parametrize("readings", [0, 1, 2, 3])
def test_a_counter_that_moved_once_says_nothing(readings: int) -> None:
    monitor = monitor_of(FakeCard())
    for _ in range(readings):
        monitor.observe(5)
    assert monitor.conditions().energy_j is None


def test_calls_that_do_not_count_add_no_energy() -> None:
    card = FakeCard()
    monitor = monitor_of(card)
    for _ in range(10):
        monitor.observe(0)
    assert card.questions == 0


def test_clock_temperature_and_reasons_of_all_readings() -> None:
    card = FakeCard()
    monitor = monitor_of(card)
    dropped = []
    for clock, temperature, reason in ((1900, 40, ""), (1499, 55, "software power cap"), (1700, 50, "sync boost")):
        card.clock, card.temperature, card.reasons = clock, temperature, {reason} - {""}
        dropped.append(monitor.observe(0))
    assert dropped == [0, 1, 0]
    conditions = monitor.conditions()
    assert (conditions.sm_clock_mhz, conditions.sm_clock_mhz_min, conditions.temperature_c) == (1800, 1700, 55)
    assert conditions.throttle_reasons == "software power cap, sync boost"


def test_a_card_that_never_holds_its_clock_is_recorded_as_slow_as_it_was() -> None:
    """Its windows are all there is, so they are kept."""
    monitor = monitor_of(FakeCard(clock=900))
    assert [monitor.observe(0) for _ in range(3)] == [1, 1, 1]
    conditions = monitor.conditions()
    assert (conditions.sm_clock_mhz, conditions.sm_clock_mhz_min) == (900, 900)


def test_what_a_card_does_not_tell_is_none() -> None:
    monitor = monitor_of(FakeCard(clock=None, temperature=None, counts_energy=False))
    assert [monitor.observe(5) for _ in range(5)] == [0] * 5
    assert monitor.conditions() == Conditions()


def test_readings_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_READING_EVERY_S", 60.0)
    card = FakeCard()
    monitor = monitor_of(card)
    for _ in range(5):
        monitor.observe(5)
    assert card.questions == 1


@pytest.mark.gpu
def test_a_real_card() -> None:
    card = Card(gpu_uuid())
    x = torch.randn(4096, 4096, device="cuda")
    monitor, end = Monitor(card), time.perf_counter() + 0.5
    while time.perf_counter() < end:
        x @ x
        torch.cuda.synchronize()
        monitor.observe(1)
    conditions = monitor.conditions()
    assert card.max_sm_clock_mhz is not None
    assert conditions.sm_clock_mhz is not None
    assert 0.5 * card.max_sm_clock_mhz < conditions.sm_clock_mhz <= card.max_sm_clock_mhz
    assert conditions.temperature_c is not None
    assert 10 < conditions.temperature_c < 100
    assert conditions.power_w is not None
    limit = card.power_limit_w()
    assert limit is not None
    assert 30 < conditions.power_w < 1.2 * limit
    assert conditions.energy_j is not None
    assert 0 < conditions.energy_j < 100
    assert 0.05 < card.used_gib() < torch.cuda.get_device_properties(0).total_memory / 2**30
    code = "import os, time, torch; x = torch.zeros(1, device='cuda'); print(os.getpid(), flush=True); time.sleep(60)"
    command = ["sh", "-c", '"$0" -c "$1" &', sys.executable, code]  # the shell ends: nobody's child
    with subprocess.Popen(command, stdout=subprocess.PIPE) as shell:
        assert shell.stdout
        pid = int(shell.stdout.readline())
        count = card.other_processes()
        os.kill(pid, signal.SIGKILL)
    assert count is None or count >= 1  # others may work on this card too
    own = card.own_gib()
    assert own is None or own > 0.05
    assert os.getpid() > 0


def _others(pids: tuple[int, ...]) -> int | None:
    """Return how many others a card counts among these processes and the present one."""
    card = Card.__new__(Card)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Card, "_processes", lambda _: dict.fromkeys((*pids, os.getpid())))
        return card.other_processes()


def test_workers_of_one_sweep_are_no_others() -> None:
    """A worker leads its own process group, so only the common parent tells that two belong together."""
    start_server()
    with multiprocessing.get_context("forkserver").Pool(2, initializer=os.setpgid, initargs=(0, 0)) as pool:
        first, second = (worker.pid for worker in pool._pool)  # type: ignore[attr-defined]
        assert pool.apply(_others, ((first, second),)) == 0
        assert pool.apply(_others, ((first, second, os.getpid()),)) == 1
        pool.close()  # ends them in good order: one that still starts may outlive a signal
        pool.join()
    assert _others(()) == 0
    assert _others((os.getppid(),)) == 1
