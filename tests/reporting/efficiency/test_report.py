import dataclasses
import itertools
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest

import bench.reporting
from bench.efficiency.records import Record
from bench.efficiency.settings import Contestant, Plan
from bench.efficiency.store import RECORDS_FILE, Header, append_record, start
from bench.reporting.efficiency.directions import can_be_drawn
from bench.reporting.efficiency.figure2 import draw_figure2
from bench.reporting.efficiency.frame import write_csv
from bench.reporting.efficiency.report import write_figures, write_report
from mixers.support.errors import UserError
from tests.reporting.efficiency.conftest import MakeRecord

Write = Callable[[Sequence[Record], Path], None]

WITHOUT_TORCH = """
import sys
from pathlib import Path
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "triton", "fla", "transformers"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from bench.reporting.efficiency.report import write_figures, write_report
write_figures(Path(sys.argv[1]))
write_report([Path(sys.argv[1])], Path(sys.argv[1]) / "whole")
assert "matplotlib.pyplot" not in sys.modules
"""


@pytest.fixture
def folder(tmp_path: Path, make_record: MakeRecord) -> Path:
    for name in ("sa/eager", "kda/fla"):
        append_record(tmp_path, make_record(name))
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_after_a_sweep_a_csv_and_a_figure_are_beside_the_records(folder: Path) -> None:
    records = write_figures(folder)
    assert [record.name for record in records] == ["sa/eager", "kda/fla"]
    assert names(folder) == {RECORDS_FILE, "results.csv", "figure2.png"}
    assert len((folder / "results.csv").read_text(encoding="utf-8").splitlines()) == 3
    assert (folder / "figure2.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_is_in_the_order_of_the_plan_whatever_was_measured_first(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    planned = [make_record(name, seconds) for name in ("sa/eager", "kda/fla") for seconds in (100.0, 200.0)]
    plan = Plan(
        contestants=tuple(
            Contestant(mixer=each.mixer, implementation=each.implementation, setting=each.setting)
            for each in planned[::2]
        ),
        seconds=(100.0, 200.0),
        device_type="cuda",
        seed=0,
        time_budget_s=None,
    )
    start(Header(plan=plan, environment={}), tmp_path / "sweep")
    for record in reversed(planned):
        append_record(tmp_path / "sweep", record)
    assert write_figures(tmp_path / "sweep") == write_report([tmp_path / "sweep"], tmp_path / "out") == planned
    assert list(pd.read_csv(tmp_path / "sweep" / "results.csv")["mixer"]) == ["sa", "sa", "kda", "kda"]


def test_a_whole_report_has_figures_tables_and_claims(gpu_sweep: Sequence[Record], tmp_path: Path) -> None:
    for record in gpu_sweep:
        append_record(tmp_path, dataclasses.replace(record, floor_ms=0.1))
    write_report([tmp_path], tmp_path / "out")
    assert names(tmp_path / "out") == {
        "single-calls.png",
        "single-calls.pdf",
        "results.csv",
        "claims.md",
        "tables",
        *(f"{figure}.{suffix}" for figure in ("figure2", "overview", "floors") for suffix in ("png", "pdf")),
    }
    tables = ("costs", "growth", "crossings", "floors", "capacities", "choices")
    assert names(tmp_path / "out" / "tables") == {
        f"{table}.{kind}" for table in tables for kind in ("csv", "md", "tex")
    }
    first = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    write_report([tmp_path], tmp_path / "out")
    assert {path: path.read_bytes() for path in first} == first


REFUSAL = "No conclusion from single calls: they are of 1 process. `sbench sweep --processes 5` times them in five.\n"


def test_a_report_says_why_it_concludes_nothing_from_single_calls(tmp_path: Path, gpu_sweep: Sequence[Record]) -> None:
    for kind, changes in (("cuda", {"gpu_clock": "graph"}), ("cpu", {"gpu_ms": None})):
        (tmp_path / kind).mkdir()
        for record in gpu_sweep:
            waits = {"gpu_ms": None} if record.mixer == "gsa" else {}
            append_record(tmp_path / kind, dataclasses.replace(record, device_type=kind, **changes | waits))
        write_report([tmp_path / kind], tmp_path / kind)
    on_gpu, on_cpu = tmp_path / "cuda" / "tables", tmp_path / "cpu" / "tables"
    assert (
        (on_gpu / "crossings.md").read_text().endswith(f"|\n\ngsa/fla is left out: no GPU time is known.\n\n{REFUSAL}")
    )
    assert (on_gpu / "choices.md").read_text().endswith("|\n\ngsa/fla is left out: no GPU time is known.\n")
    assert (on_gpu / "growth.md").read_text().endswith("|\n")
    assert (on_cpu / "choices.md").read_text() == REFUSAL
    assert (on_cpu / "growth.md").read_text().endswith(f"|\n\n{REFUSAL}")
    assert not (on_cpu / "choices.csv").exists()


def test_several_sweeps_make_one_report_with_a_figure_for_each_setting(tmp_path: Path, make_record: MakeRecord) -> None:
    for pass_ in ("inference", "training"):
        (tmp_path / pass_).mkdir()
        for name, seconds in itertools.product(("sa/eager", "kda/fla"), (100.0, 200.0, 400.0)):
            append_record(tmp_path / pass_, make_record(name, seconds, pass_=pass_))
    out = tmp_path / "out"
    assert len(write_report([tmp_path / "inference", tmp_path / "training"], out)) == 12
    assert {"figure2-inference.png", "figure2-training.pdf"} <= names(out)
    growth = pd.read_csv(out / "tables" / "growth.csv")
    assert set(growth["setting"]) == {"inference", "training"}

    with pytest.raises(UserError, match=r"sa/eager at 100 s, .* was measured twice"):
        write_report([tmp_path / "inference", tmp_path / "inference"], out)


@pytest.mark.parametrize(("field", "other"), [("device", "NVIDIA H100 80GB HBM3"), ("input", "speech of clips")])
def test_sweeps_of_other_machines_or_inputs_make_no_report_together(
    tmp_path: Path, make_record: MakeRecord, field: str, other: str
) -> None:
    for folder, record in (("a", make_record("sa/eager")), ("b", make_record("kda/fla", **{field: other}))):
        (tmp_path / folder).mkdir()
        append_record(tmp_path / folder, record)
    with pytest.raises(UserError, match=f"{field}: .*a: .*b: {other}"):
        write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "out")


def test_a_figure_of_fewer_settings_does_not_stay(folder: Path, make_record: MakeRecord) -> None:
    write_report([folder], folder)
    (folder / "figure2-mine.pdf").write_text("the user's own")
    append_record(folder, make_record("kda/fla", pass_="training"))
    write_figures(folder)
    assert {name for name in names(folder) if name.startswith("figure2")} == {
        "figure2-inference.png",
        "figure2-training.png",
        "figure2-mine.pdf",
    }


def test_a_report_needs_neither_torch_nor_pyplot(folder: Path) -> None:
    root = Path(str(bench.reporting.__file__)).parents[2]
    subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT_TORCH, str(folder)], check=True, cwd=root)
    assert names(folder) == {RECORDS_FILE, "results.csv", "figure2.png", "whole"}


def test_directions_stand_side_by_side_at_one_width_only(make_record: MakeRecord) -> None:
    records = [make_record(direction=direction, width=512) for direction in ("causal", "both")]
    assert can_be_drawn(records)
    assert not can_be_drawn([*records, make_record(direction="both", width=1024)])


@pytest.mark.parametrize("blocked", ["results.csv", "figure2.png"])
def test_a_report_that_cannot_be_written_is_the_users_to_mend(folder: Path, blocked: str) -> None:
    (folder / blocked).mkdir()
    for write in (lambda: write_figures(folder), lambda: write_report([folder], folder)):
        with pytest.raises(UserError, match="cannot be written") as refusal:
            write()
        assert str(folder) in str(refusal.value)
        assert "records are safe" in refusal.value.hint
        assert not any(name.startswith(".") for name in names(folder))


def draw_png(records: Sequence[Record], path: Path) -> None:
    draw_figure2(records, path.with_suffix(""))


@pytest.mark.parametrize("write", [write_csv, draw_png])
def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(
    sweep: Sequence[Record], write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.png"
    path.write_text("old")
    write_bytes = Path.write_bytes

    def fill_disk(path: Path, content: bytes) -> int:
        write_bytes(path, content[: len(content) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        write(sweep, path)
    assert names(tmp_path) == {"report.png"}
    assert path.read_text() == "old"


@pytest.mark.parametrize("write", [write_csv, draw_png])
def test_a_missing_folder_is_an_os_error(sweep: Sequence[Record], write: Write, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(sweep, tmp_path / "nowhere" / "report.png")
