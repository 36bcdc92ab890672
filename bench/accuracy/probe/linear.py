"""Logistic regression on pooled features: multinomial, with an L2 penalty, on standardised features.

The fit is convex and starts from zero, so it has no seed: the same data give the same model. Mean and scale of the
standardisation are of the training utterances alone.

Shapes: N utterances, W features, C classes.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mixers.support.errors import UserError

STEPS = 10_000  # of L-BFGS at most; 14 are enough for 960 vectors of 1024 features at C = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """A fitted model.

    Attributes:
        scaler: scikit-learn's StandardScaler, fitted.
        regression: scikit-learn's LogisticRegression, fitted.
        classes: All classes; those without training utterances have probability 0.
        missing: Those classes.
        converged: Whether the fit reached scikit-learn's tolerance.
    """

    scaler: Any
    regression: Any
    classes: tuple[str, ...]
    missing: tuple[str, ...]
    converged: bool

    @property
    def parameters(self) -> int:
        """The number of coefficients and intercepts."""
        return int(self.regression.coef_.size + self.regression.intercept_.size)

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of each class: (N, W) -> (N, C)."""
        found = np.zeros((len(features), len(self.classes)))
        seen = [self.classes.index(name) for name in self.regression.classes_]
        found[:, seen] = self.regression.predict_proba(self.scaler.transform(features.astype(np.float64)))
        return found

    def predict(self, features: NDArray[np.float32]) -> list[str]:
        """Return the most probable class of each utterance: (N, W) -> N names."""
        return [self.classes[index] for index in self.probabilities(features).argmax(-1)]


def fit(
    features: Float[np.ndarray, "N W"],
    labels: Sequence[str],
    *,
    classes: Sequence[str],
    regularisation: float,
    steps: int = STEPS,
) -> Linear:
    """Fit a model.

    Args:
        features: Of the training utterances, (N, W).
        labels: Their classes.
        classes: All classes of the corpus.
        regularisation: C, the inverse strength of the L2 penalty: smaller is simpler.
        steps: Steps of L-BFGS at most.

    Raises:
        UserError: All training utterances are of one class.
    """
    if len(set(labels)) == 1:
        message = f"all training utterances are of one class: {labels[0]}"
        raise UserError(message, hint="Check the corpus with `sbench corpus`.")
    scaler = StandardScaler()
    scaled = scaler.fit_transform(features.astype(np.float64))
    regression = LogisticRegression(C=regularisation, max_iter=steps)
    with warnings.catch_warnings(record=True, action="always", category=ConvergenceWarning) as caught:
        regression.fit(scaled, list(labels))
    return Linear(
        scaler=scaler,
        regression=regression,
        classes=tuple(classes),
        missing=tuple(name for name in classes if name not in set(labels)),
        converged=not any(issubclass(each.category, ConvergenceWarning) for each in caught),
    )
