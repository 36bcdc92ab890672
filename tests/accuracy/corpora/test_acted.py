"""RAVDESS and CREMA-D, whose file names say everything; the recordings written here are empty files."""

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.accuracy.corpora import load
from bench.accuracy.corpora.readers import crema_d, ravdess
from bench.accuracy.corpora.reference import fold_to_test, with_fold
from mixers.support.errors import UserError
from tests.conftest import REAL

HAPPY = "03-01-03-02-02-01-12.wav"


@pytest.fixture(scope="module")
def ravdess_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ravdess")
    for actor in range(1, 25):
        (folder / f"Actor_{actor:02d}").mkdir()
    for name in ravdess.expected_names():
        (folder / f"Actor_{name[18:20]}" / name).touch()
    return folder


@pytest.fixture(scope="module")
def crema_d_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many names as the corpus has, of the kinds that it has."""
    folder = tmp_path_factory.mktemp("crema-d")
    (folder / "AudioWAV").mkdir()
    usual = (f"{a}_{s}_{e}_XX.wav" for a, s, e in itertools.product(crema_d.ACTORS, crema_d.SENTENCES, crema_d.CLASSES))
    levels = (f"{a}_IEO_{e}_{i}.wav" for a, e, i in itertools.product(crema_d.ACTORS, crema_d.CLASSES, ["LO", "HI"]))
    names = sorted({"1040_ITH_SAD_X.wav", crema_d.SILENT, *usual} - {"1040_ITH_SAD_XX.wav"})
    for name in [*names, *itertools.islice(levels, 7442 - len(names))]:
        (folder / "AudioWAV" / name).touch()
    return folder


@contextmanager
def one_more(*files: Path) -> Iterator[None]:
    for file in files:
        file.touch()
    yield
    for file in files:
        file.unlink()


@contextmanager
def one_less(file: Path) -> Iterator[None]:
    file.unlink()
    yield
    file.touch()


def test_ravdess_is_read_from_its_file_names(ravdess_folder: Path) -> None:
    corpus = load(f"ravdess:{ravdess_folder}")
    assert len(corpus.utterances) == 1440
    assert corpus.left_out == ()
    assert corpus.classes == ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
    assert Counter(utterance.label for utterance in corpus.utterances) == {
        label: 96 if label == "neutral" else 192 for label in corpus.classes
    }
    (happy,) = (utterance for utterance in corpus.utterances if utterance.name == HAPPY)
    assert happy.audio == ravdess_folder / "Actor_12" / HAPPY
    assert (happy.label, happy.speaker, happy.split) == ("happiness", "ravdess-12", "train")
    assert happy.text == "Dogs are sitting by the door"


def test_crema_d_is_read_from_its_file_names(crema_d_folder: Path) -> None:
    corpus = load(f"crema-d:{crema_d_folder}")
    assert len(corpus.utterances) == 7441
    assert corpus.classes == ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
    utterances = {utterance.name: utterance for utterance in corpus.utterances}
    angry = utterances["1001_DFA_ANG_XX.wav"]
    assert (angry.label, angry.speaker, angry.split) == ("anger", "crema-d-1001", "train")
    assert angry.text == "Don't forget a jacket"
    assert utterances["1040_ITH_SAD_X.wav"].label == "sadness"


def test_pitfall_5_what_is_silent_in_crema_d_or_has_no_codes_is_listed(crema_d_folder: Path) -> None:
    with one_more(crema_d_folder / "AudioWAV" / "take two.wav"):
        silent, other = load(f"crema-d:{crema_d_folder}").left_out
    assert (silent.name, silent.split, silent.reason) == ("1076_MTI_SAD_XX.wav", "development", "silent, as published")
    assert (other.name, other.split) == ("take two.wav", "")
    assert other.reason.startswith("no label")


def test_pitfall_5_what_is_no_speech_in_ravdess_or_has_no_codes_is_listed(ravdess_folder: Path) -> None:
    with one_more(*(ravdess_folder / "Actor_20" / name for name in ("03-02-01-01-01-01-20.wav", "take two.wav"))):
        song, other = load(f"ravdess:{ravdess_folder}").left_out
    assert (song.name, song.split) == ("03-02-01-01-01-01-20.wav", "development")
    assert song.reason.startswith("no speech")
    assert (other.name, other.split) == ("take two.wav", "")
    assert other.reason.startswith("no label")


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("ravdess", {"train": 16, "development": 4, "test1": 4}),
        ("crema-d", {"train": 63, "development": 14, "test1": 14}),
    ],
)
def test_pitfall_9_no_actor_is_in_two_splits(request: pytest.FixtureRequest, name: str, sizes: dict[str, int]) -> None:
    corpus = load(f"{name}:{request.getfixturevalue(name.replace('-', '_') + '_folder')}")
    speakers = {split: {utterance.speaker for utterance in corpus.split(split)} for split in corpus.splits}
    assert {split: len(names) for split, names in speakers.items()} == sizes
    assert not any(first & second for first, second in itertools.combinations(speakers.values(), 2))
    for split in corpus.splits:
        assert {utterance.label for utterance in corpus.split(split)} == set(corpus.classes)


def test_the_splits_of_ravdess_have_as_many_women_as_men() -> None:
    splits = Counter((ravdess.split_of(actor), actor % 2) for actor in range(1, 25))
    assert all(splits[split, 0] == splits[split, 1] for split in ("train", "development", "test1"))


@pytest.mark.parametrize("fold", range(1, 7))
def test_a_fold_of_ravdess_tests_four_actors_that_no_other_fold_tests(ravdess_folder: Path, fold: int) -> None:
    corpus = load(f"ravdess@{fold}:{ravdess_folder}")
    assert (corpus.splits, corpus.folds) == (("train", "development", "test"), 6)
    actors = {split: {int(each.speaker[-2:]) for each in corpus.split(split)} for split in corpus.splits}
    assert actors["test"] == set(ravdess.FOLDS[fold - 1])
    assert actors["development"] == set(ravdess.FOLDS[fold % 6])
    assert sorted(itertools.chain(*actors.values())) == list(range(1, 25))
    assert [len(corpus.split(split)) for split in corpus.splits] == [960, 240, 240]


@pytest.mark.real
def test_the_folds_of_the_real_recordings() -> None:
    tested: Counter[str] = Counter()
    for fold in range(1, 7):
        corpus = load(f"ravdess@{fold}:{REAL / 'ravdess'}")
        assert [len(corpus.split(split)) for split in corpus.splits] == [960, 240, 240]
        tested.update(each.name for each in corpus.split("test"))
    assert len(tested) == 1440
    assert set(tested.values()) == {1}


def test_every_actor_is_tested_once_and_develops_once() -> None:
    for split in ("test", "development"):
        folds = [ravdess.split_in_fold(actor, fold) for actor in range(1, 25) for fold in range(1, 7)]
        assert folds.count(split) == 24
    assert sorted(itertools.chain(*ravdess.FOLDS)) == list(range(1, 25))


def test_songs_are_in_the_split_of_their_actor_in_a_fold(ravdess_folder: Path) -> None:
    with one_more(*(ravdess_folder / "Actor_20" / name for name in ("03-02-01-01-01-01-20.wav", "take two.wav"))):
        song, other = load(f"ravdess@1:{ravdess_folder}").left_out
    assert (song.split, other.split) == ("test", "")


def test_ravdess_may_be_flac_but_not_both(tmp_path: Path) -> None:
    for name in ravdess.expected_names():
        (tmp_path / f"Actor_{name[18:20]}").mkdir(exist_ok=True)
        (tmp_path / f"Actor_{name[18:20]}" / name).with_suffix(".flac").touch()
    corpus = load(f"ravdess:{tmp_path}")
    assert len(corpus.utterances) == 1440
    assert {each.audio.suffix for each in corpus.utterances} == {".flac"}
    (tmp_path / "Actor_12" / HAPPY).touch()
    with pytest.raises(UserError, match=f"two utterances are called {HAPPY}"):
        load(f"ravdess:{tmp_path}")


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("ravdess@7", "has no fold 7", "Its folds are 1 to 6"),
        ("ravdess@0", "has no fold 0", "Its folds are 1 to 6"),
        ("ravdess@two", "names no fold", "NAME@FOLD:PATH"),
        ("crema-d@1", "crema-d has no folds", "splits of its own"),
        ("ravdes@1", "unknown corpus 'ravdes'", "Did you mean 'ravdess'?"),
    ],
)
def test_an_unknown_fold_is_refused(ravdess_folder: Path, spec: str, message: str, hint: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(f"{spec}:{ravdess_folder}")
    assert hint in caught.value.hint


def test_a_fold_with_an_actor_in_training_and_test_is_refused(
    ravdess_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def split_in_fold(actor: int, fold: int) -> str:
        return "test" if actor == 1 and fold == 2 else "train"

    monkeypatch.setattr(ravdess, "split_in_fold", split_in_fold)
    monkeypatch.setattr(ravdess, "_actor", lambda name: int(name[10]))  # by intensity instead of the actor
    with pytest.raises(UserError, match=r"fold 2 of .* has 24 speakers in train and in test: ravdess-01") as caught:
        load(f"ravdess@2:{ravdess_folder}")
    assert f"ravdess@2+shared:{ravdess_folder}" in caught.value.hint
    assert load(f"ravdess@2+shared:{ravdess_folder}").splits == ("train", "test")


@pytest.mark.parametrize(
    ("spec", "fold", "trained_on", "expected"),
    [
        ("ravdess:/new", None, "ravdess@3:/old", "ravdess@3:/new"),
        ("ravdess:/new", 4, "ravdess@3:/old", "ravdess@4:/new"),
        ("ravdess@4:/new", None, "ravdess@3:/old", "ravdess@4:/new"),
        ("ravdess:/new", None, "ravdess:/old", "ravdess:/new"),
        ("crema-d:/new", None, "ravdess@3:/old", "crema-d:/new"),
        ("emobox:/new", None, "emobox@1+shared:/old", "emobox@1+shared:/new"),
        ("manifest:/a:b@2", None, "manifest:/c", "manifest:/a:b@2"),
    ],
)
def test_a_run_is_tested_on_its_own_fold(spec: str, fold: int | None, trained_on: str, expected: str) -> None:
    assert fold_to_test(spec, fold, trained_on=trained_on) == expected


def test_a_manifest_has_no_fold_of_the_corpus_trained_on(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").touch()
    spec = f"manifest:{tmp_path / 'mine.jsonl'}"
    assert fold_to_test(spec, None, trained_on=f"manifest@1:{tmp_path}") == spec
    assert fold_to_test(f"manifest:{tmp_path}", None, trained_on="manifest@1:/old") == f"manifest@1:{tmp_path}"


def test_two_different_folds_are_refused() -> None:
    assert with_fold("ravdess:/a", 2) == with_fold("ravdess@2:/a", 2) == with_fold("ravdess@2:/a", None)
    with pytest.raises(UserError, match="is fold 2, but --fold says 3"):
        with_fold("ravdess@2:/a", 3)


@pytest.mark.parametrize(
    ("spec", "file", "message"),
    [
        ("ravdess", "Actor_12/03-01-09-01-01-01-12.wav", "has the unknown emotion 09"),
        ("ravdess", "Actor_12/03-01-05-01-03-01-12.wav", "has the unknown statement 03"),
        ("ravdess", "Actor_12/03-01-05-01-01-01-25.wav", "has the unknown actor 25"),
        ("crema-d", "AudioWAV/1001_DFA_BOR_XX.wav", "has the unknown emotion BOR"),
        ("crema-d", "AudioWAV/1001_XYZ_ANG_XX.wav", "has the unknown sentence XYZ"),
        ("crema-d", "AudioWAV/2001_DFA_ANG_XX.wav", "has the unknown actor 2001"),
    ],
)
def test_an_unknown_code_is_named(tmp_path: Path, spec: str, file: str, message: str) -> None:
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).touch()
    with pytest.raises(UserError, match=f"{file} {message}") as caught:
        load(f"{spec}:{tmp_path}")
    assert caught.value.hint.startswith("Known:")


def test_half_of_ravdess_is_not_ravdess(ravdess_folder: Path) -> None:
    with (
        one_less(ravdess_folder / "Actor_12" / HAPPY),
        pytest.raises(UserError, match=f"1 of 1,440 utterances .* have no recording: {HAPPY}"),
    ):
        load(f"ravdess:{ravdess_folder}")


def test_half_of_crema_d_is_not_crema_d(crema_d_folder: Path) -> None:
    with (
        one_less(crema_d_folder / "AudioWAV" / "1001_DFA_ANG_XX.wav"),
        pytest.raises(UserError, match="AudioWAV holds 7,440 of CREMA-D's 7,441 recordings with sound") as caught,
    ):
        load(f"crema-d:{crema_d_folder}")
    assert "manifest" in caught.value.hint


def test_ravdess_unpacked_twice_has_names_twice(tmp_path: Path) -> None:
    for folder in ("Actor_12", "Actor_12 (copy)"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / HAPPY).touch()
    with pytest.raises(UserError, match=f"two utterances are called {HAPPY}: .* and .*copy"):
        load(f"ravdess:{tmp_path}")
