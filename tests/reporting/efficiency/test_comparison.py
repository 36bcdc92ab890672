import dataclasses
import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import bench.reporting
from bench.efficiency.records import Record
from bench.efficiency.store import SAMPLES_FILE, SWEEP_FILE, append_samples
from bench.reporting.efficiency.comparison import Comparison, compare
from bench.reporting.efficiency.comparison_text import render, slower, tally
from mixers.support.errors import UserError
from tests.reporting.efficiency.conftest import COSTS, LENGTHS, MakeRecord, WriteSweep
from tests.reporting.efficiency.folders import ENVIRONMENT, samples_of

WITHOUT_TORCH = """
import sys
from pathlib import Path
sys.modules.update(dict.fromkeys(["torch", "triton", "fla", "transformers"]))
from rich.console import Console
from bench.reporting.efficiency.comparison import compare
from bench.reporting.efficiency.comparison_text import render
Console().print(render(compare(Path(sys.argv[1]), Path(sys.argv[2]))))
assert "pandas" not in sys.modules
"""


def text_of(comparison: Comparison, *, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(render(comparison))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def verdicts(comparison: Comparison) -> dict[str, str | None]:
    return {pair.after.name: pair.judgement.verdict if pair.judgement else None for pair in comparison.pairs}


def test_each_case_gets_its_verdict(write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    names = {"sa/eager": 1.2, "sa/sdpa": 0.8, "kda/fla": 1.003}
    before = write_sweep("before", *(make_record(name, latency_ms=2.0) for name in names))
    after = write_sweep("after", *(make_record(name, latency_ms=2.0 * factor) for name, factor in names.items()))
    comparison = compare(before, after)
    assert verdicts(comparison) == {"sa/eager": "slower", "sa/sdpa": "faster", "kda/fla": "no difference"}
    assert comparison.warnings == ()
    assert comparison.unpaired == ()
    assert comparison.environment == ()
    assert tally(comparison) == "1 faster, 1 slower, 1 no difference, 0 noisy; 1 of 3 medians within 1%"
    text = text_of(comparison)
    assert "WARNING" not in text
    assert "environment: the same" in text
    assert "peak memory: within 1%" in text


def test_cases_pair_by_name_and_seconds(write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    lengths = (10.0, 25.0)
    before = write_sweep("before", *(make_record("kda/fla", seconds, latency_ms=seconds) for seconds in lengths))
    after = write_sweep(
        "after", *(make_record("kda/fla", seconds, latency_ms=2 * seconds) for seconds in reversed(lengths))
    )
    judgements = [pair.judgement for pair in compare(before, after).pairs]
    assert [judgement and judgement.median_before for judgement in judgements] == pytest.approx(lengths, rel=0.01)
    assert [judgement and judgement.ratio for judgement in judgements] == pytest.approx([2, 2], rel=0.01)


def test_widths_pair_each_with_its_own_and_two_sweeps_of_one_width_with_a_warning(
    write_sweep: WriteSweep, make_record: MakeRecord
) -> None:
    narrow, wide = (make_record("kda/fla", latency_ms=time, width=width) for time, width in ((1.0, 512), (4.0, 1024)))
    both = write_sweep("both", narrow, wide)
    comparison = compare(both, write_sweep("narrow", narrow))
    assert [(pair.before.width, pair.after.width) for pair in comparison.pairs] == [(512, 512)]
    assert comparison.warnings == ()
    assert [comparison.name(each.case) for each in comparison.unpaired] == ["kda/fla width 1024"]
    assert compare(write_sweep("one", narrow), write_sweep("other", wide)).warnings == (
        "the sweeps differ in width: 512 -> 1024",
    )


def test_the_gate_names_what_is_slower_than_its_fraction(write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    before = write_sweep("before", make_record("sa/eager", latency_ms=2.0), make_record("kda/fla", latency_ms=2.0))
    after = write_sweep("after", make_record("sa/eager", latency_ms=2.4), make_record("kda/fla", latency_ms=2.1))
    comparison = compare(before, after)
    [line] = slower([comparison], 0.1)
    assert line.startswith("sa/eager at 10 s: 1.2")
    assert len(slower([comparison], 0.01)) == 2
    assert slower([comparison], 0.5) == []
    assert slower([compare(after, before)], 0.0) == []


def test_the_gpus_own_time_is_compared_where_both_sides_have_it(
    write_sweep: WriteSweep, make_record: MakeRecord
) -> None:
    before = write_sweep("before", make_record("kda/fla", latency_ms=5.0, gpu_ms=1.0), make_record("sa/eager"))
    after = write_sweep("after", make_record("kda/fla", latency_ms=4.0, gpu_ms=1.2), make_record("sa/eager"))
    comparison = compare(before, after)
    assert comparison.by == "gpu"
    assert verdicts(comparison) == {"kda/fla": "slower", "sa/eager": None}
    text = text_of(comparison)
    assert "(gpu_ms)\n" in text
    assert "sa/eager at 10 s: no samples of gpu_ms on both sides\n" in text
    comparison = compare(before, after, by="latency")
    assert comparison.by == "latency"
    assert verdicts(comparison) == {"kda/fla": "faster", "sa/eager": "no difference"}
    assert "(latency_ms)\n" in text_of(comparison)


def test_single_calls_are_compared_where_a_side_has_no_gpu_time(
    write_sweep: WriteSweep, make_record: MakeRecord
) -> None:
    failed = make_record("kda/fla", status="oom")
    before = write_sweep("before", make_record(latency_ms=5.0, gpu_ms=1.0), make_record("kda/fla", gpu_ms=1.0))
    after = write_sweep("after", make_record(latency_ms=4.0), failed)
    assert compare(before, after).by == compare(after, before).by == "latency"
    assert verdicts(compare(before, after)) == {"sa/eager": "faster"}
    comparison = compare(before, after, by="gpu")
    assert comparison.warnings == ("no case can be judged: no samples of gpu_ms on both sides",)
    with pytest.raises(UserError, match="gpu_ms") as refusal:
        slower([comparison], 0.0)
    assert "--by latency" in refusal.value.hint


def test_a_time_that_does_not_exist_is_the_users_to_mend(write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    folder = write_sweep("before", make_record())
    with pytest.raises(UserError, match="unknown time 'gpus'") as refusal:
        compare(folder, folder, by="gpus")
    assert refusal.value.hint == "Did you mean 'gpu'? Available: gpu, latency."


def clocks(usual: float | None, lowest: float | None) -> dict[str, object]:
    return {"sm_clock_mhz": usual, "sm_clock_mhz_min": lowest}


@pytest.mark.parametrize(
    ("before", "after", "factor", "verdict"),
    [
        (clocks(1980, 1980), clocks(1980, 1500), 1.2, "noisy"),
        (clocks(1980, 1500), clocks(1980, 1980), 1 / 1.2, "noisy"),
        (clocks(1980, 1980), clocks(1500, 1500), 1.2, "noisy"),
        (clocks(1980, 1980), clocks(1980, 1500), 1.4, "slower"),
        (clocks(1980, 1500), clocks(1980, 1500), 0.5, "faster"),
        (clocks(1980, 1500), clocks(1980, 1500), 1.0, "no difference"),
        (clocks(1980, 1980), clocks(1980, 1980), 1.2, "slower"),
        (clocks(None, None), clocks(1980, 1500), 1.2, "slower"),
        (clocks(1980, 1500), clocks(1980, None), 1.2, "slower"),
    ],
)
def test_what_the_clocks_explain_is_noise(
    write_sweep: WriteSweep,
    make_record: MakeRecord,
    before: dict[str, object],
    after: dict[str, object],
    factor: float,
    verdict: str,
) -> None:
    one = write_sweep("before", make_record(gpu_ms=2.0, **before), spread=0.001)
    other = write_sweep("after", make_record(gpu_ms=2.0 * factor, **after), spread=0.001)
    comparison = compare(one, other)
    assert verdicts(comparison) == {"sa/eager": verdict}


@pytest.mark.parametrize(
    ("execution", "gpu_ms", "ratio", "verdict"),
    [
        ("eager", 0.4, 1.025, "noisy"),
        ("eager", 0.4, 1.08, "slower"),
        ("eager", 4.0, 1.025, "slower"),
        ("graph", 0.4, 1.025, "noisy"),
        ("graph", 0.4, 1.04, "slower"),
        ("graph", 4.0, 1.025, "slower"),
        ("graph", 4.0, 1.012, "noisy"),  # so much two processes may differ
    ],
)
def test_what_the_gaps_between_kernels_explain_is_noise(
    write_sweep: WriteSweep, make_record: MakeRecord, execution: str, gpu_ms: float, ratio: float, verdict: str
) -> None:
    one, other = (
        write_sweep(name, make_record(gpu_ms=time, execution=execution), spread=0.0001)
        for name, time in (("before", gpu_ms), ("after", ratio * gpu_ms))
    )
    assert verdicts(compare(one, other)) == {"sa/eager": verdict}


@pytest.mark.parametrize(("before", "after"), [(1, 1), (5, 4), (4, 5), (1, 9)])
def test_single_calls_of_few_processes_get_no_verdict_and_that_is_said(
    write_sweep: WriteSweep, make_record: MakeRecord, before: int, after: int
) -> None:
    folders = [
        write_sweep(side, make_record(latency_ms=latency_ms), processes=processes)
        for side, latency_ms, processes in (("before", 1.0, before), ("after", 9.0, after))
    ]
    comparison = compare(*folders)
    assert verdicts(comparison) == {"sa/eager": None}
    text = " ".join(text_of(comparison).split())
    assert "of single calls, each begun on an idle device (latency_ms)" in text
    assert f"single calls of {before} and {after} processes" in text
    with pytest.raises(UserError, match="sbench sweep --processes 5"):
        slower([comparison], 0.05)


def test_a_process_counts_once_however_many_samples_it_has(write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    """Processes that differ by a third, on both sides alike: 200 precise samples of each are no evidence."""
    record = make_record(latency_ms=1.0)
    folders = [write_sweep(side, record, processes=0) for side in ("before", "after")]
    for folder, medians in zip(folders, ([1.0, 1.1, 1.2, 1.3, 1.4], [1.05, 1.15, 1.25, 1.35, 1.0]), strict=True):
        for process, median_ms in enumerate(medians, start=1):
            moved = dataclasses.replace(record, latency_ms=median_ms)
            append_samples(folder, samples_of(moved, process=process, spread=1e-4, count=200))
    assert verdicts(compare(*folders)) == {"sa/eager": "noisy"}


@pytest.mark.parametrize(("factor", "verdict"), [(1.25, "noisy"), (0.8, "noisy"), (1.6, "slower"), (0.6, "faster")])
def test_a_difference_that_repeats_on_this_machine_show_too_is_noise(
    write_sweep: WriteSweep, make_record: MakeRecord, factor: float, verdict: str
) -> None:
    """A whole sweep is shifted, as on a busy host. Processes differ by 30 % in one case, and in another hardly."""
    cases = {"sa/eager": (1.0, 1.1, 1.2, 1.25, 1.3), "kda/fla": (1.0, 1.001, 1.002, 1.003, 1.004)}
    folders = [write_sweep(side, *map(make_record, cases), processes=0) for side in ("before", "after")]
    for folder, shift in zip(folders, (1.0, factor), strict=True):
        for name, medians in cases.items():
            for process, median_ms in enumerate(medians, start=1):
                record = make_record(name, latency_ms=shift * median_ms)
                append_samples(folder, samples_of(record, process=process, spread=1e-9, count=20))
    comparison = compare(*folders)
    assert comparison.repeats == pytest.approx((0.3 + 0.004) / 2, abs=1e-6)
    assert verdicts(comparison)["sa/eager"] == verdict
    assert verdicts(comparison)["kda/fla"] in ("slower", "faster")  # by more than 15 %
    assert "15.2%, the middle of what they differ by" in " ".join(text_of(comparison).split())


@pytest.mark.parametrize(("spread", "count"), [(0.3, 20), (0.001, 6)])
def test_wild_or_few_samples_are_noisy_and_pass_the_gate(
    write_sweep: WriteSweep, make_record: MakeRecord, spread: float, count: int
) -> None:
    before = write_sweep("before", make_record(gpu_ms=2.0), spread=spread, count=count)
    after = write_sweep("after", make_record(gpu_ms=2.2), spread=spread, count=count)
    comparison = compare(before, after)
    assert tally(comparison).startswith("0 faster, 0 slower, 0 no difference, 1 noisy; ")
    assert slower([comparison], 0.0) == []


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("device", "NVIDIA A100", "device: NVIDIA H200 -> NVIDIA A100"),
        ("device_type", "cpu", "device_type: cuda -> cpu"),
        ("precision", "native", "precision: bfloat16 -> native"),
        ("preset", "released", "preset: matched -> released"),
        ("pass_", "training", "pass: inference -> training"),
        ("execution", "graph", "execution: eager -> graph"),
        ("cache", "cold", "cache: warm -> cold"),
        ("batch", 8, "batch: 1 -> 8"),
        ("input", "speech", "input: random features -> speech"),
        ("parameters", 4_196_352, "parameters: 20020000 -> 4196352"),
        ("heads", 8, "heads: None -> 8"),
    ],
)
def test_a_pairing_that_makes_no_sense_is_said_first_and_still_compared(
    write_sweep: WriteSweep, make_record: MakeRecord, field: str, value: object, said: str
) -> None:
    before = write_sweep("before", make_record(latency_ms=2.0))
    after = write_sweep("after", make_record(latency_ms=3.0, **{field: value}))
    comparison = compare(before, after)
    [warning] = comparison.warnings
    assert said in warning
    assert text_of(comparison).startswith(f"WARNING: {warning}\n")
    assert verdicts(comparison) == {"sa/eager": "slower"}


def test_a_warning_says_how_many_cases_it_is_about(write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    before = write_sweep("before", make_record("kda/fla"), make_record("gsa/fla", status="oom", parameters=None))
    after = write_sweep("after", make_record("kda/fla", parameters=1), make_record("gsa/fla"))
    [warning] = compare(before, after).warnings
    assert "parameters: 20020000 -> 1 (1 of 2 cases)" in warning


def test_in_several_settings_cases_pair_by_setting_too(write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    before = write_sweep("before", make_record(), make_record(precision="tf32"), make_record(pass_="training"))
    after = write_sweep("after", make_record(latency_ms=9.0, precision="tf32"), make_record(pass_="training"))
    comparison = compare(before, after)
    assert comparison.warnings == ()
    assert [comparison.name(pair.before.case) for pair in comparison.pairs] == [
        "sa/eager tf32 inference",
        "sa/eager bfloat16 training",
    ]
    assert [pair.judgement and pair.judgement.verdict for pair in comparison.pairs] == ["slower", "no difference"]
    assert [(comparison.name(each.case), each.reason) for each in comparison.unpaired] == [
        ("sa/eager bfloat16 inference", "only before")
    ]
    assert "sa/eager tf32" in text_of(comparison)


def test_no_case_is_dropped_in_silence(write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    before = write_sweep(
        "before",
        make_record("sa/eager", 10.0),
        make_record("sa/eager", 25.0),
        make_record("sa/eager", 50.0),
        make_record("gsa/fla", status="oom", error="out of\n memory"),
        make_record("fox/flex", status="unavailable", error="no flex"),
        make_record("kda/fla"),
        make_record("retnet/fla"),
    )
    after = write_sweep(
        "after",
        make_record("sa/eager", 10.0),
        make_record("gsa/fla"),
        make_record("fox/flex", status="unavailable", error="no flex"),
        make_record("kda/fla", status="failed", error="RuntimeError: [bold]\n no"),
        make_record("retnet/fla", status="skipped"),
        make_record("lightnet/fla"),
    )
    comparison = compare(before, after)
    assert verdicts(comparison) == {"sa/eager": "no difference"}
    assert tuple((each.case.name, each.case.seconds, each.reason) for each in comparison.unpaired) == (
        ("sa/eager", 25.0, "only before"),
        ("sa/eager", 50.0, "only before"),
        ("gsa/fla", 10.0, "oom -> ok: out of memory"),
        ("fox/flex", 10.0, "unavailable before and after"),
        ("kda/fla", 10.0, "ok -> failed: RuntimeError: [bold] no"),
        ("retnet/fla", 10.0, "ok -> skipped"),
        ("lightnet/fla", 10.0, "only after"),
    )
    assert (
        tally(comparison)
        == "0 faster, 0 slower, 1 no difference, 0 noisy, 7 without a verdict; 1 of 1 medians within 1%"
    )
    text = text_of(comparison)
    assert "sa/eager at 25, 50 s: only before\n" in text
    assert "kda/fla at 10 s: ok -> failed: RuntimeError: [bold] no\n" in text


def test_a_sweep_that_was_cut_off_does_not_pass_for_one_that_is_no_slower(
    write_sweep: WriteSweep, make_record: MakeRecord
) -> None:
    whole = [make_record("sa/eager", 10.0), make_record("sa/eager", 25.0), make_record("kda/fla", 10.0, status="oom")]
    before = write_sweep("before", *whole)
    comparison = compare(before, write_sweep("cut-off", whole[0], planned=whole))
    assert [each.reason for each in comparison.unpaired] == ["ok -> not measured yet", "oom -> not measured yet"]
    assert slower([comparison], 0.05) == ["sa/eager at 25 s: ok -> not measured yet"]
    assert slower([compare(before, write_sweep("fewer", whole[0]))], 0.05) == []


def test_records_without_samples_get_no_verdict_and_that_is_said(
    write_sweep: WriteSweep, make_record: MakeRecord
) -> None:
    before = write_sweep("before", make_record(peak_memory_gib=1.0), count=0)
    after = write_sweep("after", make_record(peak_memory_gib=2.0))
    comparison = compare(before, after)
    assert verdicts(comparison) == {"sa/eager": None}
    with pytest.raises(UserError, match="no samples of latency_ms on both sides"):
        slower([comparison], 0.0)
    text = text_of(comparison)
    assert text.startswith("WARNING: no case can be judged: no samples of latency_ms on both sides")
    assert "sa/eager at 10 s: no samples of latency_ms on both sides\n" in text
    assert "1 without a verdict\n" in text
    assert "2.000" in text.partition("peak memory")[2]


def test_memory_that_differs_by_more_than_a_percent_is_listed(write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    peaks = {"sa/eager": (1.0, 1.2), "sa/sdpa": (1.0, 1.005), "gsa/fla": (0.0, 0.25), "kda/fla": (1.0, None)}
    before = write_sweep("before", *(make_record(name, peak_memory_gib=peak) for name, (peak, _) in peaks.items()))
    after = write_sweep("after", *(make_record(name, peak_memory_gib=peak) for name, (_, peak) in peaks.items()))
    listed = text_of(compare(before, after)).partition("peak memory that differs by more than 1%")[2]
    assert [line.split() for line in listed.splitlines() if "/" in line] == [
        ["sa/eager", "10", "1.000", "1.200", "1.200"],
        ["gsa/fla", "10", "0.000", "0.2500", "-"],
        ["kda/fla", "10", "1.000", "-", "-"],
    ]


def test_the_environment_that_differs_is_said(write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    before = write_sweep("before", make_record(), environment=ENVIRONMENT | {"fla": ""})
    changed = {name: value for name, value in ENVIRONMENT.items() if name != "driver"} | {"torch": "[2.12]", "fla": "1"}
    comparison = compare(before, write_sweep("after", make_record(), environment=changed | {"source": "abc"}))
    assert tuple((each.name, each.before, each.after) for each in comparison.environment) == (
        ("driver", "575.57", None),
        ("torch", "2.11.0", "[2.12]"),
        ("fla", "", "1"),
        ("source", None, "abc"),
    )
    said = text_of(comparison).partition("environment, before -> after:\n")[2]
    assert said.splitlines() == [
        "  driver: 575.57 -> (not recorded)",
        "  torch: 2.11.0 -> [2.12]",
        "  fla: (none) -> 1",
        "  source: (not recorded) -> abc",
    ]


def test_a_whole_comparison_is_legible_in_a_terminal(write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    def records(factor: float) -> list[Record]:
        return [
            make_record(name, seconds, latency_ms=factor * latency, peak_memory_gib=factor * latency / 100)
            for name in (*COSTS, "lightnet/reference")
            for seconds, latency in zip(LENGTHS, (0.012345, 0.12345, *([123.45] * 8), 123456.0), strict=True)
        ]

    comparison = compare(write_sweep("before", *records(1.0)), write_sweep("after", *records(13.579)))
    text = text_of(comparison)
    assert "…" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
    table = [line.split() for line in text.partition("peak memory")[0].splitlines() if line.endswith("slower")]
    assert len(table) == len(LENGTHS) * (len(COSTS) + 1)
    for pair, (name, seconds, before, after, ratio, low, to, high, verdict) in zip(
        comparison.pairs, table, strict=True
    ):
        assert pair.judgement is not None
        assert (name, float(seconds), to, verdict) == (pair.after.name, pair.after.seconds, "to", "slower")
        shown = [float(number) for number in (before, after, ratio, low, high)]
        judgement = pair.judgement
        assert shown == pytest.approx(
            [judgement.median_before, judgement.median_after, judgement.ratio, judgement.low, judgement.high], rel=1e-3
        )


def test_a_long_name_folds_before_a_number_does(write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    name = f"{'very' * 10}/long"
    folders = [write_sweep(side, make_record(name, 12.5, latency_ms=4.0), spread=1e-9) for side in ("before", "after")]
    text = text_of(compare(*folders), width=64)
    assert "…" not in text
    assert "12.5 4.000 4.000 1.000 1.000 to 1.000 no difference" in " ".join(text.split())


def test_sweeps_without_a_common_case_are_refused(write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    before, after = write_sweep("before", make_record("sa/eager")), write_sweep("after", make_record("sa/eager", 25.0))
    with pytest.raises(UserError, match="no case in common") as refusal:
        compare(before, after)
    assert "seconds" in refusal.value.hint


@pytest.mark.parametrize(
    "content",
    [None, "", "{", "[]", "{}", '{"plan": {}}', '{"plan": {}, "environment": []}', '{"environment": {}}', b"\xff"],
)
@pytest.mark.parametrize("damaged", ["before", "after"])
def test_a_missing_or_damaged_plan_is_the_users_to_mend(
    write_sweep: WriteSweep, make_record: MakeRecord, content: str | bytes | None, damaged: str
) -> None:
    folders = {side: write_sweep(side, make_record()) for side in ("before", "after")}
    path = folders[damaged] / SWEEP_FILE
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"is (missing$|damaged: )") as refusal:
        compare(folders["before"], folders["after"])
    assert str(path) in str(refusal.value)


def test_a_missing_folder_is_the_users_to_mend(
    write_sweep: WriteSweep, make_record: MakeRecord, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no such folder"):
        compare(write_sweep("before", make_record()), tmp_path / "nowhere")


@pytest.mark.parametrize("series", ["null", "[0.0]", "[-1]", "[NaN]", "[Infinity]", '["1"]', "7"])
def test_samples_that_are_no_times_are_the_users_to_mend(
    write_sweep: WriteSweep, make_record: MakeRecord, series: str
) -> None:
    before, after = write_sweep("before", make_record()), write_sweep("after", make_record())
    line = f'{{"name": "sa/eager", "seconds": 10.0, "latency_ms": [1.0], "issue_ms": [], "gpu_ms": {series}}}\n'
    (after / SAMPLES_FILE).write_text(line, encoding="utf-8")
    with pytest.raises(UserError):
        compare(before, after)


def test_a_comparison_needs_no_torch(write_sweep: WriteSweep, make_record: MakeRecord) -> None:
    root = Path(str(bench.reporting.__file__)).parents[2]
    folders = [str(write_sweep(side, make_record())) for side in ("before", "after")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, *folders], check=True, cwd=root, capture_output=True
    )
    assert b"1 no difference" in done.stdout
