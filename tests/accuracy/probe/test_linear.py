"""Logistic regression on features that are standardised by the training utterances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.accuracy.probe.linear import fit
from mixers.support.errors import UserError

CLASSES = ("anger", "fear", "joy", "sadness")

Made = tuple[NDArray[np.float32], list[str]]


def made(seed: int, *, classes: tuple[str, ...] = CLASSES, utterances: int = 60, width: int = 5) -> Made:
    """Return features that depend on the class, in units of their own."""
    rng = np.random.default_rng(seed)
    numbers = np.concatenate([np.arange(len(classes)), rng.integers(len(classes), size=utterances - len(classes))])
    centres = rng.normal(size=(len(classes), width))
    features = centres[numbers] + rng.normal(size=(utterances, width))
    scaled = features * rng.uniform(0.1, 50, width) + rng.normal(0, 20, width)
    return scaled.astype(np.float32), [classes[number] for number in numbers]


@settings(max_examples=10)
@given(st.integers(0, 1000), st.integers(2, 4), st.floats(0.005, 1))
def test_the_fit_is_the_optimum_of_the_penalised_likelihood(seed: int, count: int, regularisation: float) -> None:
    """There the gradient is zero: the coefficients are C times the sum of error and standardised features."""
    classes = CLASSES[:count]
    features, labels = made(seed, classes=classes)
    linear = fit(features, labels, classes=classes, regularisation=regularisation)
    scaled = (features - features.mean(0, dtype=np.float64)) / features.std(0, dtype=np.float64)
    truth = np.array([[label == name for name in classes] for label in labels])
    gradient = regularisation * (truth - linear.probabilities(features)).T @ scaled  # (C, W)
    expected = gradient if count > 2 else gradient[1:]  # two classes have one row of coefficients
    np.testing.assert_allclose(linear.regression.coef_, expected, atol=0.02 * regularisation)
    assert linear.converged
    assert linear.parameters == linear.regression.coef_.shape[0] * (features.shape[1] + 1)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_what_is_scored_does_not_change_the_standardisation(seed: int) -> None:
    features, labels = made(seed)
    linear = fit(features, labels, classes=CLASSES, regularisation=0.1)
    np.testing.assert_allclose(linear.scaler.mean_, features.mean(0, dtype=np.float64), rtol=1e-6)
    test, _ = made(seed + 1)
    together = linear.probabilities(test)
    alone = np.concatenate([linear.probabilities(row[None]) for row in test])
    np.testing.assert_allclose(together, alone, atol=1e-12)
    assert together.sum(1) == pytest.approx(1)
    shifts = (1000 * features.std(0), -1000 * features.std(0))  # a shift of the test is no shift of the training set
    one, other = (linear.probabilities(test + shift) for shift in shifts)
    assert not np.allclose(one, other, atol=0.1)


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_units_of_the_features_do_not_matter(seed: int) -> None:
    features, labels = made(seed)
    test, _ = made(seed + 1)
    first = fit(features, labels, classes=CLASSES, regularisation=0.1).probabilities(test)
    second = fit(4 * features - 8, labels, classes=CLASSES, regularisation=0.1).probabilities(4 * test - 8)
    np.testing.assert_allclose(first, second, atol=1e-3)


def test_a_class_without_training_utterances_is_never_predicted() -> None:
    features, labels = made(0, classes=("anger", "joy"))
    linear = fit(features, labels, classes=CLASSES, regularisation=0.1)
    assert linear.missing == ("fear", "sadness")
    found = linear.probabilities(features)
    assert found.shape == (60, 4)
    assert not found[:, [1, 3]].any()
    assert set(linear.predict(features)) == {"anger", "joy"}


def test_one_class_alone_cannot_be_learned() -> None:
    with pytest.raises(UserError, match="all training utterances are of one class: joy"):
        fit(np.ones((3, 2), np.float32), ["joy"] * 3, classes=CLASSES, regularisation=0.1)


def test_a_fit_that_does_not_converge_says_so(recwarn: pytest.WarningsRecorder) -> None:
    features, labels = made(0)
    assert not fit(features, labels, classes=CLASSES, regularisation=100, steps=1).converged
    assert not recwarn
