"""Two processes, which share the learners, train and score what one process does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.accuracy.corpora.base import Corpus
from bench.accuracy.evaluation.predictions import read_predictions

NAMES = ("sa-0", "sa-1", "retnet-0", "retnet-1")


def launch(processes: int, program: Path, *arguments: object) -> str:
    """Run a program that calls sbench; return what it prints besides results."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    done = subprocess.run(
        [*command, *map(str, (program, *arguments))], check=False, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


# A checkpoint is due by the clock of the first process alone.
DISAGREEING = """
import os, sys
from bench.accuracy.training import checkpoints, loop
loop.UNSAVED_S = 0.0 if os.environ["RANK"] == "0" else 1e9
save = checkpoints.save_place
def save_and_tell(place, folder):
    save(place, folder)
    print("saved", place.epoch, place.step, file=sys.stderr)
checkpoints.save_place = save_and_tell
from bench.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_they_come_to_the_same(arguments: list[object], corpus: Corpus, tmp_path: Path) -> None:
    program = tmp_path / "disagreeing.py"
    program.write_text(DISAGREEING)
    options = ("--mixers", "sa,retnet", "--seeds", 2, "--epochs", 2, "--checkpoint-steps", 100, "--evaluate", "test1")
    for processes in (1, 2):
        err = launch(processes, program, "train", *arguments, *options, "--output", tmp_path / str(processes))
        assert "Warning" not in err
        assert [line for line in err.splitlines() if line.startswith("saved")] == ["saved 1 0", "saved 2 0"]
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
