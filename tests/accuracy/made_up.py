"""Predictions and run folders that nobody trained for."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bench.accuracy.evaluation.predictions import Predictions, write_predictions

EMOTIONS = ("anger", "sadness", "happiness", "surprise", "fear", "disgust", "contempt", "neutral")


def make(
    labels: Sequence[str],
    predicted: Sequence[str],
    *,
    speakers: Sequence[str] | None = None,
    classes: Sequence[str] = EMOTIONS,
) -> Predictions:
    """Return predictions of utterances u0, u1, ..., each of a speaker of its own unless they are given."""
    utterances = tuple(f"u{index}" for index in range(len(labels)))
    chosen = [tuple(classes).index(name) for name in predicted]
    return Predictions(
        classes=tuple(classes),
        utterances=utterances,
        speakers=tuple(speakers or utterances),
        labels=tuple(labels),
        predictions=tuple(predicted),
        probabilities=np.eye(len(classes))[chosen] * 0.9 + 0.01,
    )


def draw(
    *,
    truth_seed: int,
    seed: int,
    accuracy: float = 0.5,
    speakers: int = 20,
    utterances: int = 200,
    consistency: float = 0.0,
    classes: Sequence[str] = EMOTIONS,
    unknown: bool = False,
) -> Predictions:
    """Return predictions that are right with some probability, which differs between speakers as it does by nature.

    Args:
        truth_seed: Of who says what with which emotion.
        seed: Of the predictions.
        accuracy: Mean over speakers of the probability of being right.
        speakers: How many.
        utterances: How many.
        consistency: How much that probability may differ from the mean, either way.
        classes: All of them.
        unknown: Whether nobody knows who speaks.
    """
    truth, own = np.random.default_rng(truth_seed), np.random.default_rng([truth_seed, seed])
    labels = truth.integers(len(classes), size=utterances)
    voices = np.concatenate([np.arange(speakers), truth.integers(speakers, size=utterances - speakers)])
    by_speaker = accuracy + own.uniform(-consistency, consistency, size=speakers)
    right = own.random(utterances) < by_speaker[voices]
    wrong = (labels + own.integers(1, len(classes), size=utterances)) % len(classes)
    return make(
        [classes[index] for index in labels],
        [classes[index] for index in np.where(right, labels, wrong)],
        speakers=["Unknown" if unknown else f"speaker {voice}" for voice in voices],
        classes=classes,
    )


@st.composite
def predictions(draw_from: st.DrawFn, *, largest: int = 40) -> Predictions:
    """Strategy for predictions of any kind, absent classes and unknown speakers among them."""
    classes = EMOTIONS[: draw_from(st.integers(2, 8))]
    names = st.sampled_from(classes)
    rows = draw_from(
        st.lists(
            st.tuples(names, names, st.sampled_from(["ann", "bob", "eve", "kim", "Unknown"])),
            min_size=1,
            max_size=largest,
        )
    )
    labels, predicted, speakers = zip(*rows, strict=True)
    return make(labels, predicted, speakers=speakers, classes=classes)


def write_run(
    folder: Path,
    results: dict[tuple[str, str, int], Predictions],
    *,
    speech: str = "wavlm-large",
    text: str | None = "bert-large-uncased",
    left_out: int = 0,
    folds: int = 0,
    overlap: object = None,
    **fields: Any,
) -> Path:
    """Write a run's folder with evaluations, by split, mixer and seed; its corpus has a number of folds."""
    mixers = list(dict.fromkeys(mixer for _, mixer, _ in results)) or ["sa"]
    classes = next((each.classes for each in results.values()), EMOTIONS)
    run = {
        "version": 2,
        "corpus": "msp-podcast:/data",
        "encoders": {"speech": speech, "text": text},
        "preset": "matched",
        "direction": "alternating",
        "classes": list(classes),
        "mixers": mixers,
        "implementations": dict.fromkeys(mixers, "reference"),
        "seeds": sorted({seed for *_, seed in results}) or [0],
        "data_seed": 0,
        "epochs": 20,
        "batch": 32,
        "learning_rate": 1e-4,
        "crop_seconds": 5.5,
        "precision": "bfloat16",
        "missing_text": "error",
        "width": 1024,
        "speech_layers": 24,
        "scale": {"mean": 0.0, "deviation": 0.1},
        "utterances": "a" * 64,
        "demo": False,
        "parameters": dict.fromkeys(mixers, 20_012_345),
    }
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(run | fields))
    count = {
        "corpus": fields.get("corpus", run["corpus"]),
        "folds": folds,
        "overlap": overlap,
        "left_out": [{"name": f"lost {index}", "reason": "no audio"} for index in range(left_out)],
    }
    _write_evaluations(folder, results, count)
    return folder


def write_probe(
    folder: Path,
    results: dict[str, Predictions],
    *,
    speech: str = "wavlm-large",
    folds: int = 0,
    **fields: Any,
) -> Path:
    """Write a probe's folder with evaluations, by split; its corpus has a number of folds."""
    probe: dict[str, Any] = {
        "version": 1,
        "corpus": "msp-podcast:/data",
        "classes": list(next(iter(results.values())).classes) if results else list(EMOTIONS),
        "speech": speech,
        "width": 1024,
        "speech_layers": 24,
        "precision": "bfloat16",
        "layer": 12,
        "layer_chosen": True,
        "development_scores": {"12": 0.5},
        "regularisation": 0.02,
        "with_development": False,
        "missing": [],
        "converged": True,
        "parameters": 16_392,
        "utterances": "a" * 64,
    }
    probe |= fields
    folder.mkdir(parents=True)
    (folder / "probe.json").write_text(json.dumps(probe))
    count = {"corpus": probe["corpus"], "folds": folds, "overlap": {"treatment": "refuse", "utterances": 0}}
    by_learner = {(split, "linear", 0): each for split, each in results.items()}
    _write_evaluations(folder, by_learner, count | {"left_out": []})
    return folder


def _write_evaluations(folder: Path, results: dict[tuple[str, str, int], Predictions], count: dict[str, Any]) -> None:
    for (split, mixer, seed), each in results.items():
        place = folder / "evaluation" / split
        place.mkdir(parents=True, exist_ok=True)
        write_predictions(each, place / f"{mixer}-{seed}.csv")
        used = {"expected": len(each) + len(count["left_out"]), "used": len(each)}
        (place / "utterances.json").write_text(json.dumps(count | used))
