"""Wrong instruments that the doctor must catch, and the command itself."""

import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import pytest

from bench import cli
from bench.efficiency.doctor import checks
from bench.efficiency.doctor.verdicts import GPU_TIME, SINGLE_CALL, Finding, RunTimes, judge_repetitions
from bench.efficiency.isolation import Ready
from bench.efficiency.measurement.criterion import Stop
from bench.efficiency.measurement.latency import Latency
from bench.efficiency.measurement.memory import peak_bytes
from bench.efficiency.measurement.windows import Events, Series
from bench.efficiency.settings import Case, Setting

SBENCH = (sys.executable, "-c", "from bench.cli import main; main()")


def case_of(name: str) -> Case:
    return Case(name=name, setting=Setting(preset="released", precision="float32"), seconds=0.1)


@pytest.mark.parametrize("rate", [0.8, 1.2], ids=["slow", "fast"])
def test_a_clock_that_is_off_by_a_fifth_is_caught(monkeypatch: pytest.MonkeyPatch, rate: float) -> None:
    clock = SimpleNamespace(perf_counter=lambda: rate * time.perf_counter())
    monkeypatch.setattr("bench.efficiency.measurement.latency.time", clock)
    finding = checks.check("sleep", "cpu")
    assert not finding.passed
    assert finding.expected == "20 to 22.05 ms"
    assert finding.measured.endswith(" ms")


def test_a_timer_that_does_not_wait_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    stop: Stop = "converged"

    def impatient(*_: object, **__: object) -> Latency:
        series = Series(samples_ms=(0.005,) * 20, issue_ms=(), stop=stop, events=Events(), void_samples=0)
        return Latency(single=series, gpu=None)

    monkeypatch.setattr(checks, "measure_latency", impatient)
    monkeypatch.setattr(checks, "COPIED_BYTES", {"cpu": 2**20})
    assert not checks.check("sleep", "cpu").passed
    finding = checks.check("memory set", "cpu")
    assert not finding.passed
    assert ": 0.25 (single call)" in finding.measured


def test_lost_bytes_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check("allocation", "cpu").passed
    monkeypatch.setattr(checks, "peak_bytes", lambda call, device_type: peak_bytes(call, device_type=device_type) - 1)
    assert not checks.check("allocation", "cpu").passed


def test_a_check_that_raises_an_error_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> Finding:
        raise RuntimeError("no window of samples was clean\nand more")

    monkeypatch.setitem(checks.CHECKS, "sleep", broken)
    finding = checks.check("sleep", "cpu")
    assert not finding.passed
    assert finding.measured == "RuntimeError: no window of samples was clean"


def test_a_check_whose_process_dies_has_failed() -> None:
    finding = checks.check_in_process("no such check", "cpu")
    assert not finding.passed
    assert finding.check == "no such check"


def test_a_case_that_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of("kda/no such")
    monkeypatch.setattr(checks, "CASES", {"cpu": (case,)})
    (outcome,) = checks.repeat("cpu", runs=1)
    assert outcome.failure
    assert not judge_repetitions(outcome, device_type="cpu").passed


@pytest.mark.parametrize("implementation", ["reference", "no such"])
def test_a_prepared_case_waits_for_its_turn(implementation: str) -> None:
    """As on a GPU; one that cannot be prepared says so when it is its turn."""
    case = case_of(f"sa/{implementation}")
    child = checks.CaseProcess(partial(checks.time_case, device_type="cpu", prepare=True), (case,))
    assert isinstance(child.ready(limit_s=60), Ready)
    (outcome,) = child.results(limit_s=60)
    assert isinstance(outcome, RunTimes)
    assert bool(outcome.failure) == (implementation == "no such")
    assert set(outcome.medians_ms) == (set() if outcome.failure else {SINGLE_CALL})


def test_the_command_on_this_cpu() -> None:
    """How quiet the machine is decides on some checks here, so only what follows from their verdicts is asked for."""
    done = subprocess.run([*SBENCH, "doctor", "--device", "cpu"], capture_output=True, text=True, check=False)
    assert done.returncode == ("FAIL" in done.stdout), done.stderr
    assert "Traceback" not in done.stderr
    for said in (*checks.CHECKS, "A/A: sa/reference", "smallest difference this machine resolves: ", "(single call)"):
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
    diagnosis = checks.examine("cuda", runs=2)
    names = [*checks.CHECKS, *(f"A/A: {case.label}" for case in checks.CASES["cuda"])]
    assert [finding.check for finding in diagnosis.findings] == names
    for finding in diagnosis.findings:
        assert finding.passed or finding.check not in {"sleep", "memory set", "allocation"}, finding
    assert all(set(each.medians_ms) == {GPU_TIME, SINGLE_CALL} for each in diagnosis.repetitions), diagnosis
