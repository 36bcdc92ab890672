import dataclasses
import json
import math
import tempfile
import typing
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.efficiency.records import READABLE_VERSIONS, SCHEMA_VERSION, Record, Status
from bench.efficiency.repair import repair
from bench.efficiency.samples import Samples
from bench.efficiency.settings import WIDTH, Contestant, Plan
from bench.efficiency.store import (
    RECORDS_FILE,
    SAMPLES_FILE,
    Header,
    append_record,
    append_samples,
    read_pooled,
    read_records,
    read_samples,
    start,
)
from bench.environment import environment
from mixers.base import MixerConfig
from mixers.support.errors import UserError

finite = st.floats(allow_nan=False, allow_infinity=False)
count = st.integers(min_value=0)

strategies = {
    str: st.text(),
    int: count,
    int | None: st.none() | count,
    float: finite,
    float | None: st.none() | finite,
    bool: st.booleans(),
    bool | None: st.none() | st.booleans(),
    Status: st.sampled_from(typing.get_args(Status)),
}

fields = {name: strategies[declared] for name, declared in typing.get_type_hints(Record).items()}

any_record = st.builds(Record, **(fields | {"schema_version": st.just(SCHEMA_VERSION)}))


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that writes the text as a sweep's records and returns why they are refused."""

    def refuse(text: str) -> str:
        (tmp_path / RECORDS_FILE).write_text(text, encoding="utf-8")
        with pytest.raises(UserError) as refusal:
            read_records(tmp_path)
        assert str(tmp_path / RECORDS_FILE) in str(refusal.value)
        assert refusal.value.hint
        return str(refusal.value)

    return refuse


@given(records=st.lists(any_record, min_size=1, max_size=3, unique_by=lambda record: record.case))
def test_what_is_appended_is_read_back_in_order(records: list[Record]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for record in records:
            append_record(Path(folder), record)
        assert read_records(Path(folder)) == records


@given(record=any_record, data=st.data())
def test_a_line_cut_anywhere_is_refused_with_its_number(record: Record, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / RECORDS_FILE
        append_record(Path(folder), record)
        line = path.read_text(encoding="utf-8")
        cut = data.draw(st.integers(min_value=1, max_value=len(line) - 1))
        path.write_text(line + line[:cut], encoding="utf-8")
        with pytest.raises(UserError, match="line 2: not a whole record"):
            read_records(Path(folder))


def samples_of(record: Record, *latency_ms: float) -> Samples:
    return Samples(name=record.name, setting=record.setting, seconds=record.seconds, latency_ms=list(latency_ms))


def test_samples_are_read_back_in_order(record: Record, tmp_path: Path) -> None:
    samples = samples_of(record, 3.0, 1.0, 2.0)
    append_record(tmp_path, record, samples)
    append_record(tmp_path, dataclasses.replace(record, seconds=record.seconds + 1, status="oom"))
    assert read_samples(tmp_path) == [samples]


@given(record=any_record, cut=st.integers(0, 10**4))
def test_whatever_a_killed_process_left_is_repaired(record: Record, cut: int) -> None:
    """It may be cut off anywhere while it writes the samples and then the record of its second case."""
    record, second = (dataclasses.replace(record, seconds=seconds) for seconds in (10.0, 20.0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = folder / SAMPLES_FILE, folder / RECORDS_FILE
        append_record(folder, record, samples_of(record, 1.0))
        whole = [path.read_bytes() for path in files]
        append_record(folder, second, samples_of(second, 2.0))
        added = [path.read_bytes()[len(before) :] for path, before in zip(files, whole, strict=True)]
        cut = min(cut, sum(map(len, added)))
        for path, before, after in zip(files, whole, added, strict=True):
            path.write_bytes(before + after[:cut])
            cut -= min(cut, len(after))
        finished = files[1].read_bytes() == whole[1] + added[1]

        repair(folder)
        assert read_records(folder) == ([record, second] if finished else [record])
        assert [samples.latency_ms for samples in read_samples(folder)] == ([[1.0], [2.0]] if finished else [[1.0]])
        if not finished:
            append_record(folder, second, samples_of(second, 3.0))
        assert read_records(folder) == [record, second]


def test_a_process_killed_at_its_first_record_leaves_nothing_once_repaired(record: Record, tmp_path: Path) -> None:
    append_record(tmp_path, record, samples_of(record, 1.0))
    (tmp_path / RECORDS_FILE).write_text((tmp_path / RECORDS_FILE).read_text()[:50])
    repair(tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"", b""]


@pytest.mark.parametrize("fault", ["no samples", "cut samples", "lost samples", "doubled", "copied", "damaged"])
def test_what_is_not_whole_is_removed_and_counted_to_be_measured_again(
    record: Record, tmp_path: Path, fault: str
) -> None:
    first, second, third = (
        dataclasses.replace(record, seconds=seconds, status="ok", latency_ms=5.0) for seconds in (10.0, 20.0, 30.0)
    )
    for each in (first, second, third):
        append_record(tmp_path, each, samples_of(each, 5.0))
    records, samples = tmp_path / RECORDS_FILE, tmp_path / SAMPLES_FILE
    lines, times = (path.read_bytes().splitlines(keepends=True) for path in (records, samples))
    if fault == "doubled":
        append_record(tmp_path, dataclasses.replace(third, latency_ms=6.0), samples_of(third, 6.0))
    elif fault == "copied":
        records.write_bytes(b"".join(lines * 2))
    elif fault == "damaged":
        records.write_bytes(lines[0] + b"{\n" + lines[1])
    elif fault == "lost samples":
        samples.unlink()
    else:
        samples.write_bytes(b"".join(times[:2]) + (times[2][:20] if fault == "cut samples" else b""))
    if fault in ("doubled", "copied"):
        with pytest.raises(UserError, match=r"line 4: .* is recorded for a second time") as refusal:
            read_records(tmp_path)
        assert f"sbench sweep --resume {tmp_path}" in refusal.value.hint
    whole = repair(tmp_path)
    assert (
        whole.lost
        == {
            "no samples": {"records without samples": 1},
            "cut samples": {"records without samples": 1},
            "lost samples": {"records without samples": 3},
            "doubled": {"two records of a case": 1},
            "copied": {},
            "damaged": {"damaged records": 1},
        }[fault]
    )
    kept = {"lost samples": [], "copied": [first, second, third]}.get(fault, [first, second])
    assert whole.records == (read_records(tmp_path) if kept else []) == kept
    if kept:
        assert whole.samples == read_samples(tmp_path) == [samples_of(each, 5.0) for each in kept]
    assert repair(tmp_path).lost == {}


def test_a_cut_record_names_the_command_that_repairs_it(refused: Callable[[str], str], tmp_path: Path) -> None:
    refused('{"mixer": "sa"')
    with pytest.raises(UserError) as refusal:
        read_records(tmp_path)
    assert refusal.value.hint.endswith(f"sbench sweep --resume {tmp_path}")


@pytest.mark.parametrize(
    "damaged",
    [b'{"garbage": 1}\n', b'{"schema_version": null}\n', b"\xff\xfe\x00\n", "a byte"],
    ids=["another object", "no version", "not UTF-8", "a byte"],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_line_that_is_no_record_is_repaired_by_the_command_that_the_error_names(
    record: Record, tmp_path: Path, damaged: bytes | str, place: int
) -> None:
    every = [dataclasses.replace(record, seconds=seconds, status="ok", mixer="kda") for seconds in (10.0, 20.0)]
    for each in every:
        append_record(tmp_path, each, samples_of(each, 5.0))
    lines = (tmp_path / RECORDS_FILE).read_bytes().splitlines(keepends=True)
    lines[place] = lines[place].replace(b"kda", b"k\xffa") if isinstance(damaged, str) else damaged
    (tmp_path / RECORDS_FILE).write_bytes(b"".join(lines))
    with pytest.raises(UserError, match=f"line {place + 1}: not a whole record") as refusal:
        read_records(tmp_path)
    assert refusal.value.hint.endswith(f"sbench sweep --resume {tmp_path}")
    assert repair(tmp_path).lost == {"damaged records": 1}
    assert read_records(tmp_path) == [every[1 - place]]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_that_is_no_number_is_not_written(record: Record, value: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        append_record(tmp_path, dataclasses.replace(record, latency_ms=value), samples_of(record))
    assert not list(tmp_path.iterdir())


def test_a_whole_number_of_seconds_is_read_as_a_float(record: Record, tmp_path: Path) -> None:
    (tmp_path / RECORDS_FILE).write_text(json.dumps(record.to_row() | {"seconds": 10}) + "\n", encoding="utf-8")
    [read] = read_records(tmp_path)
    assert isinstance(read.seconds, float)
    assert read.seconds == 10


@pytest.mark.parametrize("line", ["", "{", "[]", "null", "not JSON", '{"mixer": "sa",}'])
def test_damaged_json_names_the_line(record: Record, line: str, refused: Callable[[str], str]) -> None:
    good = json.dumps(record.to_row())
    assert "line 2: not a whole record" in refused(f"{good}\n{line}\n{good}\n")


def test_another_schema_names_both_versions(record: Record, refused: Callable[[str], str]) -> None:
    row = record.to_row() | {"schema_version": 999}
    assert f"line 1: schema version 999, this sbench reads {', '.join(map(str, READABLE_VERSIONS))}" in refused(
        json.dumps(row) + "\n"
    )


@pytest.mark.parametrize("version", READABLE_VERSIONS[:-1])
def test_older_records_are_of_the_presets_width(record: Record, tmp_path: Path, version: int) -> None:
    row = record.to_row() | {"schema_version": version}
    del row["width"]
    (tmp_path / RECORDS_FILE).write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert [read.width for read in read_records(tmp_path)] == [WIDTH] == [MixerConfig().width]


def test_missing_and_unknown_columns_are_named(record: Record, refused: Callable[[str], str]) -> None:
    row = record.to_row() | {"colour": "red"}
    del row["frames"], row["pass"]
    assert "line 1: missing: pass, frames; unknown: colour" in refused(json.dumps(row) + "\n")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("seconds", "10"),
        ("seconds", None),
        ("seconds", True),
        ("frames", 499.0),
        ("frames", True),
        ("parameters", 2.5),
        ("latency_ms", float("nan")),
        ("latency_ms", float("-inf")),
        ("latency_ms", 10**400),
        ("latency_ms", []),
        ("status", "fine"),
        ("status", None),
        ("causal", 1),
        ("error", None),
    ],
)
def test_ill_typed_columns_are_named(record: Record, column: str, value: object, refused: Callable[[str], str]) -> None:
    row = record.to_row() | {column: value}
    assert refused(json.dumps(row) + "\n").endswith(f"line 1: ill-typed: {column}")


def test_an_empty_file_is_refused(refused: Callable[[str], str]) -> None:
    assert "holds no record" in refused("")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / RECORDS_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="line 1: not a whole record"):
        read_records(tmp_path)


def test_a_missing_folder_a_file_and_a_folder_without_records_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        read_records(tmp_path / "nowhere")
    with pytest.raises(UserError, match=rf"holds no {RECORDS_FILE}"):
        read_records(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is not a folder"):
        read_records(tmp_path / "file")


def test_single_calls_of_several_processes_are_one_figure(record: Record, tmp_path: Path) -> None:
    """The second case was cut off in its second process, the third one is of one process."""
    first, second, third = (dataclasses.replace(record, status="ok", seconds=seconds) for seconds in (1.0, 2.0, 3.0))
    setting = record.setting
    contestant = Contestant(mixer=record.mixer, implementation=record.implementation, setting=setting)
    plan = Plan(
        contestants=(contestant,), seconds=(1.0, 2.0, 3.0), device_type="cpu", seed=0, time_budget_s=None, processes=3
    )
    folder = tmp_path / "run"
    start(Header(plan=plan, environment={}), folder)
    for each, times in ((first, [1.0, 1.0, 9.0]), (second, [4.0]), (third, [5.0])):
        append_record(folder, each, samples_of(each, *times))
    for process, each, times in ((3, first, [4.0]), (2, first, [2.0, 2.0]), (2, second, [6.0])):
        append_samples(folder, dataclasses.replace(samples_of(each, *times), process=process))

    pooled = read_pooled(folder)
    assert [(each.processes, each.latency_ms, each.latency_ms_low, each.latency_ms_high) for each in pooled] == [
        (3, 2.0, 1.0, 4.0),
        (2, 5.0, 4.0, 6.0),
        (record.processes, record.latency_ms, record.latency_ms_low, record.latency_ms_high),
    ]
    assert [each.samples for each in pooled] == [6, 2, record.samples]
    assert pooled[0].latency_ms_mean == pytest.approx(19 / 6)
    assert pooled[1].latency_error == pytest.approx(math.sqrt(math.pi / 2) * 1.0 / 5.0)
    assert [each.gpu_ms for each in pooled] == [record.gpu_ms] * 3
    assert read_records(folder) == [first, second, third]


def test_a_sweep_of_one_process_is_read_without_its_samples(record: Record, tmp_path: Path) -> None:
    append_record(tmp_path, record)
    (tmp_path / SAMPLES_FILE).write_text("damaged")
    assert read_pooled(tmp_path) == [record]


def test_another_version_of_a_package_with_kernels_is_another_environment() -> None:
    now = environment("cpu")
    plan = Plan(contestants=(), seconds=(1.0,), device_type="cpu", seed=0, time_budget_s=None)
    header = Header(plan=plan, environment=now | {"flash-qla": "0.0.1"})
    assert header.changes(now) == [f"flash-qla '0.0.1' then, {now['flash-qla']!r} now"]
