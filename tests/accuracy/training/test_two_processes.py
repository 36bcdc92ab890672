"""Two processes, each with its share of a batch, take the step that one takes with all of it."""

import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

STEPS = """
import sys
from pathlib import Path
import torch
from accelerate import Accelerator
from bench.accuracy.inputs.batches import Inputs, Order
from bench.accuracy.training.learner import Learner
from bench.accuracy.run import ModelConfig

accelerator = Accelerator(cpu=True)
rank, world = accelerator.process_index, accelerator.num_processes
config = ModelConfig(
    mixer="sa",
    implementation="sdpa",
    preset="matched",
    width=32,
    num_classes=3,
    speech_layers=2,
    layer=sys.argv[2],
    stream_norms=True,
    classifier_layers=5,
    direction="alternating",
)
weights = torch.tensor([0.5, 1.0, 3.0]) if sys.argv[2] == "weighted" else None
learner = Learner(
    config, seed=0, learning_rate=1e-3, precision="float32", class_weights=weights, accelerator=accelerator
)
for module in learner.model.modules():
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.0
draw = torch.Generator().manual_seed(0)
shape = (8, 2, 5, 32) if sys.argv[2] == "weighted" else (8, 5, 32)
speech = torch.randn(shape, generator=draw)
text = torch.randn(8, 4, 32, generator=draw)
mask = torch.arange(4) < torch.tensor([[4], [1], [2], [3], [4], [2], [1], [3]])
labels = torch.tensor([0, 1, 2, 2, 0, 0, 1, 2])
(batch,) = Order(8, batch=8, seed=0, epoch=0, rank=rank, world=world)
inputs = Inputs(speech=speech[batch], text=text[batch], text_mask=mask[batch], labels=labels[batch])
learner.step(inputs, moment="0/0")
folder = Path(sys.argv[1]) / f"{world}-{rank}"
folder.mkdir()
learner.save(folder)  # AdamW's first moment is a tenth of the first gradient
(folder / "batch").write_text(" ".join(map(str, batch)))
"""


@pytest.mark.parametrize("layer", ["last", "weighted"])
@pytest.mark.timeout(120)
def test_the_same_gradients(tmp_path: Path, layer: str) -> None:
    script = tmp_path / "steps.py"
    script.write_text(STEPS)
    for world in (1, 2):
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={world}"]
        subprocess.run([*launch, script, tmp_path, layer], check=True, cwd=Path(__file__).parents[2], timeout=100)
    batches = {name: (tmp_path / name / "batch").read_text().split() for name in ("1-0", "2-0", "2-1")}
    assert set(batches["2-0"]).isdisjoint(batches["2-1"])
    assert sorted(batches["2-0"] + batches["2-1"]) == sorted(batches["1-0"])
    alone, one, other = (safetensors.torch.load_file(tmp_path / name / "sa-0.safetensors") for name in batches)
    for name, value in alone.items():
        assert torch.equal(one[name], other[name])
        if name.endswith("exp_avg"):
            assert torch.allclose(one[name], value, rtol=1e-4, atol=1e-7), name
