"""A search of kernel configurations keeps what it has found. What it finds is made up."""

import json
import time
from pathlib import Path

import pytest
import torch

from bench.efficiency import tune
from mixers import autotuning
from tests.conftest import Sbench


def test_what_is_found_is_kept_at_once_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: autotuning.Files = {}
    monkeypatch.setattr(autotuning, "chosen_configurations", lambda: dict(found))

    def entries(kernel: str) -> object:
        return json.loads((tmp_path / "search" / f"{kernel}.json").read_text())["autotune_entries"]

    with tune.saving_choices(tmp_path / "search", every_s=0.01):
        found["first"] = {"autotune_entries": {"key": "choice"}}
        end = time.monotonic() + 30
        while not (tmp_path / "search" / "first.json").exists() and time.monotonic() < end:
            time.sleep(0.01)
        assert entries("first") == {"key": "choice"}
        found["second"] = {"autotune_entries": {"other": "choice"}}
    assert entries("second") == {"other": "choice"}


def search(asked: tune.Search) -> None:
    """GSA fails; with two choices KDA's kernel breaks; what is found lies beside what a kill left of another search."""
    mixer, known = asked.contestant.mixer, [each.choice for each in asked.without]
    if mixer == "gsa":
        raise RuntimeError("an illegal memory access")
    if mixer == "kda" and len(known) < 2:
        raise autotuning.BrokenChoiceError("kernel", f"BK: {32 * len(known)}, num_warps: 8")
    autotuning.merge(
        {"kernel": {"kernel_name": "kernel", "autotune_entries": {mixer: {"without": known}}}}, asked.folder
    )
    (asked.folder / "kernel.4711.partial").write_text("{")


@pytest.fixture
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "choose_device", lambda name: name)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(tune, "_search", search)


@pytest.mark.usefixtures("_made_up")
def test_a_search_that_fails_is_told_and_the_others_are_kept(sbench: Sbench, tmp_path: Path) -> None:
    (tmp_path / "found" / "nvidia-h200-float32").mkdir(parents=True)  # of an earlier search; this one is of TF32
    command = ("tune", "retnet", "gsa", "--preset", "released", "--output", "found", "--quiet")
    code, out, err = sbench(*command)
    assert (code, out) == (1, "found/nvidia-h200\n")
    assert "gsa/fla, native, released preset, inference: an illegal memory access" in err
    assert "retnet" not in err
    assert [path.name for path in (tmp_path / "found" / "nvidia-h200").iterdir()] == ["kernel.json"]


@pytest.mark.usefixtures("_made_up")
def test_other_sizes_are_searched_by_themselves(sbench: Sbench) -> None:
    setting = ("--preset", "matched", "--precision", "bfloat16", "--pass", "training")
    code, _, err = sbench("tune", "retnet", *setting, "--heads", "8", "--width", "512", "--output", "found")
    assert (code, err) == (0, "retnet/fla, bfloat16, matched preset, training, width 512, 8 heads\n")
    code, _, err = sbench("tune", "retnet", "--heads", "7")
    assert code == 2
    assert "--heads 7 is no number of heads that divides the width" in err


@pytest.mark.usefixtures("_made_up")
def test_what_does_not_run_is_not_searched(sbench: Sbench) -> None:
    asked = ("--preset", "matched", "--pass", "inference", "--heads", "8", "--output", "found")
    code, _, err = sbench("tune", "fox/fla", *asked)
    assert code == 0
    searched, *left_out = sorted(err.splitlines())
    assert searched == "fox/fla, bfloat16, matched preset, inference, 8 heads"
    why = "matched preset, inference, 8 heads: left out, too little shared memory at 128 a head"
    assert left_out == [f"fox/fla, {each}, {why} in {each}" for each in ("float32", "native")]
    code, _, err = sbench("tune", "kda+fox")
    assert code == 2
    assert "sbench tune kda fox" in err


@pytest.mark.usefixtures("_made_up")
def test_what_breaks_a_kernel_is_told_and_left_out(sbench: Sbench, tmp_path: Path) -> None:
    code, _, err = sbench("tune", "kda", "--preset", "released", "--output", "found")
    assert code == 0
    name, broken = "kda/fla, native, released preset, inference", [f"BK: {width}, num_warps: 8" for width in (0, 32)]
    assert err.splitlines() == [
        *(f"{name}: kernel breaks with {each}; started again without it" for each in broken),
        name,
    ]
    (found,) = (tmp_path / "found" / "nvidia-h200").iterdir()
    assert json.loads(found.read_text())["autotune_entries"] == {"kda": {"without": broken}}
