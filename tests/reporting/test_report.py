import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import bench.reporting
from bench.efficiency.records import RECORDS_FILE, Record, append_record
from bench.reporting.figures import draw_figure2
from bench.reporting.report import write_report
from bench.reporting.tables import write_csv
from mixers.errors import UserError
from tests.reporting.conftest import MakeRecord

Write = Callable[[Sequence[Record], Path], None]

WITHOUT_TORCH = """
import sys
from pathlib import Path
sys.modules.update(dict.fromkeys(["torch", "triton", "fla", "transformers"]))
from bench.reporting.report import write_report
write_report(Path(sys.argv[1]))
assert "matplotlib.pyplot" not in sys.modules
"""


@pytest.fixture
def folder(tmp_path: Path, make_record: MakeRecord) -> Path:
    for name in ("sa/eager", "kda/fla"):
        append_record(tmp_path, make_record(name))
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_report_is_a_csv_and_a_figure_beside_the_records(folder: Path) -> None:
    records = write_report(folder)
    assert [record.name for record in records] == ["sa/eager", "kda/fla"]
    assert names(folder) == {RECORDS_FILE, "results.csv", "figure2.png"}
    assert len((folder / "results.csv").read_text(encoding="utf-8").splitlines()) == 3
    assert (folder / "figure2.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_needs_neither_torch_nor_pyplot(folder: Path) -> None:
    root = Path(str(bench.reporting.__file__)).parents[2]
    subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT_TORCH, str(folder)], check=True, cwd=root)
    assert names(folder) == {RECORDS_FILE, "results.csv", "figure2.png"}


@pytest.mark.parametrize("blocked", ["results.csv", "figure2.png"])
def test_a_report_that_cannot_be_written_is_the_users_to_mend(folder: Path, blocked: str) -> None:
    (folder / blocked).mkdir()
    with pytest.raises(UserError, match="cannot be written") as refusal:
        write_report(folder)
    assert str(folder) in str(refusal.value)
    assert "records are safe" in refusal.value.hint
    assert not any(name.startswith(".") for name in names(folder))


@pytest.mark.parametrize("write", [write_csv, draw_figure2])
def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(
    sweep: Sequence[Record], write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report"
    path.write_text("old")
    write_bytes = Path.write_bytes

    def fill_disk(path: Path, content: bytes) -> int:
        write_bytes(path, content[: len(content) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        write(sweep, path)
    assert names(tmp_path) == {"report"}
    assert path.read_text() == "old"


@pytest.mark.parametrize("write", [write_csv, draw_figure2])
def test_a_missing_folder_is_an_os_error(sweep: Sequence[Record], write: Write, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(sweep, tmp_path / "nowhere" / "report")
