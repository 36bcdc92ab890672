import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.accuracy.evaluation.predictions import Predictions, pool, read_predictions, write_predictions
from mixers.support.errors import UserError
from tests.accuracy.made_up import make, predictions

CLASSES = ("anger", "neutral")

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=10)  # those of a corpus are on one line


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "sa-0.csv"
    write_predictions(
        make(["anger", "neutral"], ["neutral", "neutral"], speakers=["ann", "bob"], classes=CLASSES), path
    )
    return path


@settings(deadline=None)
@given(utterances=st.lists(names, min_size=1, unique=True, max_size=8), data=st.data())
def test_what_is_written_reads_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, utterances: list[str], data: st.DataObject
) -> None:
    count = len(utterances)
    chosen = data.draw(st.lists(st.sampled_from(CLASSES), min_size=count, max_size=count))
    shares = st.floats(0, 1)
    before = Predictions(
        classes=CLASSES,
        utterances=tuple(utterances),
        speakers=tuple(data.draw(st.lists(names, min_size=count, max_size=count))),
        labels=tuple(reversed(chosen)),
        predictions=tuple(chosen),
        probabilities=np.array(data.draw(st.lists(st.tuples(shares, shares), min_size=count, max_size=count))),
    )
    path = tmp_path_factory.mktemp("predictions") / "sa-0.csv"
    write_predictions(before, path)
    after = read_predictions(path, classes=CLASSES)
    for field in dataclasses.fields(Predictions):
        one, other = getattr(before, field.name), getattr(after, field.name)
        assert np.array_equal(one, other) if field.name == "probabilities" else one == other


def test_the_file_is_a_row_an_utterance(written: Path) -> None:
    assert written.read_text().splitlines() == [
        "utterance,speaker,label,prediction,anger,neutral",
        "u0,ann,anger,neutral,0.01,0.91",
        "u1,bob,neutral,neutral,0.01,0.91",
    ]


def test_the_columns_may_be_in_another_order(written: Path) -> None:
    rows = [line.split(",") for line in written.read_text().splitlines()]
    written.write_text("".join(",".join(reversed(row)) + "\n" for row in rows))
    found = read_predictions(written, classes=CLASSES)
    assert (found.speakers, found.labels) == (("ann", "bob"), ("anger", "neutral"))
    assert found.probabilities.tolist() == [[0.01, 0.91]] * 2


@pytest.mark.parametrize(
    ("damage", "line", "what"),
    [
        (lambda text: text.replace("speaker,", "voice,"), 1, "no column speaker"),
        (lambda text: text.replace(",neutral\n", "\n", 1), 1, "no column neutral"),
        (lambda text: text.replace(",anger,", ",joy,anger,", 1), 1, "more columns than"),
        (lambda text: text.replace("u1,bob,neutral", "u1,bob,joy"), 3, "unknown class 'joy'"),
        (lambda text: text.replace("ann,anger,neutral", "ann,anger,"), 2, "unknown class ''"),
        (lambda text: text.replace("0.91", "nan", 1), 2, "'nan' is no probability"),
        (lambda text: text.replace("0.91\nu1", "inf\nu1"), 2, "'inf' is no probability"),
        (lambda text: text.replace("0.91\nu1", "1.01\nu1"), 2, "'1.01' is no probability"),
        (lambda text: text.replace("0.91\nu1", "much\nu1"), 2, "'much' is no probability"),
        (lambda text: text.replace("u1", "u0"), 3, "'u0' occurs twice"),
        (lambda text: text[:-1], 3, "ends in the middle"),
        (lambda text: text[:-10], 3, "5 fields instead of 6"),
        (lambda text: text.replace("u1", '"u1'), 3, "unexpected end of data"),
        (lambda _: "", 0, "no column utterance"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(
    written: Path, damage: Callable[[str], str], line: int, what: str
) -> None:
    written.write_text(damage(written.read_text()))
    with pytest.raises(UserError, match=what) as refusal:
        read_predictions(written, classes=CLASSES)
    assert f"{written} is damaged in line {line}" in str(refusal.value)
    assert "sbench evaluate" in refusal.value.hint


@settings(deadline=None)
@given(kept=st.integers(0))
def test_a_file_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, kept: int) -> None:
    path = tmp_path_factory.mktemp("predictions") / "sa-0.csv"
    write_predictions(make(["anger"] * 3, ["neutral"] * 3, classes=CLASSES), path)
    content = path.read_bytes()
    kept %= len(content)
    lines = content[:kept].count(b"\n")
    path.write_bytes(content[:kept])
    if lines > 1 and content[:kept].endswith(b"\n"):
        assert len(read_predictions(path, classes=CLASSES)) == lines - 1  # utterances.json tells that some are missing
    else:
        with pytest.raises(UserError, match=r"is damaged|is empty"):
            read_predictions(path, classes=CLASSES)


def test_a_file_without_utterances_is_refused(written: Path) -> None:
    written.write_text(written.read_text().splitlines(keepends=True)[0])
    with pytest.raises(UserError, match="is empty"):
        read_predictions(written, classes=CLASSES)


def test_what_is_no_file_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_predictions(tmp_path / "sa-0.csv", classes=CLASSES)
    (tmp_path / "sa-0.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is not UTF-8"):
        read_predictions(tmp_path / "sa-0.csv", classes=CLASSES)


@settings(deadline=None)
@given(made=predictions())
def test_each_speaker_has_a_confusion_matrix(made: Predictions) -> None:
    expected: dict[object, np.ndarray] = {}
    for row in zip(made.utterances, made.speakers, made.labels, made.predictions, strict=True):
        utterance, speaker, label, predicted = row
        voice = utterance if speaker == "Unknown" else f"speaker {speaker}"
        table = expected.setdefault(voice, np.zeros((len(made.classes), len(made.classes)), int))
        table[made.classes.index(label), made.classes.index(predicted)] += 1
    found = made.speaker_confusions
    assert sorted(map(np.ndarray.tolist, found)) == sorted(map(np.ndarray.tolist, expected.values()))


@settings(deadline=None)
@given(made=predictions(), seed=st.integers(0, 100))
def test_the_order_of_utterances_is_irrelevant(made: Predictions, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(made))
    shuffled = dataclasses.replace(
        made,
        probabilities=made.probabilities[order],
        **{
            name: tuple(getattr(made, name)[index] for index in order)
            for name in ("utterances", "speakers", "labels", "predictions")
        },
    )
    assert np.array_equal(shuffled.speaker_confusions, made.speaker_confusions)
    assert shuffled.truth == made.truth


@settings(deadline=None)
@given(made=predictions())
def test_folds_together_are_the_whole(made: Predictions) -> None:
    parts = []
    for rows in (range(0, len(made), 2), range(1, len(made), 2)):
        names = ("utterances", "speakers", "labels", "predictions")
        fields = {name: tuple(getattr(made, name)[row] for row in rows) for name in names}
        parts.append(dataclasses.replace(made, probabilities=made.probabilities[list(rows)], **fields))
    found = pool(parts)
    assert found.truth == made.truth
    assert np.array_equal(found.speaker_confusions, made.speaker_confusions)
    with pytest.raises(ValueError, match="u0"):
        pool([parts[0], made])
