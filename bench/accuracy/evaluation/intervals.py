"""Intervals over speakers: how sure a score is, given the speakers that a split happens to have.

Utterances of one speaker are alike, so they are no independent draws. Resampling therefore draws whole speakers.

Shapes: R resamples, S speakers, N sets of predictions, C classes.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from bench.accuracy.evaluation.predictions import Predictions
from mixers.support.errors import UserError

ALPHA = 0.05  # how often an interval may miss, and how often two equal mixers may be called different

RESAMPLES = 1000
SEED = 0  # of the resampling, always the same: the same speakers are drawn for all sets with the same speakers

# All speakers deviate from the truth to the same side in 2 of 2**n cases, and then so do all resamples and all swaps of
# them. Fewer than six speakers therefore allow neither an interval at 95 % nor a ranking.
FEWEST_SPEAKERS = next(count for count in itertools.count(1) if 2 / 2**count <= ALPHA)

_BLOCK = 50  # resamples at once: 12 MB of weights for 30,000 speakers, as many as unknown ones can make

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and its interval at 95 %, as fractions; with too few speakers the interval is all possible values."""

    value: float
    low: float
    high: float


def speaker_tables(sets: Sequence[Predictions]) -> NDArray[np.int64]:
    """Return the confusion matrix of each speaker and each set, (S, N, C, C).

    Raises:
        UserError: The sets are not on the same utterances.
    """
    for other in sets[1:]:
        if (name := first_mismatch(sets[0], other)) is not None:
            raise UserError(
                f"predictions on different utterances cannot be compared: {name!r} is not the same in both",
                hint="Evaluate all on the same splits of the same corpus.",
            )
    return np.stack([each.speaker_confusions for each in sets], axis=1)


def first_mismatch(one: Predictions, other: Predictions) -> str | None:
    """Return an utterance that only one has, or whose speaker or label differs; None if there is none."""
    return min((name for name, _, _ in one.truth ^ other.truth), default=None)


def resample(tables: NDArray[np.int64], *, resamples: int, seed: int) -> Array:
    """Return confusion matrices of as many speakers drawn with replacement, the same ones for all sets.

    Args:
        tables: The confusion matrix of each speaker and set, (S, N, C, C).
        resamples: R.
        seed: Seed of the draws.

    Returns:
        (R, N, C, C).
    """
    speakers = len(tables)
    # Sparse, since few speakers show every confusion. A dense product would also start threads of BLAS for little work,
    # which takes 100 times as long where another process uses the cores.
    flat = sparse.csr_array(tables.reshape(speakers, -1).astype(np.float64))
    generator = np.random.default_rng(seed)

    def weights(count: int) -> Array:
        drawn = generator.integers(speakers, size=(count, speakers)) + speakers * np.arange(count)[:, np.newaxis]
        return np.bincount(drawn.ravel(), minlength=count * speakers).reshape(count, speakers).astype(np.float64)

    drawn = [np.asarray(weights(count) @ flat) for count in blocks(resamples)]
    return np.concatenate(drawn).reshape(resamples, *tables.shape[1:])


def blocks(count: int) -> Iterator[int]:
    """Split a number of resamples into blocks that fit into memory."""
    for start in range(0, count, _BLOCK):
        yield min(_BLOCK, count - start)


def estimate(value: float, drawn: Array, *, speakers: int, widest: tuple[float, float]) -> Estimate:
    """Return a figure with its percentile interval, expanded for few speakers.

    Resamples vary less than speakers do, by sqrt((S - 1) / S). Their percentiles are also as narrow as if the spread of
    the speakers were known. Both matter with few speakers. The tails are chosen so that a mean of S normal draws gets
    Student's interval (T. C. Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69,
    2015: the expanded percentile interval).

    Args:
        value: The figure on all speakers.
        drawn: The figure in each resample, (R,).
        speakers: S.
        widest: The interval if there are too few speakers: all that the figure can be.
    """
    if speakers < FEWEST_SPEAKERS:
        return Estimate(value=value, low=widest[0], high=widest[1])
    tail = stats.norm.sf(math.sqrt(speakers / (speakers - 1)) * stats.t.isf(ALPHA / 2, speakers - 1))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    # If a class has only one or two speakers, many resamples lack it, and most score below the full set.
    return Estimate(value=value, low=min(float(low), value), high=max(float(high), value))
