"""The pages say what the committed records say, and their links lead somewhere."""

import importlib.util
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bench.efficiency.records import Record
from bench.efficiency.store import read_records
from tests.reporting.efficiency.conftest import make_up_record
from tests.reporting.efficiency.folders import write_folder

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("reports/*.md"), *ROOT.glob(".github/*.md")])
H100, H200 = ROOT / "reports" / "nvidia-h100", ROOT / "reports" / "nvidia-h200"


@pytest.fixture(scope="module")
def make_pages() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "reports"))  # as when it is run
    spec = importlib.util.spec_from_file_location("make_pages", ROOT / "reports" / "make_pages.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(ROOT / "reports"))


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_every_table_is_what_the_records_give(make_pages: ModuleType) -> None:
    for page in make_pages.PAGES:
        text = page.read_text(encoding="utf-8")
        assert text == make_pages.fill(text), f"{name(page)} differs: run `python reports/make_pages.py`"


def test_pages_take_the_sweeps_of_all_mixers_and_of_whole_systems_once_they_are_there(
    make_pages: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tables = make_pages.choice_tables.TABLES
    assert "not measured yet" in tables["choice"]()
    assert "Not measured yet: " in tables["measured"]()
    mixers = {"sa/sdpa": 4.0, "kda/fla": 3.0, "summary/eager": 1.0}
    for direction, pass_ in itertools.product(("causal", "alternating"), ("inference", "training")):
        setting = {"direction": direction, "pass_": pass_, "conforms": True}
        found = [
            make_up_record(name, seconds, gpu_ms=ms, floor_ms=0.5, **setting)
            for name, ms in mixers.items()
            for seconds in (10.0, 60.0, 400.0)
        ]
        write_folder(tmp_path / f"all-{direction}-{pass_}", *found, count=0)
    whole = [
        make_up_record(name, 60.0, direction=direction, preset=preset, gpu_ms=ms)
        for name, preset, direction, ms in (
            *((name, "matched", "alternating", mixers[name]) for name in ("sa/sdpa", "kda/fla")),
            ("xlsr-random/one-piece", "encoder", "paper", 46.0),
            ("head/pooling-classifier", "head", "paper", 0.0001),
        )
    ]
    write_folder(tmp_path / "end-to-end", *whole, count=0)
    monkeypatch.setattr(make_pages.choice_tables, "H100", tmp_path)
    choice = tables["choice"]()
    assert "| 60 s " in choice
    assert "-2.0 % in one piece" in choice
    assert "| kda/fla (3.00 ms) " in choice
    assert "Among [all 3 mixers](reports/fastest.md) the fastest are summary/eager (1.00 ms) at 10 s" in choice
    assert tables["fastest"]().count("| summary/eager |") == 12
    assert tables["measured"]().startswith("3 mixers were measured. Not measured yet: `deltanet`")
    assert "summary/eager" not in tables["slow"]()


def test_every_table_is_on_a_page(make_pages: ModuleType) -> None:
    found = re.findall(r"<!-- table: (.+?) -->", "".join(page.read_text() for page in make_pages.PAGES))
    assert set(found) == set(make_pages.TABLES)


def test_every_measured_folder_is_listed() -> None:
    text = (ROOT / "reports" / "README.md").read_text()
    folders = [path.parent for path in ROOT.glob("reports/*/*/records.jsonl")]
    assert len(folders) > 10
    for folder in folders:
        assert f"]({folder.relative_to(ROOT / 'reports').as_posix()}/" in text


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if "://" not in link and not (page.parent / link).exists()]


def by_case(folder: Path) -> dict[tuple[str, float], Record]:
    return {(each.name, each.seconds): each for each in read_records(folder)}


def gpu_ms(folder: Path, mixer: str) -> float:
    value = by_case(folder)[mixer, 400.0].gpu_ms
    assert value
    return value


def test_fused_attention_and_not_size_takes_kdas_advantage() -> None:
    released, matched = (
        {each: gpu_ms(H100 / folder, each) for each in ("sa/eager", "sa/sdpa", "kda/fla")}
        for folder in ("released", "bfloat16")
    )
    assert released["sa/eager"] / released["kda/fla"] > 5
    assert matched["sa/eager"] / matched["kda/fla"] > 5
    assert 1 < matched["sa/sdpa"] / matched["kda/fla"] < 2


@pytest.mark.parametrize("gpu", [H100, H200], ids=name)
def test_the_peak_of_a_graph_is_within_5_mib_of_the_calls(gpu: Path) -> None:
    calls = by_case(gpu / "bfloat16")
    for case, graph in by_case(gpu / "graph").items():
        assert graph.peak_memory_gib == pytest.approx(calls[case].peak_memory_gib, abs=5 / 1024)


@pytest.mark.slow
def test_the_examples_for_python_run_as_written(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.+?)```", (ROOT / "reports" / "from-python.md").read_text(), re.DOTALL)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for number, block in enumerate(blocks):
        (tmp_path / f"example_{number}.py").write_text(block)
        subprocess.run([sys.executable, f"example_{number}.py"], cwd=tmp_path, env=environment, check=True)
    assert {path.name for path in (tmp_path / "my-sweep").iterdir()} >= {"sweep.json", "records.jsonl"}
    assert (tmp_path / "my-report" / "figure2.png").exists()
