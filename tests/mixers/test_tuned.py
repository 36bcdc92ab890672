"""Prepared configurations reach the autotuners of the library, and come out of them as they went in."""

import importlib
import json
import warnings

import pytest
import torch

from mixers import tuned


@pytest.fixture
def _library_on_an_h200(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns that Triton finds no GPU
        importlib.import_module("fla.layers")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")


@pytest.mark.usefixtures("_library_on_an_h200")
def test_what_is_prepared_is_what_the_autotuners_take() -> None:
    tuned.forget_configurations()
    assert tuned.chosen_configurations() == {}
    tuned.use_prepared_configurations()
    chosen = tuned.chosen_configurations()
    prepared = {path.stem: json.loads(path.read_text()) for path in tuned.folder_of("NVIDIA H200").glob("*.json")}
    assert chosen.keys() == prepared.keys()
    for name, content in prepared.items():
        assert content["autotune_entries"].items() <= chosen[name]["autotune_entries"].items(), name
    tuned.forget_configurations()


def test_a_folder_for_each_model() -> None:
    assert tuned.folder_of("NVIDIA H200").name == "nvidia-h200"
    assert tuned.folder_of("NVIDIA H100 80GB HBM3").name == "nvidia-h100-80gb-hbm3"
