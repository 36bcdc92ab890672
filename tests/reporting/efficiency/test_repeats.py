"""Comparisons of more than two sides, and of sides that are repeats of a sweep."""

import json
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.efficiency.store import read_samples
from bench.reporting.efficiency.process_verdict import judge_series
from tests.conftest import Sbench
from tests.reporting.efficiency.conftest import MakeRecord, WriteSweep, make_up_record
from tests.reporting.efficiency.folders import ENVIRONMENT, write_folder


def compared(sbench: Sbench, *arguments: object) -> list[dict[str, object]]:
    """What `sbench compare --json` prints of each side but the first."""
    code, out, err = sbench("compare", *arguments, "--json")
    assert code == 0, err
    found = json.loads(out)
    return found if isinstance(found, list) else [found]


def verdicts(comparison: dict[str, object]) -> list[str | None]:
    cases = comparison["cases"]
    assert isinstance(cases, list)
    return [case["verdict"] for case in cases]


def refused(sbench: Sbench, *arguments: object) -> str:
    code, out, err = sbench("compare", *arguments)
    assert (code, out) == (2, "")
    return err


@pytest.fixture(scope="module")
def repeats(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four repeats of one sweep, whose hosts and readings differ, and a case that fails in the last."""
    parent = tmp_path_factory.mktemp("repeats")
    return [
        write_folder(
            parent / f"repeat-{number}",
            make_up_record(
                "kda/fla", latency_ms=3.0 + number / 100, gpu_ms=2.0 + number / 1000, sm_clock_mhz=1980.0 - number
            ),
            make_up_record("sa/eager", status="oom" if number == 3 else "ok", gpu_ms=None if number == 3 else 1.0),
            environment=ENVIRONMENT | {"host_cores": 16 + number},
            processes=2,
            seed=number,
        )
        for number in range(4)
    ]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), by=st.sampled_from(["gpu", "latency"]))
def test_the_order_of_repeats_does_not_matter(
    repeats: list[Path], sbench: Sbench, data: st.DataObject, by: str
) -> None:
    """On either side, of any number of them."""
    shuffled = data.draw(st.permutations(repeats))
    cut = data.draw(st.integers(1, 3))
    sides = [shuffled[:cut], shuffled[cut:]]
    reordered = [data.draw(st.permutations(side)) for side in sides]
    [one], [other] = (
        compared(sbench, *(",".join(map(str, side)) for side in each), "--by", by) for each in (sides, reordered)
    )
    for comparison, each in ((one, sides), (other, reordered)):
        assert comparison.pop("before_folders") == [str(folder) for folder in each[0]]
        assert comparison.pop("after_folders") == [str(folder) for folder in each[1]]
        del comparison["before"], comparison["after"]
    assert one == other


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_folder_counts_once_however_it_is_written(repeats: list[Path], sbench: Sbench, data: st.DataObject) -> None:
    folders = data.draw(st.lists(st.sampled_from(repeats), min_size=1, max_size=3, unique=True))
    twice = data.draw(st.sampled_from(folders))
    again = data.draw(st.sampled_from([twice, twice / ".", f"{twice}/", twice.parent / "x" / ".." / twice.name]))
    (twice.parent / "x").mkdir(exist_ok=True)
    places = data.draw(st.permutations([*map(str, folders), str(again)]))
    separator = data.draw(st.sampled_from([" ", ","]))
    sides = places if separator == " " else [",".join(places), str(repeats[0].parent)]
    assert "is given twice" in refused(sbench, *sides)


def test_a_copy_of_a_sweep_is_no_repeat(sbench: Sbench, write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    one, other = write_sweep("one", make_record()), write_sweep("other", make_record(), seed=1)
    shutil.copytree(one, one.with_name("copy"))
    assert "one and copy hold the same samples" in refused(sbench, "one,copy", "other")
    assert len(compared(sbench, "one", "copy", other)) == 2


def test_repeats_add_processes_so_single_calls_can_be_judged(
    sbench: Sbench, write_sweep: WriteSweep, make_record: MakeRecord
) -> None:
    """Three sweeps of two processes on each side are six processes. One or two such sweeps get no verdict."""
    for number in range(3):
        write_sweep(f"a{number}", make_record(latency_ms=1.0), processes=2, seed=number)
        write_sweep(f"b{number}", make_record(latency_ms=2.0), processes=2, seed=number)
    [few] = compared(sbench, "a0,a1", "b0,b1,b2", "--by", "latency")
    assert verdicts(few) == [None]
    assert "single calls of 4 and 6 processes" in few["cases"][0]["reason"]  # type: ignore[index]
    [many] = compared(sbench, "a0,a1,a2", "b0,b1,b2", "--by", "latency")
    assert verdicts(many) == ["slower"]
    assert (many["before"], many["before_folders"]) == ("a0,a1,a2", ["a0", "a1", "a2"])
    medians = [statistics.median(each.latency_ms) for number in range(3) for each in read_samples(Path(f"a{number}"))]
    assert many["cases"][0]["before_ms"] == statistics.median(medians)  # type: ignore[index]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ((1.0,), (1.05,), "slower"),
        ((1.0, 1.001), (1.05, 1.051), "slower"),
        ((1.0, 1.06), (1.05, 1.051), "noisy"),  # as far as repeats of one side differ
        ((1.0, 1.06), (1.12, 1.13), "slower"),
        ((1.0, 1.001, 1.002), (1.0,), "no difference"),
        ((1.0, 1.1, 1.2, 1.3), (1.25, 1.05, 1.15, 1.35), "noisy"),
    ],
)
def test_what_repeats_of_a_side_differ_by_is_noise_in_gpu_time_too(
    sbench: Sbench,
    write_sweep: WriteSweep,
    make_record: MakeRecord,
    before: Sequence[float],
    after: Sequence[float],
    verdict: str,
) -> None:
    sides = [
        ",".join(
            write_sweep(f"{side}{number}", make_record(gpu_ms=10 * time), spread=1e-4, seed=number).name
            for number, time in enumerate(times)
        )
        for side, times in (("a", before), ("b", after))
    ]
    [comparison] = compared(sbench, *sides)
    assert verdicts(comparison) == [verdict]
    said = "by more than repeats differ by" in " ".join(sbench("compare", *sides)[1].split())
    assert said == (len(before) + len(after) > 2)


series = st.lists(st.lists(st.floats(0.5, 50.0), min_size=10, max_size=12), min_size=1, max_size=5)


@given(series, series)
def test_the_interval_of_few_processes_holds_that_of_any_two(
    before: list[list[float]], after: list[list[float]]
) -> None:
    pooled = judge_series(before, after)
    assert pooled.low <= pooled.ratio <= pooled.high
    if min(len(before), len(after)) < 3:
        pairs = [judge_series([one], [other]) for one in before for other in after]
        assert pooled.low == min(pair.low for pair in pairs)
        assert pooled.high == max(pair.high for pair in pairs)


@pytest.mark.parametrize(
    ("changes", "environment", "said"),
    [
        ({"device": "NVIDIA A100"}, {}, "device: NVIDIA H200 -> NVIDIA A100"),
        ({"input": "speech"}, {}, "input: random features -> speech"),
        ({"parameters": 7}, {}, "parameters: 20020000 -> 7"),
        ({"precision": "tf32"}, {}, "only a2 has tf32, matched preset, inference"),
        ({}, {"driver": "600"}, "driver: 575.57 -> 600"),
        ({}, {"source": "abc"}, "source: None -> abc"),
    ],
)
def test_what_pooling_would_mix_up_is_refused(
    sbench: Sbench,
    write_sweep: WriteSweep,
    make_record: MakeRecord,
    changes: dict[str, object],
    environment: dict[str, str],
    said: str,
) -> None:
    for number, name in enumerate(("a0", "a1", "b")):
        write_sweep(name, make_record(), seed=number)
    write_sweep("a2", make_record(**changes), environment=ENVIRONMENT | environment, seed=3)
    err = refused(sbench, "a0,a1,a2", "b")
    assert f"a0 and a2 are no repeats of one sweep: {said}" in err or f"; {said}" in err
    assert "A1,A2 B1,B2" in err
    assert len(compared(sbench, "a0,a1", "a2")) == 1  # across sides it is a warning


def test_a_case_that_fails_in_one_repeat_has_no_figure(
    sbench: Sbench, write_sweep: WriteSweep, make_record: MakeRecord
) -> None:
    ok, oom = make_record("kda/fla", gpu_ms=1.0), make_record("kda/fla", status="oom", error="out of memory")
    other = make_record("sa/eager", gpu_ms=1.0)
    for number, (name, record) in enumerate({"a": ok, "b0": ok, "b1": oom}.items()):
        write_sweep(name, record, other, seed=number)
    code, out, err = sbench("compare", "a", "b0,b1", "--fail-on-slower", "5%")
    assert (code, err) == (1, "kda/fla at 10 s: ok -> oom: in 1 of 2 sweeps: out of memory\n")
    assert "after:  b0,b1 (2 sweeps, pooled)\n" in out


def test_repeats_may_be_unfinished_and_differ_in_host_which_is_said(
    sbench: Sbench, write_sweep: WriteSweep, make_record: MakeRecord
) -> None:
    whole = [make_record("kda/fla", seconds, gpu_ms=seconds, peak_memory_gib=seconds) for seconds in (10.0, 25.0)]
    write_sweep("a0", *whole, environment=ENVIRONMENT | {"host_cores": 8})
    write_sweep("a1", whole[0], planned=whole, seed=1)
    write_sweep("b", *whole, seed=2)
    [comparison] = compared(sbench, "a0,a1", "b")
    assert verdicts(comparison) == ["no difference", "no difference"]
    assert comparison["environment"] == [{"name": "host_cores", "before": "16, 8", "after": 16}]


def test_each_side_is_compared_with_the_first(
    sbench: Sbench, write_sweep: WriteSweep, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, gpu_ms in (("base", 10.0), ("same", 10.0), ("slow", 12.0), ("fast", 8.0)):
        write_sweep(name, make_record(gpu_ms=gpu_ms))
    found = compared(sbench, "base", "same", "slow", "fast")
    assert [(each["before"], each["after"], *verdicts(each)) for each in found] == [
        ("base", "same", "no difference"),
        ("base", "slow", "slower"),
        ("base", "fast", "faster"),
    ]
    assert found[1] == compared(sbench, "base", "slow")[0]
    monkeypatch.setenv("COLUMNS", "48")
    code, out, err = sbench("compare", "base", "same", "slow", "fast", "--fail-on-slower", "5%")
    assert code == 1
    assert err.startswith("slow: sa/eager at 10 s: 1.2")
    assert len(err.splitlines()) == 1
    table = out.partition("all sides, compared with base:")[2]
    assert [line.split() for line in table.splitlines() if line.startswith(("same", "slow", "fast"))] == [
        ["same", "0", "0", "1", "0", "0"],
        ["slow", "0", "1", "0", "0", "0"],
        ["fast", "1", "0", "0", "0", "0"],
    ]
    assert max(len(line.rstrip()) for line in table.splitlines() if line.startswith(("same", "slow", "fast"))) <= 48
    assert "Each of the 3 verdicts has the level of its interval by itself" in " ".join(table.split())
    assert "…" not in out


def test_all_sides_are_compared_by_one_time(sbench: Sbench, write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    for number, (name, gpu_ms) in enumerate({"a": 1.0, "b": 1.0, "cpu": None}.items()):
        write_sweep(name, make_record(latency_ms=2.0, gpu_ms=gpu_ms), seed=number)
    assert [each["by"] for each in compared(sbench, "a", "b")] == ["gpu"]
    assert [each["by"] for each in compared(sbench, "a", "b", "cpu")] == ["latency", "latency"]
    assert (
        "a and cpu: no case can be judged"
        in sbench("compare", "a", "b", "cpu", "--by", "gpu", "--fail-on-slower", "5%")[2]
    )


def test_one_side_alone_is_refused(sbench: Sbench, write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    for number, name in enumerate(("a", "b", "with,comma")):
        write_sweep(name, make_record(), seed=number)
    for side in ("a", "a,b"):
        assert "a comparison needs two sides" in refused(sbench, side)
    assert "a name is missing in 'a,'" in refused(sbench, "a,", "b")
    assert "no such folder: c" in refused(sbench, "a,c", "b")
    assert compared(sbench, "a", "with,comma")[0]["after_folders"] == ["with,comma"]
