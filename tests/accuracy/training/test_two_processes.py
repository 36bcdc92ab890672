"""Two processes, which share the learners, train and score what one process does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.accuracy.corpora.base import Corpus
from bench.accuracy.evaluation.predictions import read_predictions

NAMES = ("sa-0", "sa-1", "retnet-0", "retnet-1")


def launch(processes: int, *arguments: object) -> str:
    """Run sbench; return what it prints besides results."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    done = subprocess.run(
        [*command, "-m", "bench.cli", *map(str, arguments)], check=False, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_they_come_to_the_same(arguments: list[object], corpus: Corpus, tmp_path: Path) -> None:
    for processes in (1, 2):
        mixers = ("--mixers", "sa,retnet", "--seeds", 2, "--epochs", 1, "--evaluate", "test1")
        assert "Warning" not in launch(processes, "train", *arguments, *mixers, "--output", tmp_path / str(processes))
    one, two = tmp_path / "1", tmp_path / "2"
    for name in NAMES:
        assert (two / name / "best.safetensors").is_file()
        paths = (each / "evaluation" / "test1" / f"{name}.csv" for each in (one, two))
        alone, shared = (read_predictions(path, classes=corpus.classes) for path in paths)
        assert alone.utterances == shared.utterances
        assert shared.probabilities == pytest.approx(alone.probabilities, abs=2e-3)
    alone_steps, shared_steps = (
        [json.loads(line) for line in (each / "metrics.jsonl").read_text().splitlines()] for each in (one, two)
    )
    for step, shared_step in zip(alone_steps, shared_steps, strict=True):
        assert step.keys() == shared_step.keys()
        if "loss" in step:
            assert shared_step["loss"] == pytest.approx(step["loss"], rel=1e-3)
            assert shared_step["learning_rate"] == step["learning_rate"]
