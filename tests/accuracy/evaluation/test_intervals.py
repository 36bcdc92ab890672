import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from bench.accuracy.evaluation.comparison import compare, score_mixer
from bench.accuracy.evaluation.intervals import ALPHA
from bench.accuracy.evaluation.metrics import summarise
from bench.accuracy.evaluation.predictions import Predictions
from tests.accuracy.evaluation.oracles import PAIRS, tolerated, voices
from tests.accuracy.made_up import draw, make, predictions


def take(made: Predictions, rows: list[int]) -> Predictions:
    """Return some of the utterances, each as often as it is named."""
    return make([made.labels[row] for row in rows], [made.predictions[row] for row in rows], classes=made.classes)


@settings(max_examples=25, deadline=None)
@given(made=predictions())
def test_resamples_score_what_scikit_learn_says_of_them(made: Predictions) -> None:
    resampled = score_mixer([made], resamples=4, seed=3).resampled
    rows = voices(made)
    drawn = np.random.default_rng(3).integers(len(rows), size=(4, len(rows)))
    for speakers, score in zip(drawn, resampled, strict=True):
        again = take(made, [row for speaker in speakers for row in rows[speaker]])
        expected = sklearn_metrics.f1_score(
            again.labels, again.predictions, labels=made.classes, average="macro", zero_division=0
        )
        assert score == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(made=predictions(), count=st.integers(1, 120))
def test_every_headline_lies_within_its_interval(made: Predictions, count: int) -> None:
    found = summarise(made, resamples=count)
    for estimate in (found.macro_f, found.micro_f, found.average_recall):
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_the_same_predictions_give_the_same_interval_and_another_seed_another() -> None:
    made = draw(truth_seed=0, seed=0)
    assert summarise(made) == summarise(made)
    assert summarise(made, seed=1).macro_f != summarise(made).macro_f
    assert summarise(made, seed=1).macro_f.value == summarise(made).macro_f.value


@pytest.mark.parametrize(("speakers", "tell"), [(1, False), (5, False), (6, True)])
def test_a_few_speakers_tell_nothing_of_others(speakers: int, tell: bool) -> None:
    good, bad = (draw(truth_seed=0, seed=0, accuracy=accuracy, speakers=speakers) for accuracy in (0.9, 0.1))
    found, difference = summarise(good).macro_f, compare([good], [bad]).difference
    assert ((found.low, found.high) == (0, 1)) is not tell
    assert ((difference.low, difference.high) == (-1, 1)) is not tell
    assert compare([good], [bad]).verdict == ("better" if tell else "no difference told")


def test_unknown_speakers_of_one_podcast_are_one_speaker() -> None:
    names = ("MSP-PODCAST_0001_0008.wav", "MSP-PODCAST_0001_0100_0001.wav", "MSP-PODCAST_0002_0008.wav", "other.wav")
    made = make(["anger"] * 4, ["anger"] * 4, speakers=["Unknown"] * 4)
    assert summarise(dataclasses.replace(made, utterances=names)).speakers == 3
    known = dataclasses.replace(made, utterances=names, speakers=("Unknown", "7", "7", "Unknown"))
    assert summarise(known).speakers == 3  # a known speaker of the podcast is not one of its unknown ones


def test_utterances_of_unknown_speakers_are_speakers_of_their_own() -> None:
    known = draw(truth_seed=0, seed=0, speakers=10, consistency=0.4)
    unknown = dataclasses.replace(known, speakers=("Unknown",) * len(known))
    assert (summarise(known).speakers, summarise(unknown).speakers) == (10, 200)
    width = {made: summarise(made).micro_f.high - summarise(made).micro_f.low for made in (known, unknown)}
    assert width[unknown] < width[known]


@pytest.mark.parametrize("speakers", [6, 40])
def test_the_interval_holds_the_true_score_as_often_as_stated(speakers: int) -> None:
    missed = 0
    for seed in range(PAIRS):
        made = draw(truth_seed=seed, seed=0, speakers=speakers, utterances=10 * speakers, consistency=0.4)
        found = summarise(made, resamples=200).micro_f
        missed += not found.low <= 0.5 <= found.high
    assert missed <= tolerated(ALPHA)
