"""The doctor's verdicts on made-up numbers."""

import math

import pytest

from bench.efficiency.doctor import verdicts
from bench.efficiency.doctor.verdicts import GPU_TIME, SINGLE_CALL, Diagnosis, Finding, Repetitions, RunTimes


@pytest.mark.parametrize(
    ("load", "passed"), [(0.0, True), (1.99, True), (2.0, False), (7.5, False)], ids=["idle", "below", "equal", "busy"]
)
def test_a_cpu_is_quiet_below_one_process_a_core(load: float, passed: bool) -> None:
    finding = verdicts.judge_load(load, cores=2)
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
    finding = verdicts.judge_card(others=others, reasons=reasons)
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
    assert verdicts.judge_cycles(cycle_ns, clock_mhz=1970.0).passed == passed
    assert not verdicts.judge_cycles(cycle_ns, clock_mhz=None).passed


@pytest.mark.parametrize(
    ("median_ms", "passed"), [(19.99, False), (20.1, True), (22.0, True), (22.1, False), (24.0, False), (16.0, False)]
)
def test_a_sleep_lasts_longer_but_not_much(median_ms: float, passed: bool) -> None:
    assert verdicts.judge_sleep(median_ms).passed == passed


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
    finding = verdicts.judge_memory_set(good_copy | {GPU_TIME: copy_ms}, good_set | {GPU_TIME: set_ms}, size=2**30)
    assert finding.passed == passed
    assert "4,295.0 GB/s" in finding.measured


def test_an_allocation_is_exact_to_the_byte() -> None:
    assert verdicts.judge_allocations([4096, 8192], known=[4096, 8192]).passed
    finding = verdicts.judge_allocations([4096, 8193], known=[4096, 8192])
    assert not finding.passed
    assert "off by 0, 1 bytes" in finding.measured


def repetitions(*, gpu_ms: list[float] | None = None, single_ms: list[float]) -> Repetitions:
    medians = {SINGLE_CALL: single_ms} if gpu_ms is None else {GPU_TIME: gpu_ms, SINGLE_CALL: single_ms}
    return Repetitions(case="kda/fla at 10 s", medians_ms=medians)


@pytest.mark.parametrize(
    ("gpu_ms", "single_ms", "passed"),
    [
        ([2.0, 2.008, 2.004], [3.0, 3.3], True),  # a single call's time is not what is judged
        ([2.0, 2.06, 2.0], [3.0, 3.0], False),
        ([0.4, 0.416, 0.4], [3.0, 3.0], True),  # within what the gaps between launches explain
        (None, [3.0, 3.2], True),
        (None, [3.0, 3.4], False),
    ],
)
def test_runs_of_the_same_case_agree(gpu_ms: list[float] | None, single_ms: list[float], passed: bool) -> None:
    device_type = "cpu" if gpu_ms is None else "cuda"
    finding = verdicts.judge_repetitions(repetitions(gpu_ms=gpu_ms, single_ms=single_ms), device_type=device_type)
    assert finding.passed == passed


def test_the_smallest_difference_is_that_of_the_worst_case() -> None:
    one = repetitions(gpu_ms=[2.0, 2.008, 2.004], single_ms=[3.0, 3.03, 3.09])
    two = repetitions(gpu_ms=[5.0, 5.01], single_ms=[5.05, 5.05])
    failed = Repetitions(case="sa/sdpa at 100 s", medians_ms={}, failure="killed")
    assert verdicts.smallest_difference([one, two, failed]) == "0.4 % (GPU time), 3 % (single call)"
    assert "unknown" in verdicts.smallest_difference([failed])
    assert not verdicts.judge_repetitions(failed, device_type="cuda").passed


def test_a_run_without_a_figure_fails_its_case() -> None:
    good, killed, exited = (
        RunTimes(medians_ms={GPU_TIME: 2.0, SINGLE_CALL: 3.0}),
        RunTimes(medians_ms={}, failure="killed"),
        RunTimes(medians_ms={}, failure="exited"),
    )
    assert verdicts.summarize("x", [good, good]).medians_ms == {GPU_TIME: [2.0, 2.0], SINGLE_CALL: [3.0, 3.0]}
    assert verdicts.summarize("x", [good, killed, exited]).failure == "killed"
    unclean = RunTimes(medians_ms={GPU_TIME: math.nan, SINGLE_CALL: 3.0})
    assert "clean" in verdicts.summarize("x", [good, unclean]).failure


def test_one_failed_check_fails_all() -> None:
    good = Finding(check="sleep", expected="1", measured="1", passed=True)
    assert Diagnosis(findings=[good, good], repetitions=[]).passed
    assert not Diagnosis(findings=[good, verdicts.without_result("sleep", "killed")], repetitions=[]).passed


@pytest.mark.parametrize(("device_type", "said"), [("cpu", "sbench sweep --processes 5"), ("cuda", "cool")])
def test_a_quiet_machine_whose_processes_differ_gets_advice(device_type: str, said: str) -> None:
    kind = GPU_TIME if device_type == "cuda" else SINGLE_CALL
    quiet = verdicts.judge_load(0.1, cores=2)
    for medians_ms, advised in (([1.0, 2.5], True), ([1.0, 1.001], False)):
        repetitions = Repetitions(case="sa/reference at 1 s", medians_ms={kind: medians_ms})
        finding = verdicts.judge_repetitions(repetitions, device_type=device_type)
        diagnosis = Diagnosis(findings=[quiet, finding], repetitions=[repetitions])
        assert (said in " ".join(verdicts.advice(diagnosis, device_type=device_type))) == advised
    killed = Repetitions(case="x", medians_ms={}, failure="killed")
    nothing = verdicts.judge_repetitions(killed, device_type=device_type)
    assert not verdicts.advice(Diagnosis(findings=[quiet, nothing], repetitions=[killed]), device_type=device_type)
