"""Every mixer learns on a GPU by its kernels as by its equations: padded text, no dropout, weights and data alike."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

import mixers
from bench.accuracy.compiling import compiling_ahead
from bench.accuracy.learner import Learner
from bench.accuracy.model import ModelConfig
from bench.accuracy.setup import choose_implementation

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

BATCH, FRAMES, TOKENS, CLASSES, STEPS = 4, 100, 12, 8, 3


def losses(mixer: str, *, precision: str) -> list[float]:
    """Of some steps on one batch."""
    name, _, implementation = choose_implementation(mixer, "paper", device="cuda").partition("/")
    config = ModelConfig(
        mixer=name,
        implementation=implementation,
        preset="paper",
        width=1024,
        num_classes=CLASSES,
        speech_layers=1,
    )
    accelerator = Accelerator()
    learner = Learner(
        config, seed=0, learning_rate=1e-4, precision=precision, class_weights=None, accelerator=accelerator
    )
    for module in learner.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    generator = torch.Generator().manual_seed(0)
    speech = torch.randn(BATCH, FRAMES, 1024, generator=generator)
    text = torch.randn(BATCH, TOKENS, 1024, generator=generator)
    mask = torch.arange(TOKENS) < torch.tensor([3, 12, 7, 10])[:, None]
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    features = torch.bfloat16 if precision == "bfloat16" else torch.float32
    inputs = (speech.to("cuda", features), text.to("cuda", features), mask.cuda(), labels.cuda())
    return [float(learner.step(*inputs, moment=str(step))) for step in range(STEPS)]


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("mixer", mixers.names())
def test_losses_are_those_of_the_equations(mixer: str, precision: str) -> None:
    expected = losses(f"{mixer}/reference", precision="float32")
    found = losses(mixer, precision=precision)
    assert found == pytest.approx(expected, rel=0.03 if precision == "bfloat16" else 0.01)
    assert found[-1] < found[0]


def test_what_was_compiled_ahead_need_not_be_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    config = ModelConfig(
        mixer="retnet", implementation="fla", preset="paper", width=1024, num_classes=8, speech_layers=1
    )
    ahead: dict[str, Any] = {
        "products": "bfloat16",
        "batch": 4,
        "frames": 274,
        "text": True,
        "device": torch.device("cuda"),
    }
    compiled = []
    for _ in range(2):
        with compiling_ahead([config], precisions=["bfloat16"], **ahead):
            pass
        compiled.append({path.name for path in tmp_path.iterdir()})
    assert len(compiled[0]) > 10
    assert compiled[0] == compiled[1]
