"""Configurations on disk: a folder for each GPU model, and files that keep what they hold."""

import json
from pathlib import Path

import pytest

import mixers
from mixers import autotuning


def test_every_shipped_folder_has_its_compute_capability() -> None:
    assert {autotuning.shipped(name).name for name in autotuning.SHIPPED} == {
        path.name.removesuffix("-float32")
        for path in (Path(mixers.__path__[0]) / "tuned").iterdir()
        if list(path.glob("*.json"))
    }


def test_merging_keeps_what_is_there(tmp_path: Path) -> None:
    for entries in ({"a": 1, "b": 2}, {"b": 3, "c": 4}):
        autotuning.merge({"kernel": {"kernel_name": "kernel", "autotune_entries": entries}}, tmp_path / "folder")
    (path,) = (tmp_path / "folder").iterdir()
    assert json.loads(path.read_text()) == {"kernel_name": "kernel", "autotune_entries": {"a": 1, "b": 3, "c": 4}}


def test_a_folder_for_each_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert autotuning.shipped("NVIDIA H200").name == "nvidia-h200"
    assert autotuning.shipped("NVIDIA H100 80GB HBM3").name == "nvidia-h100-80gb-hbm3"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert autotuning.saved("NVIDIA H200") == tmp_path / "sbench" / "tuned" / "nvidia-h200"
