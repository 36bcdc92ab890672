"""Many learners on one pass of the encoders learn what each learns alone, interrupted or not."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from accelerate import Accelerator

from bench.accuracy import run as runs
from bench.accuracy.corpora.base import Corpus
from bench.accuracy.inputs.features import SpeechFeatures, TextFeatures
from bench.accuracy.inputs.feed import Inputs
from bench.accuracy.parts import FORMER_PARTS
from bench.accuracy.run import Run
from bench.accuracy.training import checkpoints
from bench.accuracy.training.events import Scored, Stepped
from bench.accuracy.training.learner import Learner
from bench.accuracy.training.loop import Training, class_weights
from bench.encoders import SpeechEncoder

Train = Callable[..., list[Stepped | Scored]]


@pytest.fixture
def train(corpus: Corpus, encoders: tuple[SpeechEncoder, TextFeatures], accelerator: Accelerator) -> Train:
    """Train a run in a folder, up to a number of events; return them."""

    def work(
        run: Run, folder: Path, *, stop_after: int | None = None, workers: int = 0, checkpoint_steps: int = 2
    ) -> list[Stepped | Scored]:
        if not folder.exists():
            runs.start(run, folder)
        training = Training(
            run,
            folder,
            corpus,
            speech=SpeechFeatures(encoders[0], scale=run.scale, layer=run.layer),
            text=encoders[1] if run.text else None,
            accelerator=accelerator,
            workers=workers,
            checkpoint_steps=checkpoint_steps,
        )
        events = []
        for event in training.train():
            events.append(event)
            if len(events) == stop_after:
                break
        return events

    return work


def losses(events: list[Stepped | Scored], name: str) -> list[float]:
    return [event.losses[name] for event in events if isinstance(event, Stepped)]


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    place = checkpoints.last_place(folder)
    return safetensors.torch.load_file(checkpoints.checkpoint(place, folder) / f"{name}.safetensors")


def test_one_pass_of_the_encoders_feeds_all_as_if_each_were_alone(
    train: Train, make_run: Callable[..., Run], tmp_path: Path
) -> None:
    together = train(make_run(mixers=("sa/sdpa", "retnet/reference"), seeds=(0, 1)), tmp_path / "together")
    for mixer in ("sa/sdpa", "retnet/reference"):
        for seed in (0, 1):
            folder, name = tmp_path / f"{mixer[:2]}{seed}", f"{mixer.partition('/')[0]}-{seed}"
            alone = train(make_run(mixers=(mixer,), seeds=(seed,)), folder)
            assert losses(together, name) == pytest.approx(losses(alone, name), rel=1e-5)
            one, other = weights(tmp_path / "together", name), weights(folder, name)
            assert all(torch.allclose(one[key], other[key], atol=1e-6) for key in one)
    assert losses(together, "sa-0") != losses(together, "sa-1")


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4, 5, 7])
def test_a_run_that_was_killed_comes_to_the_same(
    train: Train, make_run: Callable[..., Run], tmp_path: Path, stop_after: int
) -> None:
    """Three steps and an evaluation an epoch; checkpoints after every second step and at the end."""
    run = make_run()
    whole = train(run, tmp_path / "whole")
    train(run, tmp_path / "killed", stop_after=stop_after)
    place = checkpoints.last_place(tmp_path / "killed")
    rest = train(runs.read(tmp_path / "killed"), tmp_path / "killed")
    assert rest == whole[len(whole) - len(rest) :]
    assert (place.epoch, place.step) == {1: (0, 0), 2: (0, 0), 3: (0, 2), 4: (0, 2), 5: (0, 2), 7: (1, 1)}[stop_after]
    for name in ("sa-0", "retnet-0"):
        one, other = weights(tmp_path / "whole", name), weights(tmp_path / "killed", name)
        assert all(torch.equal(one[key], other[key]) for key in one)
        best = [(tmp_path / folder / name / "best.safetensors").read_bytes() for folder in ("whole", "killed")]
        assert best[0] == best[1]
    metrics = [(tmp_path / folder / runs.METRICS_FILE).read_text() for folder in ("whole", "killed")]
    assert metrics[0] == metrics[1]


def test_after_a_while_the_end_of_an_epoch_writes_a_checkpoint_and_the_result_is_the_same(
    train: Train, make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(mixers=("retnet/reference",), epochs=3)
    monkeypatch.setattr("bench.accuracy.training.loop.UNSAVED_S", math.inf)
    whole = train(run, tmp_path / "whole", checkpoint_steps=100)
    train(run, tmp_path / "soon", checkpoint_steps=100, stop_after=5)
    assert checkpoints.last_place(tmp_path / "soon") == checkpoints.BEGINNING
    monkeypatch.setattr("bench.accuracy.training.loop.UNSAVED_S", 0.0)
    for stop_after, epoch in ((4, 0), (5, 1), (8, 1), (9, 2)):
        folder = tmp_path / str(stop_after)
        train(run, folder, checkpoint_steps=100, stop_after=stop_after)
        assert checkpoints.last_place(folder) == checkpoints.Place(epoch=epoch, step=0)
        rest = train(run, folder, checkpoint_steps=100)
        assert rest == whole[4 * epoch :]
        assert [*folder.glob("checkpoint-*")] == [folder / "checkpoint-3-0"]
        one, other = weights(tmp_path / "whole", "retnet-0"), weights(folder, "retnet-0")
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("direction", ["causal", "both"])
def test_a_resumed_run_keeps_its_direction(
    train: Train, make_run: Callable[..., Run], tmp_path: Path, direction: str
) -> None:
    run = make_run(mixers=("retnet/reference",), direction=direction)
    whole = train(run, tmp_path / "whole")
    train(run, tmp_path / "killed", stop_after=4)
    rest = train(runs.read(tmp_path / "killed"), tmp_path / "killed")
    assert rest == whole[len(whole) - len(rest) :]
    other = train(make_run(mixers=("retnet/reference",)), tmp_path / "other")
    assert losses(other, "retnet-0") != losses(whole, "retnet-0")


def test_crops_do_not_depend_on_the_number_of_workers(
    train: Train, make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = make_run(mixers=("sa/sdpa",), epochs=1)
    assert train(run, tmp_path / "none") == train(run, tmp_path / "two", workers=2)


@pytest.mark.parametrize(
    "changes",
    [
        {"preset": "released", "scale": None, "layer": "weighted"},
        {"text": None, "layer": 1},
        {"layer": "weighted"},
        FORMER_PARTS["matched"],
        {"schedule": "one-cycle"},
        {"crop_seconds": None},
        {"crop_seconds": None, "text": None, "shared_data": True},
    ],
)
def test_the_other_ways_to_train(
    train: Train, make_run: Callable[..., Run], tmp_path: Path, changes: dict[str, object]
) -> None:
    events = train(make_run(mixers=("sa/sdpa",), **changes), tmp_path / "run")
    assert [type(event) for event in events] == [Stepped, Stepped, Stepped, Scored] * 2


def test_seeds_draw_their_own_data_unless_they_share_it(
    train: Train, make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[tuple[int, ...]]] = {}
    step = Learner.step

    def noting(self: Learner, inputs: Inputs, *, moment: str) -> torch.Tensor:
        seen.setdefault(self.name, []).append(tuple(inputs.speech.flatten()[:8].tolist()))
        return step(self, inputs, moment=moment)

    monkeypatch.setattr(Learner, "step", noting)
    for shared in (False, True):
        seen.clear()
        train(make_run(seeds=(0, 1), shared_data=shared, epochs=1), tmp_path / str(shared))
        assert seen["sa-0"] == seen["retnet-0"]
        assert (seen["sa-0"] == seen["sa-1"]) is shared


def test_one_cycle_goes_on_where_it_was_killed(train: Train, make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run(mixers=("sa/sdpa",), schedule="one-cycle", epochs=3)
    whole = train(run, tmp_path / "whole")
    train(run, tmp_path / "killed", stop_after=6)
    rest = train(runs.read(tmp_path / "killed"), tmp_path / "killed")
    assert rest == whole[len(whole) - len(rest) :]
    lines = (tmp_path / "whole" / runs.METRICS_FILE).read_text().splitlines()
    rates = [each["learning_rate"]["sa-0"] for each in map(json.loads, lines) if "loss" in each]
    assert len(rates) == 9
    assert max(rates) <= run.learning_rate
    assert rates == sorted(rates[:2]) + sorted(rates[2:], reverse=True)
    assert rates[-1] < 1e-3 * run.learning_rate


def test_it_learns_what_is_easy(train: Train, make_run: Callable[..., Run], tmp_path: Path) -> None:
    events = train(make_run(mixers=("sa/sdpa",), epochs=20, learning_rate=3e-4), tmp_path / "run")
    assert max(event.scores["sa-0"] for event in events if isinstance(event, Scored)) == 1.0


def test_rare_classes_weigh_more_and_absent_ones_nothing(corpus: Corpus) -> None:
    weights = class_weights(corpus.split("train"), ("high", "low", "never"))
    assert weights.tolist() == pytest.approx([13 / 21, 13 / 18, 0])
