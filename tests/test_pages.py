"""The pages say what the committed records say, and their links lead somewhere."""

import importlib
import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bench.efficiency.records import Record
from bench.efficiency.store import read_records
from tests.conftest import EXAMPLE_PLUGIN
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
    tables, every = make_pages.choice_tables.TABLES, {"sa/sdpa": 4.0, "kda/fla": 3.0, "summary/eager": 1.0}
    paper = {name: ms for name, ms in every.items() if name != "summary/eager"}
    h100, h200 = (tmp_path / gpu for gpu in ("nvidia-h100", "nvidia-h200"))
    for folder in (h100, h200):
        folder.mkdir()

    def found(mixers: dict[str, float], direction: str, pass_: str) -> list[Record]:
        setting = {"direction": direction, "pass_": pass_, "conforms": True, "floor_ms": 0.5}
        return [
            make_up_record(name, s, gpu_ms=ms, **setting) for name, ms in mixers.items() for s in (10.0, 60.0, 400.0)
        ]

    write_folder(h100 / "bfloat16", *found(paper, "alternating", "inference"), count=0)
    for direction in ("causal", "alternating"):
        both = [each for pass_ in ("inference", "training") for each in found(paper, direction, pass_)]
        write_folder(h100 / f"direction-{direction}", *both, count=0)
    monkeypatch.setattr(make_pages.choice_tables, "REPORTS", tmp_path)
    assert "on an H100" in tables["choice"]()
    assert "not measured yet" in tables["choice"]()
    assert "Not measured yet: " in tables["measured"]()
    assert tables["heads"]() == "It was not measured yet."

    for direction, pass_ in itertools.product(("causal", "alternating"), ("inference", "training")):
        write_folder(h200 / f"all-{direction}-{pass_}", *found(every, direction, pass_), count=0)
    whole = [
        make_up_record(name, 60.0, direction=direction, preset=preset, gpu_ms=ms)
        for name, preset, direction, ms in (
            *((name, "matched", "alternating", ms) for name, ms in paper.items()),
            ("xlsr-random/one-piece", "encoder", "paper", 46.0),
            ("head/pooling-classifier", "head", "paper", 0.0001),
        )
    ]
    write_folder(h200 / "end-to-end", *whole, count=0)
    choice = tables["choice"]()
    assert "on an H200" in choice
    assert "| 60 s " in choice
    assert "-2.0 % in one piece" in choice
    assert "| kda/fla (3.00 ms) " in choice
    assert "Among [all 3 mixers](reports/fastest.md) the fastest are summary/eager (1.00 ms) at 10 s" in choice
    assert tables["fastest"]().count("| summary/eager |") == 12
    assert tables["measured"]().startswith("3 mixers were measured. Not measured yet: `deltanet`")
    assert "summary/eager" not in tables["slow"]()

    assert tables["rivals against"]() == "It was not measured yet."
    rivals = {"sa/cudnn": 2.0, "sa/fa4": 1.5, "fox/fla": 3.0, "fox/triton": 3.0, "kda/cudnn": 8.0}
    write_folder(h200 / "rivals", *found(rivals, "causal", "training"), count=0)
    rows = {line.split("|")[1].strip(): line for line in tables["rivals against"]().splitlines() if "/" in line}
    cells = {name: [cell.strip() for cell in line.split("|")[2:-1]] for name, line in rows.items()}
    assert cells["sa/fa4"] == ["sa/cudnn", "-", "-", "-", "-25 %", "-25 %", "-25 %", "-", "0 %"]
    assert cells["fox/triton"] == ["fox/fla", "-", "-", "-", "0 %", "0 %", "0 %", "-", "0 %"]
    assert set(cells["kda/cudnn"][1:]) == {"-"}  # the other was not measured


@pytest.mark.usefixtures("make_pages")  # finds the scripts
def test_kernels_are_named_without_types() -> None:
    short = importlib.import_module("kernel_shares").short
    scan = "void at::native::tensor_kernel_scan_outer_dim<float, unsigned int>(float*, float)"
    silu = (
        "void at::native::elementwise_kernel<128, at::(anonymous namespace)::silu_kernel(int)::{lambda(float)#1}>(int)"
    )
    product = (
        "void at::native::vectorized_elementwise_kernel<4, at::BinaryFunctor<float, at::MulFunctor<float> > >(int)"
    )
    names = [short(each) for each in ("chunk_fwd_kernel_h", scan, silu, product)]
    assert names[:2] == ["chunk_fwd_kernel_h", "tensor_kernel_scan_outer_dim"]
    assert names[2:] == ["elementwise_kernel: silu_kernel", "vectorized_elementwise_kernel: MulFunctor"]


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
    shutil.copy(EXAMPLE_PLUGIN / "sbench_running_mean.py", tmp_path / "my_mixer.py")
    for number, block in enumerate(blocks):
        (tmp_path / f"example_{number}.py").write_text(block)
        subprocess.run([sys.executable, f"example_{number}.py"], cwd=tmp_path, env=environment, check=True)
    assert {path.name for path in (tmp_path / "my-sweep").iterdir()} >= {"sweep.json", "records.jsonl"}
    assert (tmp_path / "my-report" / "figure2.png").exists()
