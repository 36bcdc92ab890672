"""The score of a mixer over its seeds, which of two mixers is better, and which of many pairs differ.

Two kinds of chance are kept apart. The speakers of a split are one: the intervals over speakers cover it. The seed that
a mixer was trained with is the other: no resampling of speakers covers it, only the spread over seeds. A ranking of
mixers must hold against both, and against the number of comparisons.

Shapes: R resamples, S speakers, N seeds of a mixer, C classes.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from bench.accuracy.evaluation.intervals import (
    ALPHA,
    RESAMPLES,
    SEED,
    Array,
    Estimate,
    blocks,
    estimate,
    resample,
    speaker_tables,
)
from bench.accuracy.evaluation.metrics import average_recall_of_confusions, macro_f, macro_f_of_confusions
from bench.accuracy.evaluation.predictions import Predictions

SWAPS = 20_000  # at most: the smallest p-value is then below 5 % of one of 900 comparisons
_ENOUGH = 20

Ranking = Literal["better", "worse", "no difference told"]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over seeds.

    Attributes:
        mean: Over the seeds.
        deviation: Standard deviation of a single seed (denominator n - 1); None for one seed.
        seeds: Their number.
    """

    mean: float
    deviation: float | None
    seeds: int


@dataclass(frozen=True, kw_only=True, eq=False)
class MixerScore:
    """The macro-F of a mixer on a split, a fraction.

    Attributes:
        spread: Over its seeds.
        estimate: The mean over its seeds, with the interval over speakers: for these models, not for other seeds.
        resampled: That mean in each resample, (R,). On the same utterances, each entry is of the same speakers.
        recall: The unweighted average recall (UAR), the mean over seeds, with its interval over speakers.
        recall_resampled: As ``resampled``.
        speakers: Their number.
    """

    spread: Spread
    estimate: Estimate
    resampled: Array
    recall: Estimate
    recall_resampled: Array
    speakers: int


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Two mixers on the same utterances.

    Attributes:
        difference: Macro-F of the first minus that of the second, a fraction; with several seeds, of the means. Its
            interval is over speakers and, with several seeds, over seeds.
        p_speakers: How often randomly swapping the two sets of predictions of each speaker gives as large a difference.
        p_seeds: The same for the seeds (Welch's t-test). None for one seed: the verdict is then on these two trained
            models, not on the mixers.
        p: The larger of the two, multiplied as Holm's method says if it is one of several comparisons.
        verdict: On the first.
    """

    difference: Estimate
    p_speakers: float
    p_seeds: float | None
    p: float
    verdict: Ranking


def over_seeds(values: Sequence[float]) -> Spread:
    """Return the mean of a figure over at least one seed, and the spread between seeds."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(mean=float(np.mean(values)), deviation=deviation, seeds=len(values))


def score_mixer(seeds: Sequence[Predictions], *, resamples: int = RESAMPLES, seed: int = SEED) -> MixerScore:
    """Return the macro-F of a mixer over its seeds.

    Args:
        seeds: One set of predictions each, at least one, all on the same utterances.
        resamples: Resamples of the interval.
        seed: Seed of the resampling.

    Raises:
        UserError: The utterances differ.
    """
    tables = speaker_tables(seeds)  # (S, N, C, C)
    spread = over_seeds([macro_f(each.labels, each.predictions, classes=each.classes) for each in seeds])
    drawn = resample(tables, resamples=resamples, seed=seed)  # (R, N, C, C)
    return _mixer_score(
        spread,
        macro_f_of_confusions(drawn).mean(-1),
        recall=float(average_recall_of_confusions(tables.sum(0)).mean()),
        recall_resampled=average_recall_of_confusions(drawn).mean(-1),
        speakers=len(tables),
    )


def average(scores: Sequence[MixerScore]) -> MixerScore:
    """Return the mean of scores on the same utterances with as many resamples, for instance of several encoders.

    Seeds of different encoders are independent, so the variances of the spreads add up.
    """
    deviations = [score.spread.deviation for score in scores if score.spread.deviation is not None]
    spread = Spread(
        mean=float(np.mean([score.spread.mean for score in scores])),
        deviation=math.hypot(*deviations) / len(scores) if len(deviations) == len(scores) else None,
        seeds=min(score.spread.seeds for score in scores),
    )
    return _mixer_score(
        spread,
        np.stack([score.resampled for score in scores], axis=-1).mean(-1),  # (R,)
        recall=float(np.mean([score.recall.value for score in scores])),
        recall_resampled=np.stack([score.recall_resampled for score in scores], axis=-1).mean(-1),
        speakers=scores[0].speakers,
    )


def _mixer_score(spread: Spread, drawn: Array, *, recall: float, recall_resampled: Array, speakers: int) -> MixerScore:
    return MixerScore(
        spread=spread,
        estimate=estimate(spread.mean, drawn, speakers=speakers, widest=(0.0, 1.0)),
        resampled=drawn,
        recall=estimate(recall, recall_resampled, speakers=speakers, widest=(0.0, 1.0)),
        recall_resampled=recall_resampled,
        speakers=speakers,
    )


def compare(
    first: Sequence[Predictions], second: Sequence[Predictions], *, resamples: int = RESAMPLES, seed: int = SEED
) -> PairedComparison:
    """Compare two mixers on the same utterances, each trained with the same number of seeds.

    One is better if three things hold. The interval of the difference over speakers and seeds excludes 0. Swapping
    shows that equal mixers would seldom differ as much (an exact test with any number of speakers). With several seeds,
    their spread does not explain the difference. Equal mixers are thus ranked in at most 5 of 100 comparisons; with
    `control`, in at most 5 of 100 tables.

    Args:
        first: One mixer's predictions, one set for each seed.
        second: The other's.
        resamples: Number of resamples.
        seed: Seed of resamples and swaps.

    Raises:
        UserError: The utterances differ.
        ValueError: One has more seeds than the other, or none.
    """
    if not 0 < len(first) == len(second):
        raise ValueError(f"{len(first)} and {len(second)} seeds cannot be compared: give as many of each, one or more")
    tables = speaker_tables([*first, *second])  # (S, 2 N, C, C)
    scores = macro_f_of_confusions(tables.sum(0))  # (2 N,)
    drawn = _resample_seeds(macro_f_of_confusions(resample(tables, resamples=resamples, seed=seed)), seed=seed)
    difference = estimate(float(_difference(scores)), drawn, speakers=len(tables), widest=(-1.0, 1.0))
    p_speakers = _swapping_p(tables, seed=seed)
    p_seeds = _seeds_p(scores) if len(first) > 1 else None
    p = max(p_speakers, p_seeds or 0.0)  # a difference must hold against either, so the larger one counts
    return PairedComparison(
        difference=difference, p_speakers=p_speakers, p_seeds=p_seeds, p=p, verdict=_verdict(difference, p)
    )


def control(comparisons: Sequence[PairedComparison]) -> list[PairedComparison]:
    """Return comparisons with p-values and verdicts that take their number into account, in the same order.

    If no two mixers differed, a pair would be ranked in at most 5 of 100 such sets of comparisons, whatever their
    dependence (S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6,
    1979).
    """
    count = len(comparisons)
    order = np.argsort([each.p for each in comparisons], kind="stable")
    ordered = np.array([each.p for each in comparisons])[order]
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(np.maximum.accumulate(ordered * (count - np.arange(count))), 1.0)
    return [
        dataclasses.replace(each, p=float(p), verdict=_verdict(each.difference, float(p)))
        for each, p in zip(comparisons, adjusted, strict=True)
    ]


def _verdict(difference: Estimate, p: float) -> Ranking:
    excludes_zero = difference.low > 0 or difference.high < 0
    if not (excludes_zero and p <= ALPHA):
        return "no difference told"
    return "better" if difference.value > 0 else "worse"


def _difference(scores: Array) -> Array:
    """Return the mean of the first half of the sets minus that of the second half: (..., 2 N) -> (...)."""
    first, second = np.split(scores, 2, axis=-1)
    difference: Array = np.mean(first, axis=-1) - np.mean(second, axis=-1)
    return difference


def _resample_seeds(scores: Array, *, seed: int) -> Array:
    """Return the difference in each resample of speakers, with the seeds of each mixer also drawn: (R, 2 N) -> (R,).

    Draws of N seeds vary less than seeds do, by sqrt((N - 1) / N), so their deviation is expanded. One seed stays.
    """
    resamples, seeds = len(scores), scores.shape[-1] // 2
    fixed = _difference(scores)
    if seeds == 1:
        return fixed
    generator = np.random.default_rng([seed, 1])
    drawn = generator.integers(seeds, size=(resamples, 2, seeds)) + np.array([[[0], [seeds]]])
    chosen = _difference(np.take_along_axis(scores, drawn.reshape(resamples, -1), axis=-1))
    return fixed + math.sqrt(seeds / (seeds - 1)) * (chosen - fixed)


def _swapping_p(tables: NDArray[np.int64], *, seed: int) -> float:
    """Return the p-value of a permutation test: for each speaker, it is random which mixer is the first.

    It draws until swaps have given as large a difference `_ENOUGH` times, so a small p-value is exact to a few percent
    and a large one takes few draws (J. Besag and P. Clifford, Sequential Monte Carlo p-values, Biometrika 78, 1991).
    After all draws, the observed assignment counts as one of them, which makes the test exact (B. Phipson and G. K.
    Smyth, Permutation p-values should never be zero, Statistical Applications in Genetics and Molecular Biology 9,
    2010).
    """
    speakers, sets, *_ = tables.shape
    first, second = tables[:, : sets // 2], tables[:, sets // 2 :]
    together = (first + second).sum(0)  # (N, C, C)
    apart = sparse.csr_array((first - second).reshape(speakers, -1).astype(np.float64))
    generator = np.random.default_rng(seed)
    observed = abs(_difference(macro_f_of_confusions(tables.sum(0))))
    as_large, before = 0, 0
    for count in blocks(SWAPS):
        signs = 2.0 * generator.integers(2, size=(count, speakers)) - 1.0
        half = np.asarray(signs @ apart).reshape(count, *together.shape)
        swapped = np.concatenate([together + half, together - half], axis=1) / 2  # (R, 2 N, C, C)
        differences = np.abs(_difference(macro_f_of_confusions(swapped)))
        (found,) = np.nonzero(differences >= observed - 1e-12)  # so that rounding breaks no tie
        if as_large + len(found) >= _ENOUGH:
            return _ENOUGH / (before + int(found[_ENOUGH - as_large - 1]) + 1)
        as_large, before = as_large + len(found), before + count
    return (as_large + 1) / (SWAPS + 1)


def _seeds_p(scores: Array) -> float:
    """Return the p-value of Welch's t-test on the scores of several seeds of two mixers.

    Where seeds change nothing in one of them, it is Student's test of the other's seeds against one figure.
    """
    first, second = np.split(scores, 2)
    if not np.ptp(first) and not np.ptp(second):
        return float(first[0] == second[0])  # seeds change nothing, so they explain no difference
    for constant, other in ((first, second), (second, first)):
        if not np.ptp(constant):
            return float(stats.ttest_1samp(other, constant[0]).pvalue)
    return float(stats.ttest_ind(first, second, equal_var=False).pvalue)
