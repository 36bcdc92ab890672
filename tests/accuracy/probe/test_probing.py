"""A probe chooses its layer and learns without a look at the tests. Here the features are made up."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.accuracy.corpora.base import Corpus, Utterance
from bench.accuracy.evaluation.predictions import Predictions, read_predictions
from bench.accuracy.probe import probing, record
from bench.accuracy.probe.linear import fit
from bench.accuracy.probe.probing import Fitted, Request, Task
from bench.accuracy.probe.record import Probe
from tests.accuracy.conftest import WIDTH

LAYERS = 3  # two hidden ones, and the last

Telling = dict[str, Sequence[float]]  # how far each layer tells the classes apart, by split

Run = Callable[..., tuple[Probe, tuple[str, ...]]]


@pytest.fixture
def run(corpus: Corpus, encoder_folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def pooled(telling: Telling, utterances: Sequence[Utterance]) -> Iterator[tuple[str, NDArray[np.float32]]]:
        for number, each in enumerate(utterances):
            vector = 0.3 * np.random.default_rng(number).normal(size=(LAYERS, 2 * WIDTH))
            vector += np.array(telling[each.split])[:, None] * (1 if each.label == "high" else -1)
            yield each.name, vector.astype(np.float32)

    def start(telling: Telling, *, corpus: Corpus = corpus, **changes: Any) -> tuple[Probe, tuple[str, ...]]:
        monkeypatch.setattr(probing, "pooled_recordings", lambda utterances, *_, **__: pooled(telling, utterances))
        fields: dict[str, Any] = {"layer": None, "regularisation": 1.0, "with_development": False, "precision": None}
        request = Request(speech=str(encoder_folders[0]), **fields | changes)
        tasks = [Task(corpus=corpus, checks={}, folder="")]
        events = [*probing.probe(request, tasks, tmp_path / "out", device="cpu", workers=0)]
        (fitted,) = (event for event in events if isinstance(event, Fitted))
        assert record.read(tmp_path / "out") == fitted.probe
        (tmp_path / "out").rename(tmp_path / f"out-{len([*tmp_path.glob('out-*')])}")
        return fitted.probe, fitted.warnings

    return start


def predictions(tmp_path: Path, split: str, *, number: int = 0) -> Predictions:
    path = tmp_path / f"out-{number}" / "evaluation" / split / "linear-0.csv"
    return read_predictions(path, classes=("high", "low"))


def test_development_chooses_the_layer_and_the_test_does_not(run: Run, tmp_path: Path) -> None:
    telling: Telling = {"train": [3, 3, 3], "development": [-3, 3, -3], "test1": [3, -3, 3]}
    probe, warnings = run(telling)
    assert (probe.layer, probe.layer_chosen, warnings) == (2, True, ())
    assert probe.development_scores == {"1": 0.0, "2": 1.0, "last": 0.0}
    test = predictions(tmp_path, "test1")
    assert all(label != found for label, found in zip(test.labels, test.predictions, strict=True))
    other, _ = run(telling | {"test1": [0, 3, 0]})
    assert other == probe
    first, second = (predictions(tmp_path, "development", number=number) for number in range(2))
    assert (first.probabilities == second.probabilities).all()


def test_equally_good_layers_are_the_lowest(run: Run) -> None:
    assert run({"train": [3, 3, 3], "development": [0, 3, 3], "test1": [3, 3, 3]})[0].layer == 2


def test_development_is_learned_only_if_asked_and_is_scored_by_a_fit_on_train(
    corpus: Corpus, run: Run, tmp_path: Path
) -> None:
    telling: Telling = {"train": [0, 0, 0], "development": [-5, -5, -5], "test1": [-5, -5, -5]}
    alone, _ = run(telling)
    both, _ = run(telling, with_development=True)
    assert (alone.with_development, both.with_development) == (False, True)
    assert both.development_scores == alone.development_scores
    first, second = (predictions(tmp_path, "development", number=number) for number in range(2))
    assert (first.probabilities == second.probabilities).all()
    first, second = (predictions(tmp_path, "test1", number=number) for number in range(2))
    assert (first.probabilities != second.probabilities).all()
    assert second.predictions == second.labels
    assert len(corpus.split("test1")) == len(second)


def test_a_class_that_training_lacks_is_said(corpus: Corpus, run: Run, tmp_path: Path) -> None:
    classes = (*corpus.classes, "middle")
    kept = [each for each in corpus.utterances if each.split != "development" or each.label == "high"]
    telling: Telling = {"train": [3, 3, 3], "development": [3, 3, 3], "test1": [3, 3, 3]}
    probe, warnings = run(telling, corpus=dataclasses.replace(corpus, classes=classes, utterances=tuple(kept)))
    assert probe.missing == ("middle",)
    assert any("no utterance of middle" in line for line in warnings)
    path = tmp_path / "out-0" / "evaluation" / "test1" / "linear-0.csv"
    assert not read_predictions(path, classes=classes).probabilities[:, 2].any()


def test_a_fit_that_does_not_converge_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "fit", lambda *given, **named: fit(*given, **named, steps=1))
    telling: Telling = {"train": [3, 3, 3], "development": [3, 3, 3], "test1": [3, 3, 3]}
    probe, warnings = run(telling)
    assert not probe.converged
    assert any("not converged" in line and "layers 1, 2, last" in line for line in warnings)
