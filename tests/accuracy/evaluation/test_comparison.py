import dataclasses
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.accuracy.evaluation.comparison import (
    SWAPS,
    PairedComparison,
    Ranking,
    average,
    compare,
    control,
    over_seeds,
    score_mixer,
)
from bench.accuracy.evaluation.intervals import ALPHA
from bench.accuracy.evaluation.metrics import summarise
from bench.accuracy.evaluation.predictions import Predictions
from mixers.support.errors import UserError
from tests.accuracy.evaluation.oracles import PAIRS, plain_macro_f, tolerated
from tests.accuracy.made_up import EMOTIONS, draw, make, predictions

PARTNER: dict[Ranking, Ranking] = {"better": "worse", "worse": "better", "no difference told": "no difference told"}


def aa_verdicts(*, speakers: int, as_if_unknown: bool = False, seeds: int = 1) -> Counter[Ranking]:
    """Compare mixers that are alike, each better with some speakers and worse with others."""
    verdicts: Counter[Ranking] = Counter()
    for trial in range(PAIRS):
        one, other = (
            [
                draw(
                    truth_seed=trial,
                    seed=seed,
                    speakers=speakers,
                    utterances=20 * speakers,
                    consistency=0.45,
                    classes=EMOTIONS[:3],
                    unknown=as_if_unknown,
                )
                for seed in range(first, first + seeds)
            ]
            for first in (0, seeds)
        )
        verdicts[compare(one, other, resamples=200).verdict] += 1
    return verdicts


@pytest.mark.parametrize(("speakers", "seeds"), [(3, 1), (10, 1), (40, 1), (10, 3)])
def test_an_aa_pair_of_mixers_is_told_apart_at_most_at_the_level(speakers: int, seeds: int) -> None:
    verdicts = aa_verdicts(speakers=speakers, seeds=seeds)
    assert verdicts["better"] + verdicts["worse"] <= tolerated(ALPHA)


def test_resampling_utterances_would_fail_that_test() -> None:
    verdicts = aa_verdicts(speakers=10, as_if_unknown=True)
    assert verdicts["better"] + verdicts["worse"] > tolerated(ALPHA)


def test_a_true_difference_is_found() -> None:
    for seed in range(20):
        good, bad = (
            draw(truth_seed=seed, seed=number, accuracy=accuracy, speakers=30, utterances=900, consistency=0.1)
            for number, accuracy in enumerate((0.65, 0.5))
        )
        comparison = compare([good], [bad])
        assert comparison.verdict == "better"
        assert 0 < comparison.difference.low < comparison.difference.value < comparison.difference.high
        assert comparison.p == comparison.p_speakers <= ALPHA
        assert compare([bad], [good]).verdict == "worse"


@settings(max_examples=40, deadline=None)
@given(made=predictions(), data=st.data())
def test_swapping_mixers_mirrors_the_comparison(made: Predictions, data: st.DataObject) -> None:
    guesses = st.lists(st.sampled_from(made.classes), min_size=len(made), max_size=len(made))
    other = dataclasses.replace(made, predictions=tuple(data.draw(guesses)))
    forth, back = (compare([a], [b], resamples=100) for a, b in itertools.permutations([made, other]))
    assert forth.difference.value == pytest.approx(plain_macro_f(made) - plain_macro_f(other), abs=1e-12)
    assert back.difference.value == pytest.approx(-forth.difference.value, abs=1e-12)
    assert (back.difference.low, back.difference.high) == pytest.approx(
        (-forth.difference.high, -forth.difference.low), abs=1e-9
    )
    assert back.p == forth.p
    assert back.verdict == PARTNER[forth.verdict]
    assert forth.p_seeds is None


@settings(max_examples=40, deadline=None)
@given(made=predictions())
def test_a_mixer_is_never_told_apart_from_itself(made: Predictions) -> None:
    for seeds in (1, 2):
        comparison = compare([made] * seeds, [made] * seeds, resamples=50)
        assert comparison.difference.value == 0
        assert comparison.p == 1
        assert comparison.verdict == "no difference told"


def test_a_pair_is_compared_on_the_same_resampled_speakers() -> None:
    one, other = (draw(truth_seed=0, seed=seed, consistency=0.3) for seed in (0, 1))
    expected = score_mixer([one]).resampled - score_mixer([other]).resampled
    found = compare([one], [other]).difference
    assert expected.min() < found.low < np.quantile(expected, 0.025)  # expanded, as there are but 20 speakers
    # What the two have in common says nothing of their difference.
    alike = dataclasses.replace(one, predictions=(*one.predictions[:-1], one.labels[-1]))
    both = compare([one], [alike]).difference
    assert both.high - both.low < 0.2 * (summarise(one).macro_f.high - summarise(one).macro_f.low)


@pytest.mark.parametrize(
    "change",
    [
        lambda made: make(made.labels[:-1], made.predictions[:-1], speakers=made.speakers[:-1]),
        lambda made: dataclasses.replace(made, utterances=(*made.utterances[:-1], "v")),
        lambda made: dataclasses.replace(made, speakers=(*made.speakers[:-1], "nobody")),
        lambda made: dataclasses.replace(
            made, labels=("fear" if made.labels[0] != "fear" else "anger", *made.labels[1:])
        ),
    ],
)
def test_other_utterances_cannot_be_compared(change: Callable[[Predictions], Predictions]) -> None:
    made = draw(truth_seed=0, seed=0)
    for act in (lambda: compare([made], [change(made)]), lambda: score_mixer([made, change(made)])):
        with pytest.raises(UserError, match="different utterances") as refusal:
            act()
        assert "Evaluate all" in refusal.value.hint


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (1, 2)])
def test_mixers_are_compared_seed_by_seed(first: int, second: int) -> None:
    made = draw(truth_seed=0, seed=0)
    with pytest.raises(ValueError, match="seeds cannot be compared"):
        compare([made] * first, [made] * second)


@settings(deadline=None)
@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_pitfall_10_seeds_are_averaged_and_their_spread_is_reported(values: list[float]) -> None:
    found = over_seeds(values)
    assert found.mean == pytest.approx(statistics.fmean(values))
    assert found.deviation == pytest.approx(statistics.stdev(values), abs=1e-12)
    assert found.seeds == len(values)


def test_pitfall_10_one_seed_has_no_spread() -> None:
    found = score_mixer([draw(truth_seed=0, seed=0)]).spread
    assert (found.deviation, found.seeds) == (None, 1)


def test_pitfall_10_a_difference_that_seeds_explain_is_no_ranking() -> None:
    """The first seed of the first mixer beats the second mixer on all speakers, yet the other two do not."""
    sure, good, bad = (
        [
            draw(truth_seed=0, seed=10 * number + seed, accuracy=accuracy, speakers=40, utterances=2000)
            for seed, accuracy in enumerate(each)
        ]
        for number, each in enumerate([(0.75, 0.75, 0.75), (0.95, 0.5, 0.6), (0.5, 0.5, 0.5)])
    )
    explained = compare(good, bad)
    assert explained.difference.low < 0 < compare(good[:1], bad[:1]).difference.low  # an interval over seeds, too
    assert explained.p_speakers <= ALPHA
    assert explained.p_seeds is not None
    assert explained.p == explained.p_seeds > ALPHA
    assert explained.verdict == "no difference told"
    assert compare(good[:1], bad[:1]).verdict == "better"  # these two models do differ
    assert compare(sure, bad).verdict == "better"


def test_a_mixers_score_is_the_mean_over_its_seeds_also_in_each_resample() -> None:
    seeds = [draw(truth_seed=0, seed=seed) for seed in range(3)]
    one_by_one = [score_mixer([each]) for each in seeds]
    together = score_mixer(seeds)
    assert together.resampled == pytest.approx(np.mean([each.resampled for each in one_by_one], axis=0))
    assert together.spread == over_seeds([each.spread.mean for each in one_by_one])
    assert together.estimate.value == together.spread.mean
    assert together.estimate.low < together.estimate.value < together.estimate.high


def test_the_average_of_encoders_is_over_the_same_speakers_and_independent_seeds() -> None:
    encoders = [score_mixer([draw(truth_seed=0, seed=10 * each + seed) for seed in range(3)]) for each in range(2)]
    found = average(encoders)
    assert found.spread.mean == pytest.approx(statistics.fmean(each.spread.mean for each in encoders))
    deviations = [each.spread.deviation or math.nan for each in encoders]
    assert found.spread.deviation == pytest.approx(math.hypot(*deviations) / 2)
    assert found.resampled == pytest.approx((encoders[0].resampled + encoders[1].resampled) / 2)
    assert found.estimate.low < found.estimate.value < found.estimate.high
    single = average([encoders[0], score_mixer([draw(truth_seed=0, seed=9)])])
    assert (single.spread.deviation, single.spread.seeds) == (None, 1)


def some_comparisons(count: int, *, difference: float = 0.0) -> list[PairedComparison]:
    """Compare mixers of which the first one is better by a difference in every third pair."""
    size: dict[str, Any] = {"consistency": 0.2, "speakers": 40, "utterances": 800}
    return [
        compare(
            [draw(truth_seed=trial, seed=0, accuracy=0.5 + difference * (not trial % 3), **size)],
            [draw(truth_seed=trial, seed=1, **size)],
            resamples=200,
        )
        for trial in range(count)
    ]


def test_holm_multiplies_the_smallest_p_by_the_number_of_comparisons() -> None:
    made = some_comparisons(1)[0]
    values = [0.04, 0.01, 0.02, 0.9]
    found = control([dataclasses.replace(made, p=p) for p in values])
    assert [each.p for each in found] == pytest.approx([0.08, 0.04, 0.06, 0.9])
    assert control([]) == []
    assert control([made]) == [made]
    assert [each.p for each in control([dataclasses.replace(made, p=0.7)] * 3)] == [1.0] * 3


def test_a_table_of_equal_mixers_seldom_ranks_any_pair() -> None:
    alone, together = some_comparisons(60), 0
    for first in range(0, 60, 10):
        together += any(each.verdict != "no difference told" for each in control(alone[first : first + 10]))
    assert together <= 1
    assert control(alone)[0].difference == alone[0].difference


def test_true_differences_survive_the_control() -> None:
    verdicts = [each.verdict for each in control(some_comparisons(12, difference=0.3))]
    assert verdicts[::3] == ["better"] * 4
    assert verdicts.count("no difference told") == 8


def test_a_small_p_value_is_smaller_than_any_control_needs() -> None:
    sure, bad = (draw(truth_seed=0, seed=seed, accuracy=0.9 - 0.6 * seed, speakers=40) for seed in (0, 1))
    assert compare([sure], [bad]).p == 1 / (SWAPS + 1)
    assert ALPHA / 900 > 1 / (SWAPS + 1)


def test_the_average_recall_of_a_mixer_is_over_seeds_and_speakers() -> None:
    seeds = [draw(truth_seed=0, seed=seed) for seed in range(3)]
    found, each = score_mixer(seeds).recall, [summarise(one).average_recall for one in seeds]
    assert found.value == pytest.approx(statistics.fmean(one.value for one in each))
    assert found.low < found.value < found.high
    (alone,) = (score_mixer([seeds[0]]).recall,)
    assert (alone.low, alone.high) == pytest.approx((each[0].low, each[0].high))
    both = average([score_mixer([seeds[0]]), score_mixer([seeds[1]])]).recall
    assert both.value == pytest.approx((each[0].value + each[1].value) / 2)
