"""A training has a direction, and all that is done with it keeps it."""

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

import mixers
from bench.accuracy import run as runs
from bench.accuracy.corpora.base import Corpus
from tests.conftest import Sbench

DEMONSTRATION = ("train", "--demo", "--mixers", "retnet", "--device", "cpu", "--workers", 0, "--output", "run")


def test_what_is_done_with_a_run_is_in_its_direction(
    sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus
) -> None:
    def scores(direction: str) -> str:
        path = tmp_path / "run" / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"direction": direction}))
        code, _, err = sbench("evaluate", "run", "--corpus", corpus.spec, "--splits", "test1", "--device", "cpu")
        assert code == 0, err
        assert f"preset matched, direction {direction}" in err
        return (tmp_path / "run" / "evaluation" / "test1" / "retnet-0.csv").read_text()

    assert sbench("train", *arguments, "--direction", "causal", "--output", "run")[0] == 0
    assert runs.read(tmp_path / "run").direction == "causal"
    causal, both, alternating, again = map(scores, ("causal", "both", "alternating", "causal"))
    assert causal == again
    assert len({causal, both, alternating}) == 3
    _, out, _ = sbench("predict", "run", corpus.split("test1")[0].audio, "--text", "oh no", "--device", "cpu")
    assert "preset matched, direction causal" in " ".join(out.split())
    code, out, _ = sbench("table", "run", "--output", "table")
    assert code == 0
    assert "preset matched, direction causal." in " ".join(out.split())


@pytest.mark.parametrize(
    ("preset", "direction"), [("matched", "alternating"), ("conformer", "alternating"), ("released", "paper")]
)
def test_the_preset_chooses_the_direction(
    sbench: Sbench, tmp_path: Path, arguments: list[object], preset: str, direction: str
) -> None:
    once = ("--mixers", "retnet", "--epochs", 1, "--preset", preset)
    code, _, err = sbench("train", *arguments, *once, "--output", "run")
    assert code == 0, err
    assert runs.read(tmp_path / "run").direction == direction


@pytest.fixture
def whole(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """A mixer that cannot be causal."""
    folder = tmp_path_factory.mktemp("mixers")
    source = "from mixers.sa import SoftmaxAttention\n\nclass Whole(SoftmaxAttention):\n    can_be_causal = False\n"
    (folder / "whole.py").write_text(source)
    monkeypatch.setattr(mixers, "__path__", [*mixers.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "mixers.whole", raising=False)
    return "whole"


def test_a_mixer_that_cannot_be_causal_is_refused_before_anything_is_loaded(
    sbench: Sbench, tmp_path: Path, arguments: list[object], whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.accuracy import corpora

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the corpus was read")

    with monkeypatch.context() as unread:
        unread.setattr(corpora, "load", refuse)
        for command in (
            ("train", *arguments, "--output", "run"),
            ("train", "--demo"),
            ("throughput", "--device", "cpu"),
        ):
            code, _, err = sbench(*command, "--mixers", f"retnet,{whole}/sdpa", "--direction", "causal")
            assert (code, "whole cannot be causal: its frames see the whole clip" in err) == (2, True), err
            assert "Choose another direction." in err
    assert not list(tmp_path.iterdir())
    code, _, err = sbench("train", *arguments, "--mixers", whole, "--epochs", 1, "--output", "run")
    assert code == 0, err


def small_demonstration(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.accuracy.corpora.demo import write_demo_corpus
    from bench.accuracy.training import demonstration, train

    def write(folder: Path, **_: object) -> None:
        write_demo_corpus(folder, utterances=64, speakers=4, seed=0, seconds=(0.5, 0.6))

    def prepare(*given: Any, **options: Any) -> Any:
        request = demonstration.prepare_demonstration(*given, **options)
        return dataclasses.replace(request, epochs=1, crop_seconds=0.5)

    monkeypatch.setattr(demonstration, "write_demo_corpus", write)
    monkeypatch.setattr(train, "prepare_demonstration", prepare)


@pytest.mark.parametrize("direction", [None, "causal", "both"])
def test_a_small_demonstration(
    sbench: Sbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direction: str | None
) -> None:
    small_demonstration(monkeypatch)
    code, out, err = sbench(*DEMONSTRATION, *(() if direction is None else ("--direction", direction)))
    assert code == 0, err
    run = runs.read(tmp_path / "run")
    assert (run.demo, run.direction) == (True, direction or "alternating")
    assert f"direction {run.direction}." in " ".join(out.split())
    assert run.direction in (tmp_path / "run" / "table" / "accuracy.csv").read_text()


@pytest.mark.slow
def test_every_mixer_trains_on_a_cpu(sbench: Sbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_demonstration(monkeypatch)
    code, _, err = sbench("train", "--demo", "--mixers", "all,kda+sa", *DEMONSTRATION[4:])
    assert code == 0, err
    learners = {f"{name}-0" for name in (*mixers.available(), "kda+sa")}
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses
    assert all(each.keys() == learners and all(map(math.isfinite, each.values())) for each in losses)
