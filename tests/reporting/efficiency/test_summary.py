import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.efficiency.records import COLUMNS, Record
from bench.reporting.efficiency.frame import to_frame, write_csv
from bench.reporting.efficiency.overview import title_of
from bench.reporting.efficiency.summary import failures, summary
from tests.reporting.efficiency.conftest import MakeRecord


def render(records: Sequence[Record], *, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(summary(records))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return the cells of the table below its headers, by the name in the first column."""
    _, body = render(records, width=200).split("─\n")
    cells = {line.split()[0]: line.split()[1:] for line in body.splitlines()}
    return {name: row for name, row in cells.items() if "/" in name}


def headers(records: Sequence[Record]) -> str:
    return render(records, width=200).split("─")[0]


def test_frame_has_the_records_columns_and_keeps_counts_whole(make_record: MakeRecord) -> None:
    frame = to_frame([make_record(), make_record(status="unavailable", parameters=None, flops=None)])
    assert tuple(frame.columns) == COLUMNS
    assert frame["parameters"][0] == 20_020_000
    assert frame["parameters"].isna().tolist() == [False, True]
    assert frame["latency_ms"].isna().tolist() == [False, True]


def test_csv_is_plain(make_record: MakeRecord, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    write_csv([make_record(), make_record(status="oom", error="CUDA, out of\nmemory", parameters=None)], path)
    with path.open(encoding="utf-8", newline="") as file:
        measured, failed = csv.DictReader(file)
    assert tuple(measured) == COLUMNS
    assert (measured["pass"], measured["seconds"], measured["parameters"]) == ("inference", "10.0", "20020000")
    assert (failed["parameters"], failed["latency_ms"], failed["peak_memory_gib"]) == ("", "", "")
    assert failed["error"] == "CUDA, out of\nmemory"


@given(latency=st.floats(min_value=0, allow_infinity=False))
def test_csv_keeps_every_digit(
    make_record: MakeRecord, tmp_path_factory: pytest.TempPathFactory, latency: float
) -> None:
    path = tmp_path_factory.getbasetemp() / "digits.csv"
    write_csv([make_record(latency_ms=latency)], path)
    with path.open(encoding="utf-8", newline="") as file:
        [row] = csv.DictReader(file)
    assert float(row["latency_ms"]) == latency


@pytest.mark.parametrize("launch_bound", [True, False, None])
def test_csv_gives_back_every_field(make_record: MakeRecord, tmp_path: Path, launch_bound: bool | None) -> None:
    path = tmp_path / "results.csv"
    full = make_record(
        gpu_ms=0.1 + 0.2,
        gpu_samples=3,
        host_ms=None,
        launch_bound=launch_bound,
        converged=launch_bound,
        latency_stop="cap",
        sm_clock_mhz=1980.0,
        throttle_reasons="software power cap, software thermal",
        other_processes=None if launch_bound else 2,
        cache="cold",
        longest_fitting_seconds=281.25,
    )
    write_csv([full, make_record(status="unavailable"), make_record(launch_bound=True)], path)
    with path.open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))

    def restored(text: str, value: object) -> object:
        return type(value)(text) if isinstance(value, int | float) and not isinstance(value, bool) else text

    for column, value in full.to_row().items():
        expected = "" if value is None else str(value) if isinstance(value, bool) else value
        assert restored(row[column], value) == expected, column


def test_frame_keeps_what_is_not_known_apart_from_what_is_not_so(make_record: MakeRecord) -> None:
    frame = to_frame([make_record(launch_bound=known) for known in (True, False, None)])
    assert frame["launch_bound"].dtype == "boolean"
    assert frame["launch_bound"].isna().tolist() == [False, False, True]
    assert frame["launch_bound"].sum() == 1


def test_summary_compares_the_ends_of_the_sweep_with_the_baseline(make_record: MakeRecord) -> None:
    records = [
        make_record("kda/fla", 10.0, gpu_ms=0.3, latency_ms=4.0, peak_memory_gib=0.0123),
        make_record("kda/fla", 400.0, gpu_ms=2.64, latency_ms=9.0, peak_memory_gib=0.68),
        make_record("sa/eager", 400.0, gpu_ms=21.1, latency_ms=9.0, peak_memory_gib=6.08, parameters=4_196_352),
        make_record("sa/eager", 100.0, gpu_ms=1.5, peak_memory_gib=0.5),
        make_record("sa/eager", 10.0, gpu_ms=0.25, latency_ms=0.5, peak_memory_gib=0.02),
    ]
    assert rows(records) == {
        "kda/fla": ["yes", "20.02", "0.300", "2.64", "4.00", "0.0123", "0.680", "0.125", "0.112"],
        "sa/eager": ["no", "4.20", "0.250", "21.1", "0.500", "0.0200", "6.08", "1.00", "1.00"],
    }
    assert list(rows(records)) == ["kda/fla", "sa/eager"]


@pytest.mark.parametrize(
    ("latency", "cell"), [(0.0, "0.00"), (0.00123456, "0.00123"), (9.996, "10.0"), (499.5, "500"), (12345.0, "12300")]
)
def test_summary_gives_three_significant_digits(make_record: MakeRecord, latency: float, cell: str) -> None:
    assert rows([make_record("kda/fla", latency_ms=latency)])["kda/fla"][2] == cell


def test_summary_shows_the_status_in_place_of_a_figure(make_record: MakeRecord) -> None:
    records = [make_record("kda/fla"), make_record("kda/fla", 400.0, status="oom"), make_record("sa/eager", 400.0)]
    assert rows(records)["kda/fla"][2:] == ["2.44", "oom", "0.0155", "oom", "-"]


def test_summary_makes_up_nothing_where_figures_are_missing(make_record: MakeRecord) -> None:
    records = [
        make_record("sa/eager", 10.0),
        make_record("sa/eager", 400.0, peak_memory_gib=None),
        make_record("kda/fla", 400.0),
        make_record("gsa/fla", 400.0, status="unavailable", parameters=None),
    ]
    table = rows(records)
    assert table["sa/eager"][-2:] == ["-", "-"]
    assert table["kda/fla"] == ["yes", "20.02", "-", "4.20", "-", "0.620", "-"]
    assert table["gsa/fla"] == ["yes", "-", "-", "unavailable", "-", "unavailable", "-"]


def test_summary_shows_the_gpus_own_time_and_marks_what_is_launch_bound(make_record: MakeRecord) -> None:
    records = [
        make_record("sa/eager", 10.0, latency_ms=0.7, gpu_ms=0.2, launch_bound=True),
        make_record("sa/eager", 400.0, latency_ms=40.0, gpu_ms=39.5, launch_bound=False, peak_memory_gib=1.0),
        make_record("kda/fla", 10.0, latency_ms=5.0, gpu_ms=None, launch_bound=None),
        make_record("kda/fla", 400.0, latency_ms=5.5, gpu_ms=4.6, launch_bound=True, peak_memory_gib=0.5),
        make_record("gsa/fla", 400.0, status="oom"),
    ]
    table = rows(records)
    assert table["sa/eager"][2:5] == ["0.200", "39.5", "0.700*"]
    assert table["kda/fla"][2:5] == ["-", "4.60", "5.00"]
    assert table["gsa/fla"][2:] == ["-", "oom", "-", "-", "oom", "-", "-"]
    assert table["kda/fla"][-2:] == ["0.116", "0.500"]
    text = render(records, width=80)
    assert "*: launch-bound: the host takes longer to issue the call than the GPU to run it" in text
    assert "GPU ms: the GPU alone" in text
    assert "call: ms of a single call from Python on this host, of one process" in text
    assert "as a multiple of sa/eager's by GPU time" in text


@pytest.mark.parametrize(
    ("clocks", "words"),
    [
        (("graph", "graph"), "by replays of a CUDA graph"),
        (("queue", "graph"), "by replays of a CUDA graph and calls behind a full launch queue"),
        (("calls", "calls"), "by single calls"),
        (("", ""), "by calls behind a full launch queue"),  # records of schema version 3
    ],
)
def test_summary_says_how_the_gpus_time_was_taken(make_record: MakeRecord, clocks: tuple[str, str], words: str) -> None:
    both = zip((10.0, 400.0), clocks, strict=True)
    records = [make_record("kda/fla", seconds, gpu_ms=4.6, gpu_clock=clock) for seconds, clock in both]
    assert f"GPU ms: the GPU alone, {words}\n" in re.sub(" +\n", "\n", render(records, width=120))


def test_summary_explains_only_what_it_shows(make_record: MakeRecord, gpu_sweep: Sequence[Record]) -> None:
    text = render([make_record("kda/fla", 10.0), make_record("kda/fla", 400.0)], width=80)
    assert "GPU" not in text
    assert "*" not in text
    assert "~" not in text
    middle = [record for record in gpu_sweep if record.name == "sa/eager" and record.seconds > 10]
    assert "*" in render(middle, width=80)
    assert "*" not in render(middle[2:], width=80)
    assert "GPU ms" in render(middle[2:], width=80)


@pytest.mark.parametrize("device_type", ["cuda", "cpu"])
def test_summary_marks_and_counts_what_did_not_converge(make_record: MakeRecord, device_type: str) -> None:
    gpu = {"gpu_ms": 2.0} if device_type == "cuda" else {}
    records = [
        make_record("sa/eager", seconds, converged=converged, device_type=device_type, **gpu)
        for seconds, converged in ((10.0, False), (50.0, False), (100.0, None), (400.0, True))
    ]
    records.append(make_record("kda/fla", 400.0, status="oom", converged=None, device_type=device_type))
    assert [cell.startswith("~") for cell in rows(records)["sa/eager"][2:4]] == [True, False]
    assert "~: 2 of 4 cases are less precise than asked for" in render(records, width=80)
    assert "~: 1 of 3 cases is less precise than asked for" in render(records[1:], width=80)
    assert "~" not in render(records[2:], width=80)


def test_summary_on_a_cpu_compares_times_only_if_five_processes_took_them(make_record: MakeRecord) -> None:
    calls = {"latency_ms": 5.0, "latency_ms_low": 4.0, "latency_ms_high": 12.0}
    for processes, multiples, spread in ((1, 1, False), (4, 1, True), (5, 2, True)):
        changes = {"device_type": "cpu", "processes": processes} | (calls if spread else {})
        text = render([make_record(name, 10.0, **changes) for name in ("sa/reference", "kda/reference")], width=100)
        assert text.count("x ms") + text.count("x GiB") == multiples
        assert ("No conclusion from single calls: they are of" in text) is (processes < 5)
        assert text.count("5.00 4.0-12") == (2 if spread else 0)


def test_summary_shows_the_spread_of_single_calls_between_processes(make_record: MakeRecord) -> None:
    spread = {"latency_ms": 0.5, "latency_ms_low": 0.42, "latency_ms_high": 15.4, "processes": 5}
    records = [make_record("sa/eager", seconds, gpu_ms=0.3, launch_bound=True, **spread) for seconds in (10.0, 400.0)]
    assert rows(records)["sa/eager"][4:6] == ["0.500*", "0.4-15"]
    text = render(records, width=80)
    assert "median of 5 processes, and" in text
    assert "…" not in text


def test_summary_of_one_length_says_it_once(make_record: MakeRecord) -> None:
    records = [make_record("sa/reference", 2.5), make_record("kda/reference", 2.5)]
    assert "2.5 s" in headers(records)
    assert len(rows(records)["kda/reference"]) == 2 + 2 + 1


def test_the_baseline_is_eager_attention_then_its_reference_then_none(make_record: MakeRecord) -> None:
    kda, reference, eager = (make_record(name) for name in ("kda/fla", "sa/reference", "sa/eager"))
    assert "as a multiple of sa/eager's" in render([kda, reference, eager], width=80)
    assert "as a multiple of sa/reference's" in render([kda, reference], width=80)
    assert "multiple" not in render([kda, make_record("sa/sdpa")], width=80)


def test_the_title_states_the_setting_and_a_cpu_is_no_gpu(make_record: MakeRecord) -> None:
    gpu = render([make_record(device="NVIDIA H200 [MIG 1g]")], width=80)
    assert "NVIDIA H200 [MIG 1g], bfloat16, matched preset, inference" in gpu
    assert "CPU" not in gpu
    cpu = render([make_record("sa/reference", device="AMD EPYC", device_type="cpu", precision="float32")], width=80)
    assert "AMD EPYC, float32, matched preset, inference" in cpu
    assert "Measured on the CPU, in plain PyTorch: no guide to GPU speed" in cpu


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"execution": "graph"}, "inference, graph execution"),
        ({"execution": "compile", "cache": "cold"}, "inference, compile execution, cold cache"),
        ({"cache": "cold"}, "inference, cold cache"),
        ({"direction": "both", "width": 512}, "inference, both direction, width 512"),
        ({"input": "3 recordings through xlsr-random"}, "inference, 3 recordings through xlsr-random"),
    ],
)
def test_the_title_names_what_is_unusual(make_record: MakeRecord, change: dict[str, object], said: str) -> None:
    assert title_of([make_record(**change)]) == f"NVIDIA H200, bfloat16, matched preset, {said}"


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("implementation", ["fla", "reference"])
@pytest.mark.parametrize("width", [80, 120])
def test_summary_is_whole_in_a_terminal(make_record: MakeRecord, implementation: str, width: int, on_gpu: bool) -> None:
    names = ["sa/reference", *(f"{mixer}/{implementation}" for mixer in ("retnet", "lightnet", "gsa", "fox", "kda"))]
    gpu = {"gpu_ms": 0.123, "launch_bound": True, "peak_memory_gib": 0.00988} if on_gpu else {}
    records = [make_record(name, seconds, **gpu) for name in names for seconds in (10.0, 400.0)]
    text = render(records, width=width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    captions = 4 if on_gpu else 3
    assert len(text.splitlines()) == 1 + 3 + len(names) + captions  # title, headers, rule; no row wraps


def test_failures_joins_neighbouring_lengths_that_failed_alike(make_record: MakeRecord) -> None:
    records = [
        make_record("sa/eager", 100.0, status="oom", error="out of\n  memory"),
        make_record("kda/fla", 50.0, status="unavailable"),
        make_record("sa/eager", 75.0, status="oom", error="out of\n  memory"),
        make_record("sa/eager", 50.0, status="oom", error="out of\n  memory"),
        make_record("sa/eager", 150.0),
        make_record("sa/eager", 200.0, status="oom", error="out of\n  memory"),
        make_record("sa/eager", 250.5, status="skipped", error="would not fit"),
    ]
    assert failures(records) == [
        "sa/eager at 50, 75 and 100 s: oom: out of memory",
        "sa/eager at 200 s: oom: out of memory",
        "sa/eager at 250.5 s: skipped: would not fit",
        "kda/fla at 50 s: unavailable",
    ]


ON_GPU = (
    "OutOfMemoryError: CUDA out of memory. Tried to allocate {gib:.2f} GiB. GPU 0 has a total capacity of 139.81 GiB "
    "of which {gib} GiB is free. Including non-PyTorch memory, this process has 1.00 GiB memory in use."
)
ON_HOST = (
    "RuntimeError: [enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
    "to allocate {gib}000000000 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (ON_GPU, "OutOfMemoryError: CUDA out of memory"),
        (
            ON_HOST,
            "RuntimeError: [enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory",
        ),
        ("CUDA error: out of memory", "CUDA error: out of memory"),
        ("", ""),
    ],
)
def test_failures_says_how_much_was_asked_for_and_what_fits(make_record: MakeRecord, message: str, said: str) -> None:
    def oom(seconds: float, gib: float, fitting: float | None = 281.9) -> Record:
        error = message.format(gib=gib)
        return make_record(
            "sa/eager",
            seconds,
            status="oom",
            error=error,
            oom_requested_gib=gib,
            longest_fitting_seconds=fitting,
        )

    cause = f": {said}" if said else ""
    assert failures([oom(300.0, 11.918), oom(400.0, 21.2), oom(350.0, 16.2)]) == [
        f"sa/eager at 300, 350 and 400 s: oom{cause} (11.9 to 21.2 GiB asked for; up to 281 s fit)"
    ]
    assert failures([oom(300.0, 11.918), oom(350.0, 11.92)]) == [
        f"sa/eager at 300 and 350 s: oom{cause} (11.9 GiB asked for; up to 281 s fit)"
    ]
    assert failures([oom(300.0, 11.9, None), oom(350.0, 16.2, 2.539)]) == [
        f"sa/eager at 300 s: oom{cause} (11.9 GiB asked for)",
        f"sa/eager at 350 s: oom{cause} (16.2 GiB asked for; up to 2.53 s fit)",
    ]
    assert failures([oom(1.0, 16.2, 0.0)]) == [f"sa/eager at 1 s: oom{cause} (16.2 GiB asked for; no length fits)"]


def test_only_what_ran_out_of_memory_has_its_message_cut(make_record: MakeRecord) -> None:
    record = make_record("kda/fla", status="failed", error="Error: A. Tried to allocate 1 GiB. B")
    assert failures([record]) == ["kda/fla at 10 s: failed: Error: A. Tried to allocate 1 GiB. B"]
    record = make_record("kda/fla", status="oom", error="out of memory", longest_fitting_seconds=10.0)
    assert failures([record]) == ["kda/fla at 10 s: oom: out of memory (up to 10 s fit)"]


def test_failures_of_a_clean_sweep_are_none(sweep: Sequence[Record]) -> None:
    assert failures(sweep) == []


def test_without_a_figure_there_is_nothing_to_say_below_the_table(make_record: MakeRecord) -> None:
    assert summary([make_record("kda/fla", status="failed", device_type="cpu")]).caption is None
