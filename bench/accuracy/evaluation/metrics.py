"""What predictions score over all classes of the corpus, how sure that is, and which of two mixers is better.

Two kinds of chance are kept apart. Which speakers a split happens to have: utterances of one speaker are alike and no
independent draws, so intervals come from resampling speakers, whole. And which seed a mixer was trained with: of that
no resampling knows anything; it is the spread over seeds, and a verdict on mixers must stand against both.

Shapes: R resamples, S speakers, N sets of predictions (a mixer's seeds), C classes.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from bench.accuracy.evaluation.predictions import Predictions
from mixers.support.errors import UserError

Verdict = Literal["better", "worse", "no difference told"]

ALPHA = 0.05  # how often an interval may miss, and how often two mixers that are alike may be told apart

RESAMPLES = 1000
SEED = 0  # of the resampling, the same everywhere: so the same speakers are drawn for all that has the same speakers

# Speakers go beyond the truth all to the same side in 2 of 2**n cases, and so does then all that resamples them, and
# all that swaps them: of fewer than six, no interval at 95 % and no verdict can be had.
FEWEST_SPEAKERS = next(count for count in itertools.count(1) if 2 / 2**count <= ALPHA)

_AT_ONCE = 50  # resamples: at the 30,000 speakers that unknown ones can come to, 12 MB of weights

Array = NDArray[np.float64]
Score = Callable[[Array], Array]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and its interval at 95 %, all fractions; of too few speakers all that a figure can be."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """What one class scores, as fractions; 0 where there is nothing to divide by."""

    name: str
    precision: float
    recall: float
    f: float
    support: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What one set of predictions scores.

    Attributes:
        utterances, speakers: How many; each utterance of an unknown speaker counts as one more.
        macro_f: Mean over all classes of their F-scores.
        micro_f: F-score of all utterances together: the share that is right.
        average_recall: Mean over all classes of their recalls, unweighted.
        classes: The scores of each, all of the corpus's, also those without an utterance.
        confusion: Utterances, a row for each true class, a column for each predicted one.
    """

    utterances: int
    speakers: int
    macro_f: Estimate
    micro_f: Estimate
    average_recall: Estimate
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over seeds.

    Attributes:
        mean: Over the seeds.
        deviation: Standard deviation of a single seed (n - 1 below the line); None of one seed, which shows none.
        seeds: How many.
    """

    mean: float
    deviation: float | None
    seeds: int


@dataclass(frozen=True, kw_only=True, eq=False)
class MixerScore:
    """The macro-F of a mixer on a split, a fraction.

    Attributes:
        spread: Over its seeds.
        estimate: Of the mean over its seeds, with the interval over speakers: of these models, not of other seeds.
        resampled: That mean in each resample, (R,): on the same utterances, entry by entry of the same speakers.
        speakers: How many there are.
    """

    spread: Spread
    estimate: Estimate
    resampled: Array
    speakers: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two mixers on the same utterances.

    Attributes:
        difference: Macro-F of the first less that of the second, a fraction; over several seeds, of the means.
        p: How often speakers whose two sets of predictions are swapped at random come to as large a difference.
        p_seeds: The same question of the seeds (Welch's t-test); None of one seed, where the verdict is on these two
            trained models and not on the mixers.
        verdict: On the first.
    """

    difference: Estimate
    p: float
    p_seeds: float | None
    verdict: Verdict


def macro_f(labels: Sequence[object], predictions: Sequence[object], *, classes: Sequence[object]) -> float:
    """Return the mean F-score over all classes of the corpus: one that nobody has or predicts scores 0.

    Args:
        labels: The true classes, at least one.
        predictions: The predicted ones.
        classes: All there are, by the names or numbers that labels and predictions have.
    """
    return float(f1_score(labels, predictions, labels=list(classes), average="macro", zero_division=0))


def summarise(predictions: Predictions, *, resamples: int = RESAMPLES, seed: int = SEED) -> Summary:
    """Return all scores of one set of predictions, the headline figures with intervals over its speakers."""
    labels, predicted = predictions.indices(predictions.labels), predictions.indices(predictions.predictions)
    every = list(range(len(predictions.classes)))
    precision, recall, f, support = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    micro = f1_score(labels, predicted, labels=every, average="micro", zero_division=0)
    drawn = _resampled(predictions.speaker_confusions[:, np.newaxis], resamples=resamples, seed=seed)[:, 0]  # (R, C, C)
    speakers = len(predictions.speaker_confusions)

    def estimate(value: float, score: Score) -> Estimate:
        return _estimate(value, score(drawn), speakers=speakers, widest=(0.0, 1.0))

    return Summary(
        utterances=len(predictions),
        speakers=speakers,
        macro_f=estimate(float(np.mean(f)), _macro_f),
        micro_f=estimate(float(micro), _micro_f),
        average_recall=estimate(float(np.mean(recall)), _average_recall),
        classes=tuple(
            ClassScore(name=name, precision=float(p), recall=float(r), f=float(one), support=int(count))
            for name, p, r, one, count in zip(predictions.classes, precision, recall, f, support, strict=True)
        ),
        confusion=tuple(tuple(row) for row in confusion_matrix(labels, predicted, labels=every).tolist()),
    )


def over_seeds(values: Sequence[float]) -> Spread:
    """Return the mean of a figure over at least one seed, and how far seeds are apart."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(mean=float(np.mean(values)), deviation=deviation, seeds=len(values))


def score_mixer(seeds: Sequence[Predictions], *, resamples: int = RESAMPLES, seed: int = SEED) -> MixerScore:
    """Return the macro-F of a mixer over its seeds.

    Args:
        seeds: One set of predictions each, at least one, all on the same utterances.
        resamples: Of the interval.
        seed: Of the resampling.

    Raises:
        UserError: The utterances differ.
    """
    tables = _tables(seeds)  # (S, N, C, C)
    spread = over_seeds([macro_f(each.labels, each.predictions, classes=each.classes) for each in seeds])
    drawn = _mean(_macro_f(_resampled(tables, resamples=resamples, seed=seed)))
    estimate = _estimate(spread.mean, drawn, speakers=len(tables), widest=(0.0, 1.0))
    return MixerScore(spread=spread, estimate=estimate, resampled=drawn, speakers=len(tables))


def average(scores: Sequence[MixerScore]) -> MixerScore:
    """Return the mean of scores on the same utterances with as many resamples, for instance of several encoders.

    Seeds of one encoder have nothing to do with those of another, so the variances of the spreads add up.
    """
    deviations = [score.spread.deviation for score in scores if score.spread.deviation is not None]
    spread = Spread(
        mean=float(np.mean([score.spread.mean for score in scores])),
        deviation=math.hypot(*deviations) / len(scores) if len(deviations) == len(scores) else None,
        seeds=min(score.spread.seeds for score in scores),
    )
    drawn = _mean(np.stack([score.resampled for score in scores], axis=-1))
    speakers = scores[0].speakers
    estimate = _estimate(spread.mean, drawn, speakers=speakers, widest=(0.0, 1.0))
    return MixerScore(spread=spread, estimate=estimate, resampled=drawn, speakers=speakers)


def compare(
    first: Sequence[Predictions], second: Sequence[Predictions], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Comparison:
    """Compare two mixers on the same utterances, each trained with the same number of seeds.

    One is better where the interval of the difference over speakers excludes 0, swapping says that mixers which are
    alike would seldom come to it (an exact test, however few speakers there are), and, of several seeds, their spread
    does not explain it either. So mixers that are alike are told apart in at most 5 of 100 comparisons.

    Args:
        first: One mixer's, a seed each.
        second: The other's.
        resamples: Of the interval and of the swapping.
        seed: Of both.

    Raises:
        UserError: The utterances differ.
        ValueError: One has more seeds than the other, or none.
    """
    if not 0 < len(first) == len(second):
        raise ValueError(f"{len(first)} and {len(second)} seeds cannot be compared: give as many of each, one or more")
    tables = _tables([*first, *second])  # (S, 2 N, C, C)
    scores = _macro_f(tables.sum(0))
    difference = float(_difference(scores))
    drawn = _difference(_macro_f(_resampled(tables, resamples=resamples, seed=seed)))
    estimate = _estimate(difference, drawn, speakers=len(tables), widest=(-1.0, 1.0))
    p = _swapping(tables, resamples=resamples, seed=seed)
    p_seeds = _welch(scores) if len(first) > 1 else None
    told = (estimate.low > 0 or estimate.high < 0) and p <= ALPHA and (p_seeds is None or p_seeds <= ALPHA)
    verdict: Verdict = "no difference told" if not told else "better" if difference > 0 else "worse"
    return Comparison(difference=estimate, p=p, p_seeds=p_seeds, verdict=verdict)


def first_mismatch(one: Predictions, other: Predictions) -> str | None:
    """Return an utterance that only one has, or whose speaker or label differs; None where they are on the same."""
    return min((name for name, _, _ in one.truth ^ other.truth), default=None)


def _tables(sets: Sequence[Predictions]) -> NDArray[np.int64]:
    """Return (S, N, C, C): for each speaker and each set its confusion matrix."""
    for other in sets[1:]:
        if (name := first_mismatch(sets[0], other)) is not None:
            raise UserError(
                f"predictions on different utterances cannot be compared: {name!r} is not the same in both",
                hint="Evaluate all on the same splits of the same corpus.",
            )
    return np.stack([each.speaker_confusions for each in sets], axis=1)


def _resampled(tables: NDArray[np.int64], *, resamples: int, seed: int) -> Array:
    """Return (R, N, C, C): confusion matrices of as many speakers, drawn with replacement, the same for all sets."""
    speakers = len(tables)
    # Sparse, as few speakers show every confusion; and a dense product would set threads of BLAS on so little work,
    # which takes 100 times as long where another process has a core of theirs.
    flat = sparse.csr_array(tables.reshape(speakers, -1).astype(np.float64))
    generator = np.random.default_rng(seed)

    def weights(count: int) -> Array:
        drawn = generator.integers(speakers, size=(count, speakers)) + speakers * np.arange(count)[:, np.newaxis]
        return np.bincount(drawn.ravel(), minlength=count * speakers).reshape(count, speakers).astype(np.float64)

    drawn = [np.asarray(weights(count) @ flat) for count in _batches(resamples)]
    return np.concatenate(drawn).reshape(resamples, *tables.shape[1:])


def _swapping(tables: NDArray[np.int64], *, resamples: int, seed: int) -> float:
    """Return the p-value of a permutation test: for each speaker, who is first and who is second is random.

    Counting the observed assignment as one of those drawn makes it exact (B. Phipson and G. K. Smyth, Permutation
    p-values should never be zero, Statistical Applications in Genetics and Molecular Biology 9, 2010).
    """
    speakers, sets, *_ = tables.shape
    first, second = tables[:, : sets // 2], tables[:, sets // 2 :]
    together = (first + second).sum(0)  # (N, C, C)
    apart = sparse.csr_array((first - second).reshape(speakers, -1).astype(np.float64))
    generator = np.random.default_rng(seed)
    observed = abs(_difference(_macro_f(tables.sum(0))))
    as_large = 1
    for count in _batches(resamples):
        signs = 2.0 * generator.integers(2, size=(count, speakers)) - 1.0
        half = np.asarray(signs @ apart).reshape(count, *together.shape)
        swapped = np.concatenate([together + half, together - half], axis=1) / 2  # (R, 2 N, C, C)
        as_large += int(np.sum(np.abs(_difference(_macro_f(swapped))) >= observed - 1e-12))  # rounding parts no ties
    return as_large / (resamples + 1)


def _batches(count: int) -> Iterator[int]:
    for start in range(0, count, _AT_ONCE):
        yield min(_AT_ONCE, count - start)


def _difference(scores: Array) -> Array:
    """Return the mean of the first half of the sets less that of the second half: (..., 2 N) -> (...)."""
    first, second = np.split(scores, 2, axis=-1)
    return _mean(first) - _mean(second)


def _welch(scores: Array) -> float:
    """Return the p-value of Welch's t-test on the scores of several seeds of two mixers."""
    first, second = np.split(scores, 2)
    if not np.ptp(first) and not np.ptp(second):
        return float(first[0] == second[0])  # seeds change nothing, so neither do they explain any difference
    return float(stats.ttest_ind(first, second, equal_var=False).pvalue)


def _estimate(value: float, drawn: Array, *, speakers: int, widest: tuple[float, float]) -> Estimate:
    """Return a figure with its percentile interval, expanded for few speakers.

    Resamples vary less than speakers do, by sqrt((S - 1) / S), and their percentiles are as narrow as if the spread of
    the speakers were known; both matter where there are few. The tails taken are such that a mean of S normal draws
    gets Student's interval (T. C. Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician
    69, 2015: the expanded percentile interval).
    """
    if speakers < FEWEST_SPEAKERS:
        return Estimate(value=value, low=widest[0], high=widest[1])
    tail = stats.norm.sf(math.sqrt(speakers / (speakers - 1)) * stats.t.isf(ALPHA / 2, speakers - 1))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    # Where a class has but a speaker or two, many resamples lack it, and most score below what all speakers do.
    return Estimate(value=value, low=min(float(low), value), high=max(float(high), value))


def _macro_f(confusions: Array | NDArray[np.int64]) -> Array:
    """(..., C, C) -> (...)."""
    return _mean(_share(2 * _hits(confusions), confusions.sum(-1) + confusions.sum(-2)))


def _micro_f(confusions: Array) -> Array:
    """(..., C, C) -> (...)."""
    return _share(_hits(confusions).sum(-1), confusions.sum((-1, -2)))


def _average_recall(confusions: Array) -> Array:
    """(..., C, C) -> (...)."""
    return _mean(_share(_hits(confusions), confusions.sum(-1)))


def _mean(values: Array) -> Array:
    """(..., n) -> (...)."""
    mean: Array = np.mean(values, axis=-1)
    return mean


def _hits(confusions: Array | NDArray[np.int64]) -> Array:
    return np.diagonal(confusions, axis1=-2, axis2=-1).astype(np.float64)


def _share(part: Array, whole: Array) -> Array:
    """Return part / whole, 0 where the whole is nothing: the scores' zero_division."""
    shares: Array = np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)
    return shares
