import dataclasses
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from bench.accuracy.evaluation.metrics import (
    ALPHA,
    Verdict,
    average,
    compare,
    macro_f,
    over_seeds,
    score_mixer,
    summarise,
)
from bench.accuracy.evaluation.predictions import Predictions
from bench.reporting.accuracy.confusion import write_confusion
from mixers.support.errors import UserError
from tests.accuracy.made_up import EMOTIONS, draw, make, predictions

PAIRS = 120

# A rule that errs just as often as it may would exceed `tolerated` for one seed in 100,000: 16 of 120 at 5 %.
SIGMAS = statistics.NormalDist().inv_cdf(1 - 1e-5)

PARTNER: dict[Verdict, Verdict] = {"better": "worse", "worse": "better", "no difference told": "no difference told"}


def tolerated(level: float) -> float:
    """The most often that something of this probability may happen in PAIRS trials."""
    return PAIRS * level + SIGMAS * math.sqrt(PAIRS * level * (1 - level))


def plain_f(made: Predictions, name: str) -> float:
    hits = sum(label == name == found for label, found in zip(made.labels, made.predictions, strict=True))
    claims = made.labels.count(name) + made.predictions.count(name)
    return 2 * hits / claims if claims else 0.0


def plain_macro_f(made: Predictions) -> float:
    return statistics.fmean(plain_f(made, name) for name in made.classes)


def take(made: Predictions, rows: list[int]) -> Predictions:
    """Return some of the utterances, each as often as it is named."""
    return make([made.labels[row] for row in rows], [made.predictions[row] for row in rows], classes=made.classes)


def voices(made: Predictions) -> list[list[int]]:
    """Return the rows of each speaker, the unknown ones by themselves, in the order of the speakers."""
    keys = [
        (speaker, utterance if speaker == "Unknown" else "")
        for speaker, utterance in zip(made.speakers, made.utterances, strict=True)
    ]
    return [[row for row, key in enumerate(keys) if key == voice] for voice in sorted(set(keys))]


@settings(max_examples=25, deadline=None)
@given(made=predictions())
def test_scores_are_those_of_their_plain_forms(made: Predictions) -> None:
    found = summarise(made, resamples=10)
    right = sum(label == guess for label, guess in zip(made.labels, made.predictions, strict=True))
    assert found.macro_f.value == pytest.approx(plain_macro_f(made))
    assert found.micro_f.value == pytest.approx(right / len(made))
    assert found.macro_f.value == pytest.approx(macro_f(made.labels, made.predictions, classes=made.classes))
    recalls = []
    for one in found.classes:
        hits = sum(label == one.name == guess for label, guess in zip(made.labels, made.predictions, strict=True))
        recalls.append(hits / made.labels.count(one.name) if hits else 0.0)
        assert one.recall == pytest.approx(recalls[-1])
        assert one.precision == pytest.approx(hits / made.predictions.count(one.name) if hits else 0.0)
        assert one.f == pytest.approx(plain_f(made, one.name))
        assert one.support == made.labels.count(one.name)
    assert found.average_recall.value == pytest.approx(statistics.fmean(recalls))
    pairs = Counter(zip(made.labels, made.predictions, strict=True))
    assert found.confusion == tuple(tuple(pairs[row, column] for column in made.classes) for row in made.classes)
    assert (found.utterances, found.speakers) == (len(made), len(voices(made)))


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


def test_pitfall_2_macro_f_is_over_all_classes_of_the_corpus() -> None:
    made = make(["anger"] * 3 + ["neutral"], ["anger"] * 3 + ["neutral"])
    found = summarise(made)
    assert found.macro_f.value == found.average_recall.value == 2 / 8  # of those present it would be 1
    assert found.micro_f.value == 1
    assert [one.name for one in found.classes] == list(EMOTIONS)
    assert len(found.confusion) == 8
    assert macro_f(["anger"], ["anger"], classes=EMOTIONS) == 1 / 8
    assert macro_f([0], [0], classes=range(8)) == 1 / 8
    assert score_mixer([made]).spread.mean == 2 / 8
    assert compare([made], [make(made.labels, ["fear"] * 4)]).difference.value == 2 / 8


def test_pitfall_2_also_in_every_resample() -> None:
    made = make(["anger", "neutral"] * 20, ["anger", "neutral"] * 20)
    assert summarise(made).macro_f.high == 2 / 8


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


def aa_verdicts(*, speakers: int, as_if_unknown: bool = False, seeds: int = 1) -> Counter[Verdict]:
    """Compare mixers that are alike, each better with some speakers and worse with others."""
    verdicts: Counter[Verdict] = Counter()
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
        assert comparison.p <= ALPHA
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
def test_pitfall_10_seeds_are_averaged_and_their_spread_is_told(values: list[float]) -> None:
    found = over_seeds(values)
    assert found.mean == pytest.approx(statistics.fmean(values))
    assert found.deviation == pytest.approx(statistics.stdev(values), abs=1e-12)
    assert found.seeds == len(values)


def test_pitfall_10_one_seed_has_no_spread() -> None:
    found = score_mixer([draw(truth_seed=0, seed=0)]).spread
    assert (found.deviation, found.seeds) == (None, 1)


def test_pitfall_10_a_difference_that_seeds_explain_is_not_told() -> None:
    """The first seed of the first mixer beats the second mixer on all speakers, yet the other two do not."""
    sure, good, bad = (
        [
            draw(truth_seed=0, seed=10 * number + seed, accuracy=accuracy, speakers=40, utterances=2000)
            for seed, accuracy in enumerate(each)
        ]
        for number, each in enumerate([(0.75, 0.75, 0.75), (0.95, 0.5, 0.6), (0.5, 0.5, 0.5)])
    )
    explained = compare(good, bad)
    assert explained.difference.low > 0
    assert explained.p <= ALPHA
    assert explained.p_seeds is not None
    assert explained.p_seeds > ALPHA
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


def test_a_confusion_matrix_is_a_table_and_a_picture(tmp_path: Path) -> None:
    made = make(["anger", "anger", "neutral"], ["anger", "neutral", "neutral"], classes=("anger", "fear", "neutral"))
    write_confusion(summarise(made), tmp_path / "sa-0.confusion", title="sa")
    assert (tmp_path / "sa-0.confusion.csv").read_text().splitlines() == [
        "label,anger,fear,neutral",
        "anger,1,0,1",
        "fear,0,0,0",
        "neutral,0,0,1",
    ]
    assert (tmp_path / "sa-0.confusion.png").read_bytes().startswith(b"\x89PNG")
