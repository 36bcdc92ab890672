import statistics
from collections import Counter

import pytest
from hypothesis import given, settings

from bench.accuracy.evaluation.comparison import compare, score_mixer
from bench.accuracy.evaluation.metrics import macro_f, summarise
from bench.accuracy.evaluation.predictions import Predictions
from tests.accuracy.evaluation.oracles import plain_f, plain_macro_f, voices
from tests.accuracy.made_up import EMOTIONS, make, predictions


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
