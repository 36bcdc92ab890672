"""The pages say what the committed records say, and their links lead somewhere."""

import importlib.util
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
