"""Prepared configurations reach the autotuners, and come out of them as they went in."""

import importlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mixers import autotuning
from mixers.autotuning import autotuners


@pytest.fixture
def _library_on_an_h200(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns that Triton finds no GPU
        importlib.import_module("fla.layers")
        importlib.import_module("mixers.kernels.fox.operator")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))


def prepared() -> dict[str, dict[str, Any]]:
    folder = autotuning.shipped("NVIDIA H200")
    return {path.stem: json.loads(path.read_text())["autotune_entries"] for path in folder.glob("*.json")}


def known() -> dict[str, dict[tuple[Any, ...], Any]]:
    """The choices of the autotuners of each name, by key."""
    choices: dict[str, dict[tuple[Any, ...], Any]] = {}
    for tuner in autotuners.autotuners():
        choices.setdefault(tuner.base_fn.__name__, {}).update(tuner.cache)
    return choices


@pytest.fixture
def _nothing_known(_library_on_an_h200: None) -> Iterator[None]:
    autotuning.forget_configurations()
    yield
    autotuning.forget_configurations()


@pytest.mark.usefixtures("_nothing_known")
def test_autotuners_take_every_shipped_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert autotuning.choices_made() == 0
    for package in autotuning.PACKAGES:
        autotuning.use_prepared_configurations(package)
    for name, entries in prepared().items():
        for entry in entries.values():
            chosen = known()[name][tuple(entry["autotune_key"])]
            assert chosen.kwargs == entry["config"]["kwargs"]
            assert chosen.num_warps == entry["config"]["num_warps"]
    assert autotuning.choices_made() >= sum(len(entries) for entries in prepared().values())
    assert autotuning.chosen_configurations() == {}  # none of them is a choice of this process


@pytest.mark.usefixtures("_nothing_known")
def test_a_gpu_without_configurations_gets_those_of_its_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    autotuning.use_prepared_configurations("fla", stand_ins=False)
    assert autotuning.choices_made() == 0
    autotuning.use_prepared_configurations("fla")
    tuner = next(each for each in autotuners.autotuners() if len(each.configs) > 1 and each.cache)
    monkeypatch.setattr(tuner, "best_config", next(iter(tuner.cache.values())), raising=False)
    assert "1 shipped for NVIDIA H200" in autotuning.origins()

    autotuning.forget_configurations()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    autotuning.use_prepared_configurations("fla")
    assert autotuning.choices_made() == 0


@pytest.mark.usefixtures("_nothing_known")
def test_configurations_found_here_are_saved_and_win_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import triton

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    name, entries = next((name, entries) for name, entries in prepared().items() if name.startswith("chunk_"))
    key = tuple(next(iter(entries.values()))["autotune_key"])
    tuner = next(each for each in autotuners.autotuners() if each.base_fn.__name__ == name)
    found = triton.Config({"made up": 5}, num_warps=7)
    monkeypatch.setattr(tuner, "best_config", found, raising=False)
    tuner.cache[key] = tuner.cache["another"] = found
    assert autotuning.origins().endswith("1 tuned here")
    autotuning.merge(autotuning.chosen_configurations(), autotuning.saved("NVIDIA H200"))
    autotuning.forget_configurations()

    autotuning.use_prepared_configurations("fla")
    assert known()[name][key].kwargs == {"made up": 5}
    assert known()[name][key].num_warps == 7
    monkeypatch.setattr(tuner, "best_config", tuner.cache[key], raising=False)
    assert "1 saved" in autotuning.origins()
    autotuning.forget_uses()
    assert autotuning.origins() == ""
