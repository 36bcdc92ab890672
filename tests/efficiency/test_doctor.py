"""The doctor's verdicts on made-up numbers, wrong timers that it must catch, and the command itself."""

import math
import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import pytest

from bench import cli
from bench.efficiency.doctor import checks as doctor
from bench.efficiency.doctor import verdicts as diagnosis
from bench.efficiency.doctor.verdicts import GPU_TIME, SINGLE_CALL, Diagnosis, Finding, Repetitions
from bench.efficiency.isolation import Ready
from bench.efficiency.measurement.criterion import Stop
from bench.efficiency.measurement.latency import Latency
from bench.efficiency.measurement.memory import peak_bytes
from bench.efficiency.measurement.windows import Events, Series

SBENCH = (sys.executable, "-c", "from bench.cli import main; main()")


@pytest.mark.parametrize(
    ("load", "passed"), [(0.0, True), (1.99, True), (2.0, False), (7.5, False)], ids=["idle", "below", "equal", "busy"]
)
def test_a_cpu_is_quiet_below_one_process_a_core(load: float, passed: bool) -> None:
    finding = diagnosis.judge_load(load, cores=2)
    assert finding.passed == passed
    assert f"{load:.2f}" in finding.measured


@pytest.mark.parametrize(
    ("others", "reasons", "passed", "said"),
    [
        (0, set(), True, "0 other processes"),
        (None, set(), True, "unknown"),
        (1, set(), False, "1 other process"),
        (0, {"software power cap"}, False, "software power cap"),
        (None, {"hardware thermal"}, False, "hardware thermal"),
    ],
)
def test_a_gpu_is_quiet_without_others_and_throttling(
    others: int | None, reasons: set[str], passed: bool, said: str
) -> None:
    finding = diagnosis.judge_card(others=others, reasons=reasons)
    assert finding.passed == passed
    assert said in finding.measured


@pytest.mark.parametrize(
    ("single_ns", "gpu_ns", "passed"),
    [
        (0.514, 0.513, True),  # an H200
        (0.48, 0.51, False),
        (0.51, 0.54, False),
        (0.51, math.nan, False),
        (0.0, 0.0, False),  # as if the timer did not wait
        (-0.51, 0.51, False),
    ],
)
def test_a_cycle_lasts_as_long_as_the_clock_says(single_ns: float, gpu_ns: float, passed: bool) -> None:
    cycle_ns = {GPU_TIME: gpu_ns, SINGLE_CALL: single_ns}
    assert diagnosis.judge_cycles(cycle_ns, clock_mhz=1970.0).passed == passed
    assert not diagnosis.judge_cycles(cycle_ns, clock_mhz=None).passed


@pytest.mark.parametrize(
    ("median_ms", "passed"), [(19.99, False), (20.1, True), (22.0, True), (22.1, False), (24.0, False), (16.0, False)]
)
def test_a_sleep_lasts_longer_but_not_much(median_ms: float, passed: bool) -> None:
    assert diagnosis.judge_sleep(median_ms).passed == passed


@pytest.mark.parametrize(
    ("copy_ms", "set_ms", "passed"),
    [
        (0.500, 0.125, True),  # both at 4.3 TB/s, as on an H200
        (0.500, 0.250, True),  # writes as slow as those of the copy
        (0.500, 0.085, True),
        (0.005, 0.005, False),  # launches alone, which take equally long
        (0.500, 0.005, False),
        (0.005, 0.125, False),
        (math.nan, 0.125, False),
    ],
)
def test_a_memory_set_agrees_with_a_copy(copy_ms: float, set_ms: float, passed: bool) -> None:
    good_copy, good_set = {SINGLE_CALL: 0.5}, {SINGLE_CALL: 0.125}
    finding = diagnosis.judge_memory_set(good_copy | {GPU_TIME: copy_ms}, good_set | {GPU_TIME: set_ms}, size=2**30)
    assert finding.passed == passed
    assert "4,295.0 GB/s" in finding.measured


def test_an_allocation_is_exact_to_the_byte() -> None:
    assert diagnosis.judge_allocations([4096, 8192], known=[4096, 8192]).passed
    finding = diagnosis.judge_allocations([4096, 8193], known=[4096, 8192])
    assert not finding.passed
    assert "off by 0, 1 bytes" in finding.measured


def repetitions(*, gpu_ms: list[float] | None = None, single_ms: list[float]) -> Repetitions:
    medians = {SINGLE_CALL: single_ms} if gpu_ms is None else {GPU_TIME: gpu_ms, SINGLE_CALL: single_ms}
    return Repetitions(case="kda/fla at 10 s", medians_ms=medians)


@pytest.mark.parametrize(
    ("gpu_ms", "single_ms", "passed"),
    [
        ([2.0, 2.008, 2.004], [3.0, 3.3], True),  # a single call's time is not what is judged
        ([2.0, 2.04, 2.0], [3.0, 3.0], False),
        ([0.4, 0.416, 0.4], [3.0, 3.0], True),  # within what the gaps between launches explain
        (None, [3.0, 3.2], True),
        (None, [3.0, 3.4], False),
    ],
)
def test_runs_of_the_same_case_agree(gpu_ms: list[float] | None, single_ms: list[float], passed: bool) -> None:
    device_type = "cpu" if gpu_ms is None else "cuda"
    finding = diagnosis.judge_repetitions(repetitions(gpu_ms=gpu_ms, single_ms=single_ms), device_type=device_type)
    assert finding.passed == passed


def test_the_smallest_difference_is_that_of_the_worst_case() -> None:
    one = repetitions(gpu_ms=[2.0, 2.008, 2.004], single_ms=[3.0, 3.03, 3.09])
    two = repetitions(gpu_ms=[5.0, 5.01], single_ms=[5.05, 5.05])
    failed = Repetitions(case="sa/sdpa at 100 s", medians_ms={}, failure="killed")
    assert diagnosis.smallest_difference([one, two, failed]) == "0.4 % (GPU time), 3 % (single call)"
    assert "unknown" in diagnosis.smallest_difference([failed])
    assert not diagnosis.judge_repetitions(failed, device_type="cuda").passed


def test_a_run_without_a_figure_fails_its_case() -> None:
    good = {GPU_TIME: 2.0, SINGLE_CALL: 3.0}
    assert diagnosis.summed_up("x", [good, good]).medians_ms == {GPU_TIME: [2.0, 2.0], SINGLE_CALL: [3.0, 3.0]}
    assert diagnosis.summed_up("x", [good, "killed", "exited"]).failure == "killed"
    assert "clean" in diagnosis.summed_up("x", [good, good | {GPU_TIME: math.nan}]).failure


def test_one_failed_check_fails_all() -> None:
    good = Finding(check="sleep", expected="1", measured="1", passed=True)
    assert Diagnosis(findings=[good, good], repetitions=[]).passed
    assert not Diagnosis(findings=[good, diagnosis.lost("sleep", "killed")], repetitions=[]).passed


@pytest.mark.parametrize("rate", [0.8, 1.2], ids=["slow", "fast"])
def test_a_clock_that_is_off_by_a_fifth_is_caught(monkeypatch: pytest.MonkeyPatch, rate: float) -> None:
    clock = SimpleNamespace(perf_counter=lambda: rate * time.perf_counter())
    monkeypatch.setattr("bench.efficiency.measurement.latency.time", clock)
    finding = doctor.check("sleep", "cpu")
    assert not finding.passed
    assert finding.expected == "20 to 22.05 ms"
    assert finding.measured.endswith(" ms")


def test_a_timer_that_does_not_wait_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    stop: Stop = "converged"

    def impatient(*_: object, **__: object) -> Latency:
        series = Series(samples_ms=(0.005,) * 20, issue_ms=(), stop=stop, events=Events(), void_samples=0)
        return Latency(single=series, full_queue=None)

    monkeypatch.setattr(doctor, "measure_latency", impatient)
    monkeypatch.setattr(doctor, "COPIED_BYTES", {"cpu": 2**20})
    assert not doctor.check("sleep", "cpu").passed
    finding = doctor.check("memory set", "cpu")
    assert not finding.passed
    assert ": 0.25 (single call)" in finding.measured


def test_lost_bytes_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check("allocation", "cpu").passed
    monkeypatch.setattr(doctor, "peak_bytes", lambda call, device_type: peak_bytes(call, device_type=device_type) - 1)
    assert not doctor.check("allocation", "cpu").passed


def test_what_a_check_raises_is_its_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> Finding:
        raise RuntimeError("no window of samples was clean\nand more")

    monkeypatch.setitem(doctor.CHECKS, "sleep", broken)
    finding = doctor.check("sleep", "cpu")
    assert not finding.passed
    assert finding.measured == "RuntimeError: no window of samples was clean"


def test_a_check_of_which_the_process_dies_is_a_finding() -> None:
    finding = doctor.check_apart("no such check", "cpu")
    assert not finding.passed
    assert finding.check == "no such check"


def test_a_case_that_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    case = doctor.Case(mixer="kda", implementation="no such", preset="matched", seconds=1.0)
    monkeypatch.setattr(doctor, "CASES", {"cpu": (case,)})
    (outcome,) = doctor.repeat("cpu", runs=1)
    assert outcome.failure
    assert not diagnosis.judge_repetitions(outcome, device_type="cpu").passed


@pytest.mark.parametrize("implementation", ["reference", "no such"])
def test_a_prepared_case_rests_till_its_turn(implementation: str) -> None:
    """As on a GPU; one that cannot be prepared says so when it is its turn."""
    case = doctor.Case(mixer="sa", implementation=implementation, preset="released", seconds=0.1)
    child = doctor.Child(partial(doctor.time_case, device_type="cpu", prepare=True), (case,))
    assert isinstance(child.ready(limit_s=60), Ready)
    (outcome,) = child.results(limit_s=60)
    assert isinstance(outcome, str) == (implementation == "no such"), outcome
    if isinstance(outcome, dict):
        assert outcome[SINGLE_CALL] > 0


def test_the_command_on_this_cpu() -> None:
    """How quiet the machine is decides on some checks here, so only what follows from their verdicts is asked for."""
    done = subprocess.run([*SBENCH, "doctor", "--device", "cpu"], capture_output=True, text=True, check=False)
    assert done.returncode == ("FAIL" in done.stdout), done.stderr
    assert "Traceback" not in done.stderr
    for said in (*doctor.CHECKS, "A/A: sa/reference", "smallest difference this machine can tell: ", "(single call)"):
        assert said in done.stdout


def test_a_device_that_is_none_is_the_user_s_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sbench", "doctor", "--device", "cdua"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert "Did you mean 'cuda'?" in capsys.readouterr().err


@pytest.mark.gpu
def test_known_answers_on_this_gpu() -> None:
    """What other tests do meanwhile decides on the other checks."""
    diagnosis = doctor.examine("cuda", runs=2)
    names = [*doctor.CHECKS, *(f"A/A: {case.name}" for case in doctor.CASES["cuda"])]
    assert [finding.check for finding in diagnosis.findings] == names
    for finding in diagnosis.findings:
        assert finding.passed or finding.check not in {"sleep", "memory set", "allocation"}, finding
    assert all(set(each.medians_ms) == {GPU_TIME, SINGLE_CALL} for each in diagnosis.repetitions), diagnosis
