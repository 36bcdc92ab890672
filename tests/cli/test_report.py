"""Reports and comparisons of sweeps, without torch."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.efficiency.store import RECORDS_FILE, SAMPLES_FILE
from tests.cli.commands import FAST
from tests.conftest import Sbench

REPORTS = Path(__file__).parents[2] / "reports"

WITHOUT_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from bench.cli import main
main()
"""


def without_torch(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.usefixtures("quick_sweeps")
def test_report_rebuilds_csv_and_figure_without_torch(sbench: Sbench, tmp_path: Path) -> None:
    sbench("sweep", *FAST, "--output", "run")
    made = {name: (tmp_path / "run" / name).read_bytes() for name in ("results.csv", "figure2.png")}
    for name in made:
        (tmp_path / "run" / name).unlink()
    done = without_torch("report", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert {name: (tmp_path / "run" / name).read_bytes() for name in made} == made
    with (tmp_path / "run" / "results.csv").open() as file:
        assert [row["mixer"] for row in csv.DictReader(file)] == ["sa", "sa", "fox", "fox"]


def add_processes(path: Path) -> None:
    """Let five processes have timed what one has timed."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    every = [line | {"process": process} for process in range(1, 6) for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in every))


@pytest.mark.usefixtures("quick_sweeps")
def test_compare(sbench: Sbench, tmp_path: Path) -> None:
    sbench("sweep", *FAST, "--output", "run")
    shutil.copytree(tmp_path / "run", tmp_path / "same")
    code, _, err = sbench("compare", "run", "same", "--fail-on-slower", "5%")
    assert code == 2
    assert "run and same: no case can be judged: single calls of 1 and 1 processes" in err
    for folder in ("run", "same"):
        add_processes(tmp_path / folder / SAMPLES_FILE)
    code, out, _ = sbench("compare", "run", "same", "--fail-on-slower", "5%")
    assert code == 0
    assert "0 faster, 0 slower" in out
    shutil.copytree(tmp_path / "run", tmp_path / "worse")
    path = tmp_path / "worse" / SAMPLES_FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    slowed = [line | {"latency_ms": [1000 * time for time in line["latency_ms"]]} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in slowed))
    assert sbench("compare", "run", "worse")[0] == 0
    code, out, err = sbench("compare", "run", "worse", "--fail-on-slower", "5%")
    assert code == 1
    assert "0 faster, 4 slower" in out
    assert "sa/sdpa at 0.1 s: 1000.000" in err
    assert sbench("compare", "run", "same", "--fail-on-slower", "5")[0] == 2
    assert sbench("compare", "run", "nowhere")[0] == 2


def test_comparing_in_a_narrow_terminal_keeps_names_and_verdicts(
    sbench: Sbench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "48")
    folder = REPORTS / "nvidia-h100" / "bfloat16"
    shutil.copytree(folder, tmp_path / "same")
    _, out, _ = sbench("compare", folder, "same")
    rows = [line for line in out.splitlines() if line.endswith("no difference")]
    assert len(rows) > 70
    assert all(row.startswith(("sa/", "retnet/", "lightnet/", "gsa/", "fox/", "kda/")) for row in rows)


def test_report_on_some_mixers(sbench: Sbench, tmp_path: Path) -> None:
    folder = REPORTS / "nvidia-h100" / "bfloat16"
    scores = REPORTS / "nvidia-h100" / "ravdess" / "table"
    beside = ("--accuracy", scores, "--history", folder.with_name("bfloat16-cold"))
    code, _, _ = sbench("report", folder, "--mixers", "kda,sa/sdpa", *beside, "--output", "some")
    assert code == 0
    page = (tmp_path / "some" / "index.html").read_text(encoding="utf-8")
    assert "<td>kda/fla</td>" in page
    assert "retnet/fla" not in page
    assert "lightnet (both)" in page
    assert "no change in 22 cases, over 2 sweeps" in page
    with (tmp_path / "some" / "results.csv").open() as file:
        assert {(row["mixer"], row["implementation"]) for row in csv.DictReader(file)} == {
            ("kda", "fla"),
            ("sa", "sdpa"),
        }
    code, _, err = sbench("report", folder, "--mixers", "kad", "--output", "other")
    assert code == 2
    assert "Did you mean 'kda'?" in err
    code, _, err = sbench("report", folder, "--mixers", "kda")
    assert code == 2
    assert "--output" in err
    code, _, err = sbench("report", folder, "--accuracy", folder, "--output", "other")
    assert code == 2
    assert "Give a folder that `sbench table` wrote." in err
    assert not (tmp_path / "other").exists()


def test_report_of_what_is_not_a_sweep(sbench: Sbench, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert sbench("report", "nowhere")[0] == sbench("report", "run")[0] == 2
    (tmp_path / "run" / RECORDS_FILE).write_text('{"schema_version": 1, "mixer": "sa"')
    code, _, err = sbench("report", "run")
    assert code == 2
    assert "line 1: not a whole record" in err
    (tmp_path / "run" / RECORDS_FILE).write_text('{"schema_version": 99}\n')
    assert "schema version 99" in sbench("report", "run")[2]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [RECORDS_FILE]
