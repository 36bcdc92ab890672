"""What is compiled ahead is a step as the learners take it; the GPU's part is in test_gpu.py."""

from typing import Any

import pytest
import torch

from bench.accuracy.parts import Layer
from bench.accuracy.run import DIRECTIONS, PRESETS, Direction, ModelConfig, Preset
from bench.accuracy.training.compiling import compiling_ahead, step_once


def config(mixer: str, preset: Preset, direction: Direction, layer: Layer = "weighted") -> ModelConfig:
    return ModelConfig(
        mixer=mixer,
        implementation="reference",
        preset=preset,
        width=64,
        num_classes=8,
        speech_layers=3,
        layer=layer,
        stream_norms=True,
        classifier_layers=5,
        direction=direction,
    )


PLAIN: dict[str, Any] = {"products": "float32", "whole": False, "device": "cpu"}


@pytest.mark.parametrize("tokens", [0, 32])
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("layer", ["last", "weighted", 2])
def test_a_step_of_every_kind_runs(layer: Layer, preset: Preset, precision: str, tokens: int) -> None:
    step_once(
        config("sa", preset, "paper", layer),
        precision,
        products="float32",
        size=(2, 12, tokens),
        whole=False,
        device="cpu",
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_step_in_every_direction_runs(direction: Direction) -> None:
    step_once(
        config("retnet", "matched", direction),
        "bfloat16",
        products="float32",
        size=(2, 12, 32),
        whole=False,
        device="cpu",
    )


def test_on_a_cpu_there_is_nothing_to_compile() -> None:
    missing = config("nothing", "matched", "alternating")
    sizes: dict[str, Any] = {"batch": 2, "frames": 12, "text": True}
    with compiling_ahead([missing], precisions=["float32"], products="float32", device=torch.device("cpu"), **sizes):
        pass
