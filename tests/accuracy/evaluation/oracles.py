"""Scores in their plain form, and how often a random event may happen in a test."""

import math
import statistics

from bench.accuracy.evaluation.predictions import Predictions

PAIRS = 120

# A rule that errs just as often as it may would exceed `tolerated` for one seed in 100,000: 16 of 120 at 5 %.
SIGMAS = statistics.NormalDist().inv_cdf(1 - 1e-5)


def tolerated(level: float) -> float:
    """The most often that something of this probability may happen in PAIRS trials."""
    return PAIRS * level + SIGMAS * math.sqrt(PAIRS * level * (1 - level))


def plain_f(made: Predictions, name: str) -> float:
    hits = sum(label == name == found for label, found in zip(made.labels, made.predictions, strict=True))
    claims = made.labels.count(name) + made.predictions.count(name)
    return 2 * hits / claims if claims else 0.0


def plain_macro_f(made: Predictions) -> float:
    return statistics.fmean(plain_f(made, name) for name in made.classes)


def voices(made: Predictions) -> list[list[int]]:
    """Return the rows of each speaker, the unknown ones by themselves, in the order of the speakers."""
    keys = [
        (speaker, utterance if speaker == "Unknown" else "")
        for speaker, utterance in zip(made.speakers, made.utterances, strict=True)
    ]
    return [[row for row, key in enumerate(keys) if key == voice] for voice in sorted(set(keys))]
