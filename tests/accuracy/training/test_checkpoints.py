"""A damaged run says what is wrong, and what can be done; nothing is loaded before."""

import json
from pathlib import Path

import pytest

from bench.accuracy.corpora.base import Corpus
from bench.accuracy.training.checkpoints import Place, last_place, remove_metrics_after
from mixers.support.errors import UserError
from tests.accuracy.made_up import write_run
from tests.conftest import Sbench


@pytest.mark.parametrize(
    ("state", "there", "message", "hint"),
    [
        ('{"epo', ["checkpoint-2-7"], "is damaged: Invalid JSON", '{"epoch": 2, "step": 7} into state.json'),
        ("", ["checkpoint-9-0", "checkpoint-10-0"], "is damaged: Invalid JSON", "checkpoint-9-0 is there"),
        ('{"epoch": -3, "step": 1}', ["checkpoint-1-0"], "is damaged: a place in a run is negative", "checkpoint-1-0"),
        ('{"epoch": "x", "step": 1}', ["checkpoint-x"], "is damaged: epoch: Input should", "Restore the folder"),
        ("\0", [], "is damaged: Invalid JSON", "Restore the folder"),
        ('{"epoch": 2, "step": 0}', [], "names the checkpoint checkpoint-2-0, which is missing", "Restore the folder"),
        ('{"epoch": 2, "step": 0}', ["checkpoint-1-5"], "checkpoint-2-0, which is missing", "checkpoint-1-5 is there"),
    ],
)
def test_a_state_that_cannot_be_used_names_the_checkpoint_that_is_there(
    sbench: Sbench, tmp_path: Path, state: str, there: list[str], message: str, hint: str
) -> None:
    run = write_run(tmp_path / "run", {})
    (run / "state.json").write_text(state)
    for name in there:
        (run / name).mkdir()
    code, _, err = sbench("train", "--resume", "run", "--device", "cpu")
    first, second = (line for line in err.splitlines() if line.startswith(("sbench: ", "  hint: ")))
    assert code == 2
    assert first.startswith("sbench: run/state.json ")
    assert message in first
    assert hint in second
    assert "remove state.json to train this run from its beginning" in second


def test_a_state_that_names_its_checkpoint_is_the_place_to_resume_from(tmp_path: Path) -> None:
    assert last_place(tmp_path) == Place(epoch=0, step=0)
    (tmp_path / "checkpoint-2-7").mkdir()
    (tmp_path / "state.json").write_text('{"epoch": 2, "step": 7}')
    assert last_place(tmp_path) == Place(epoch=2, step=7)


def test_metrics_lose_a_half_written_line_and_later_steps_but_no_others(tmp_path: Path) -> None:
    file, place = tmp_path / "metrics.jsonl", Place(epoch=1, step=0)
    lines = [json.dumps({"epoch": epoch, "step": step}) + "\n" for epoch, step in ((0, 1), (1, 0), (1, 1))]
    for rest in ('{"epo', "\xff", "[1]"):
        file.write_text("".join(lines) + rest, encoding="latin-1")
        remove_metrics_after(place, tmp_path)
        assert file.read_text() == "".join(lines[:2])
    for bad in ("", "[1]", '{"epoch": null, "step": 1}', "\xff"):
        content = lines[0] + bad + "\n" + lines[1]
        file.write_text(content, encoding="latin-1")
        with pytest.raises(UserError, match=r"metrics\.jsonl is damaged in line 2") as caught:
            remove_metrics_after(place, tmp_path)
        assert "Remove that line" in caught.value.hint
        assert file.read_text(encoding="latin-1") == content


def test_a_run_without_weights_is_told_how_to_continue(sbench: Sbench, tmp_path: Path, corpus: Corpus) -> None:
    run = write_run(tmp_path / "run", {}, mixers=["sa", "kda"], implementations={"sa": "sdpa", "kda": "reference"})
    recording = corpus.utterances[0].audio
    predict = ("predict", "run", recording, "--text", "", "--device", "cpu")
    code, _, err = sbench(*predict)
    assert (code, "run has no weights: no epoch of its training is complete" in err) == (2, True), err
    assert "sbench train --resume run" in err
    (run / "kda-0").mkdir()
    (run / "kda-0" / "best.safetensors").touch()
    code, _, err = sbench(*predict)
    assert (code, err.splitlines()[0]) == (2, "sbench: run/sa-0/best.safetensors is missing")
