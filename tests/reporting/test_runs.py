"""`sbench runs`: what is below a folder, and how far it has come."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.efficiency.settings import Contestant, Plan
from bench.efficiency.store import RECORDS_FILE, SAMPLES_FILE, Header, append_record, start
from bench.reporting.runs import Found, find
from tests.accuracy.made_up import draw, write_probe, write_run
from tests.conftest import Sbench
from tests.reporting.efficiency.conftest import make_up_record

LENGTHS = (10.0, 25.0, 50.0)


def write_sweep(folder: Path, *, measured: int, processes: int = 1) -> None:
    records = [make_up_record("kda/fla", seconds) for seconds in LENGTHS]
    contestant = Contestant(mixer="kda", implementation="fla", setting=records[0].setting)
    plan = Plan(
        contestants=(contestant,),
        seconds=LENGTHS,
        device_type="cuda",
        seed=0,
        time_budget_s=None,
        processes=processes,
    )
    start(Header(plan=plan, environment={"device": "NVIDIA H200"}), folder)
    for record in records[:measured]:
        append_record(folder, record)


def write_training(folder: Path, *, epochs: int, scored: bool = False) -> None:
    results = {("test1", "sa", 0): draw(truth_seed=0, seed=0)} if scored else {}
    write_run(folder, results)
    if epochs:
        (folder / "metrics.jsonl").write_text(json.dumps({"epoch": epochs, "step": 0}) + "\n")


@pytest.fixture
def examined(tmp_path: Path) -> Callable[[], Found]:
    """Return a function that finds the only sweep, training or probe."""

    def examine() -> Found:
        (found,) = find(tmp_path)
        return found

    return examine


def test_a_sweep_begins_with_its_first_case_whatever_the_dates_of_its_files(
    tmp_path: Path, examined: Callable[[], Found]
) -> None:
    write_sweep(tmp_path / "a", measured=0)
    append_record(tmp_path / "a", make_up_record("kda/fla", 50.0, started_at="no date"))
    for hour, seconds in ((12, 10.0), (9, 25.0)):
        append_record(
            tmp_path / "a", make_up_record("kda/fla", seconds, started_at=f"2026-02-03T{hour:02}:10:11+00:00")
        )
    begun = datetime(2026, 2, 3, 9, 10, 11, tzinfo=UTC).astimezone().replace(tzinfo=None)
    assert examined().begun == begun.isoformat()


@pytest.mark.parametrize(
    ("measured", "processes", "state", "done", "total"),
    [(0, 1, "interrupted", 0, 3), (2, 1, "interrupted", 2, 3), (3, 1, "finished", 3, 3), (3, 2, "interrupted", 3, 6)],
)
def test_a_sweep(
    tmp_path: Path,
    examined: Callable[[], Found],
    measured: int,
    processes: int,
    state: str,
    done: int,
    total: int,
) -> None:
    folder = tmp_path / "some where" / "a"
    write_sweep(folder, measured=measured, processes=processes)
    if measured:
        with (folder / RECORDS_FILE).open("a") as file:
            file.write('{"mixer": "k')  # a kill cut it off
    found = examined()
    assert (found.folder, found.kind, found.state) == (str(folder), "sweep", state)
    assert (found.done, found.total) == (done, total)
    assert found.resume == (f"sbench sweep --resume '{folder}'" if state == "interrupted" else "")


@pytest.mark.parametrize(
    ("epochs", "scored", "state"),
    [(0, False, "interrupted"), (7, True, "interrupted"), (20, False, "finished"), (20, True, "scored")],
)
def test_a_training(tmp_path: Path, examined: Callable[[], Found], epochs: int, scored: bool, state: str) -> None:
    write_training(tmp_path / "run", epochs=epochs, scored=scored)
    found = examined()
    assert (found.kind, found.state, found.done, found.total) == ("training", state, epochs, 20)
    assert found.scored == (("test1",) if scored else ())
    assert found.resume == (f"sbench train --resume {tmp_path / 'run'}" if state == "interrupted" else "")


def test_a_probe(tmp_path: Path, examined: Callable[[], Found]) -> None:
    write_probe(tmp_path / "probe" / "fold-1", {"test": draw(truth_seed=0, seed=0)})
    found = examined()
    assert (found.kind, found.state, found.scored) == ("probe", "scored", ("test",))


def test_what_a_process_writes_is_running(tmp_path: Path, examined: Callable[[], Found]) -> None:
    folder = tmp_path / "run"
    write_sweep(folder, measured=2)
    hold = "import sys, pathlib, bench.locking as l\nwith l.writing(pathlib.Path(sys.argv[1])): print(); input()"
    command = [sys.executable, "-c", hold, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        found = examined()
        assert (found.state, found.done, found.resume) == ("running", 2, "")
        assert f"process {process.pid} " in found.holder
        process.kill()
    assert examined().state == "interrupted"


def test_what_is_damaged_says_why(tmp_path: Path, examined: Callable[[], Found]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{")
    found = examined()
    assert found.state == "damaged"
    assert "run.json is damaged: Invalid JSON" in found.problem


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"garbage": 1}\n', "line 2: not a whole record"),
        (b"\xff\xfe\x00\n", "line 2: not a whole record"),
        (json.dumps(make_up_record().to_row() | {"schema_version": 99}).encode() + b"\n", "schema version 99"),
        (b'{"schema_version": 9}\n', "line 2: missing: mixer"),
        (None, "is recorded for a second time"),
    ],
    ids=["another object", "not UTF-8", "another schema", "columns missing", "doubled"],
)
def test_a_sweep_whose_records_cannot_be_read_is_damaged(
    tmp_path: Path, examined: Callable[[], Found], line: bytes | None, problem: str
) -> None:
    write_sweep(tmp_path / "run", measured=3)
    records = tmp_path / "run" / RECORDS_FILE
    lines = records.read_bytes().splitlines(keepends=True)
    records.write_bytes(b"".join([lines[0], line or lines[0], lines[2]]))
    found = examined()
    assert (found.state, found.resume) == ("damaged", "")
    assert problem in found.problem


def test_a_sweep_of_several_processes_whose_samples_cannot_be_read_is_damaged(
    tmp_path: Path, examined: Callable[[], Found]
) -> None:
    write_sweep(tmp_path / "run", measured=3, processes=2)
    (tmp_path / "run" / SAMPLES_FILE).write_text('{"process": 2}\n' * 3)
    found = examined()
    assert (found.state, "line 1: no samples" in found.problem) == ("damaged", True)


@pytest.mark.parametrize("columns", [30, 100])
def test_the_table_has_whole_names_and_the_commands_that_continue(
    sbench: Sbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    write_sweep(tmp_path / "runs" / "2026-01-31T12-00-00", measured=2)
    write_training(tmp_path / "runs" / "train-2026-01-31T12-00-00", epochs=20, scored=True)
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, _ = sbench("runs")
    assert code == 0
    table, _, commands = out.partition("To continue:\n")
    assert commands == "  sbench sweep --resume runs/2026-01-31T12-00-00\n"
    width = re.search("─+", table)
    assert width
    assert len(width[0]) <= columns
    first = "".join(line.split(" ")[0] for line in table.splitlines()[2:])
    assert first == "runs/2026-01-31T12-00-00runs/train-2026-01-31T12-00-00"
    assert ("interrupted at 2 of 3 cases" in table) == (columns == 100)
    assert ("scored: test1" in table) == (columns == 100)


def test_nothing_is_said_to_be_nothing(sbench: Sbench, tmp_path: Path) -> None:
    code, _, err = sbench("runs")
    assert (code, err.startswith("sbench: no such folder: runs\n")) == (2, True)
    (tmp_path / "file").write_text("")
    code, _, err = sbench("runs", "file")
    assert (code, err.startswith("sbench: file is not a folder\n")) == (2, True)
    (tmp_path / "runs").mkdir()
    assert sbench("runs")[1] == "runs holds no sweep, training or probe\n"
    assert sbench("runs", "--json")[1] == "[]\n"
