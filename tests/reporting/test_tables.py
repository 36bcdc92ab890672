import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.efficiency.records import COLUMNS, Record
from bench.reporting.tables import failures, summary, to_frame, write_csv
from tests.reporting.conftest import MakeRecord


def render(records: Sequence[Record], *, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(summary(records))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return the cells of the table below its headers, by the name in the first column."""
    _, body = render(records, width=200).split("─\n")
    return {line.split()[0]: line.split()[1:] for line in body.splitlines() if "multiple" not in line}


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


def test_summary_compares_the_ends_of_the_sweep_with_the_baseline(make_record: MakeRecord) -> None:
    records = [
        make_record("kda/fla", 10.0, latency_ms=0.3, peak_memory_gib=0.0123),
        make_record("kda/fla", 400.0, latency_ms=2.64, peak_memory_gib=0.68),
        make_record("sa/eager", 400.0, latency_ms=21.1, peak_memory_gib=6.08, parameters=4_196_352),
        make_record("sa/eager", 100.0, latency_ms=1.5, peak_memory_gib=0.5),
        make_record("sa/eager", 10.0, latency_ms=0.25, peak_memory_gib=0.02),
    ]
    assert rows(records) == {
        "kda/fla": ["yes", "20.02", "0.300", "2.64", "0.0123", "0.680", "0.125", "0.112"],
        "sa/eager": ["no", "4.20", "0.250", "21.1", "0.0200", "6.08", "1.00", "1.00"],
    }
    assert list(rows(records)) == ["kda/fla", "sa/eager"]


@pytest.mark.parametrize(
    ("latency", "cell"), [(0.0, "0.00"), (0.00123456, "0.00123"), (9.996, "10.0"), (499.5, "500"), (12345.0, "12300")]
)
def test_summary_gives_three_significant_digits(make_record: MakeRecord, latency: float, cell: str) -> None:
    assert rows([make_record("kda/fla", latency_ms=latency)])["kda/fla"][2] == cell


def test_summary_shows_the_status_in_place_of_a_figure(make_record: MakeRecord) -> None:
    records = [make_record("kda/fla"), make_record("kda/fla", 400.0, status="oom"), make_record("sa/eager", 400.0)]
    assert rows(records)["kda/fla"][2:] == ["2.44", "oom", "0.0155", "oom", "-", "-"]


def test_summary_makes_up_nothing_where_figures_are_missing(make_record: MakeRecord) -> None:
    records = [
        make_record("sa/eager", 10.0),
        make_record("sa/eager", 400.0, peak_memory_gib=None),
        make_record("kda/fla", 400.0),
        make_record("gsa/fla", 400.0, status="unavailable", parameters=None),
    ]
    table = rows(records)
    assert table["sa/eager"][-3:] == ["-", "1.00", "-"]
    assert table["kda/fla"] == ["yes", "20.02", "-", "4.20", "-", "0.620", "0.190", "-"]
    assert table["gsa/fla"] == ["yes", "-", "-", "unavailable", "-", "unavailable", "-", "-"]


def test_summary_of_one_length_says_it_once(make_record: MakeRecord) -> None:
    records = [make_record("sa/reference", 2.5), make_record("kda/reference", 2.5)]
    assert "2.5 s" in headers(records)
    assert len(rows(records)["kda/reference"]) == 2 + 2 + 2


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


@pytest.mark.parametrize("implementation", ["fla", "reference"])
@pytest.mark.parametrize("width", [80, 120])
def test_summary_is_whole_in_a_terminal(make_record: MakeRecord, implementation: str, width: int) -> None:
    names = ["sa/reference", *(f"{mixer}/{implementation}" for mixer in ("retnet", "lightnet", "gsa", "fox", "kda"))]
    records = [make_record(name, seconds) for name in names for seconds in (10.0, 400.0)]
    text = render(records, width=width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    assert len(text.splitlines()) == 1 + 3 + 1 + len(names)  # title, headers, rule; no row wraps


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


def test_failures_of_a_clean_sweep_are_none(sweep: Sequence[Record]) -> None:
    assert failures(sweep) == []
