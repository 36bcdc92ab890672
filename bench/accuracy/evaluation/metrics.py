"""What one set of predictions scores, over all classes of the corpus.

Shapes: C classes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from bench.accuracy.corpora.base import Utterance
from bench.accuracy.evaluation.intervals import RESAMPLES, SEED, Array, Estimate, estimate, resample
from bench.accuracy.evaluation.predictions import Predictions


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """The scores of one class, as fractions; 0 where the denominator is 0."""

    name: str
    precision: float
    recall: float
    f: float
    support: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The scores of one set of predictions.

    Attributes:
        utterances, speakers: Their numbers. Unknown speakers count as `voice_of` in the corpora says.
        macro_f: Mean F-score over all classes.
        micro_f: F-score of all utterances together: the share that is right.
        average_recall: Mean recall over all classes, unweighted.
        classes: The scores of each class of the corpus, including classes without an utterance.
        confusion: Utterances, a row for each true class, a column for each predicted one.
    """

    utterances: int
    speakers: int
    macro_f: Estimate
    micro_f: Estimate
    average_recall: Estimate
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]


def without_utterance(classes: Sequence[str], utterances: Iterable[Utterance]) -> tuple[str, ...]:
    """Return the classes that no utterance has. Each counts 0 in the macro-F and in the average recall of these."""
    labels = {each.label for each in utterances}
    return tuple(name for name in classes if name not in labels)


def not_learned(missing: Sequence[str]) -> str:
    """Return in words what follows where training has no utterance of some classes."""
    it = "it" if len(missing) == 1 else "them"
    return f"training has no utterance of {', '.join(missing)}, so no model can recognise {it}"


def macro_f(labels: Sequence[object], predictions: Sequence[object], *, classes: Sequence[object]) -> float:
    """Return the mean F-score over all classes of the corpus: a class without labels and predictions scores 0.

    Args:
        labels: The true classes, at least one.
        predictions: The predicted ones.
        classes: All classes, by the names or numbers that labels and predictions use.
    """
    return float(f1_score(labels, predictions, labels=list(classes), average="macro", zero_division=0))


def summarise(predictions: Predictions, *, resamples: int = RESAMPLES, seed: int = SEED) -> Summary:
    """Return all scores of one set of predictions, the headline figures with intervals over its speakers."""
    labels, predicted = predictions.indices(predictions.labels), predictions.indices(predictions.predictions)
    every = list(range(len(predictions.classes)))
    precision, recall, f, support = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    micro = f1_score(labels, predicted, labels=every, average="micro", zero_division=0)
    drawn = resample(predictions.speaker_confusions[:, np.newaxis], resamples=resamples, seed=seed)[:, 0]  # (R, C, C)
    speakers = len(predictions.speaker_confusions)

    def headline(value: float, score: Callable[[Array], Array]) -> Estimate:
        return estimate(value, score(drawn), speakers=speakers, widest=(0.0, 1.0))

    return Summary(
        utterances=len(predictions),
        speakers=speakers,
        macro_f=headline(float(np.mean(f)), macro_f_of_confusions),
        micro_f=headline(float(micro), _micro_f_of_confusions),
        average_recall=headline(float(np.mean(recall)), average_recall_of_confusions),
        classes=tuple(
            ClassScore(name=name, precision=float(p), recall=float(r), f=float(one), support=int(count))
            for name, p, r, one, count in zip(predictions.classes, precision, recall, f, support, strict=True)
        ),
        confusion=tuple(tuple(row) for row in confusion_matrix(labels, predicted, labels=every).tolist()),
    )


def macro_f_of_confusions(confusions: Array | NDArray[np.int64]) -> Array:
    """Return the macro-F of each confusion matrix: (..., C, C) -> (...)."""
    return _mean(_share(2 * _hits(confusions), confusions.sum(-1) + confusions.sum(-2)))


def _micro_f_of_confusions(confusions: Array) -> Array:
    """(..., C, C) -> (...)."""
    return _share(_hits(confusions).sum(-1), confusions.sum((-1, -2)))


def average_recall_of_confusions(confusions: Array | NDArray[np.int64]) -> Array:
    """Return the unweighted average recall (UAR) of each confusion matrix: (..., C, C) -> (...)."""
    return _mean(_share(_hits(confusions), confusions.sum(-1)))


def _mean(values: Array) -> Array:
    """(..., n) -> (...)."""
    mean: Array = np.mean(values, axis=-1)
    return mean


def _hits(confusions: Array | NDArray[np.int64]) -> Array:
    """Return the utterances of each class that are right: (..., C, C) -> (..., C)."""
    return np.diagonal(confusions, axis1=-2, axis2=-1).astype(np.float64)


def _share(part: Array, whole: Array) -> Array:
    """Return part / whole, and 0 where the whole is 0, like scikit-learn's ``zero_division=0``."""
    shares: Array = np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)
    return shares
