"""The synthetic corpus: what it looks like on disk, and that it can be learned from, though not perfectly."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from bench.accuracy.corpora import Corpus, Utterance, load
from bench.accuracy.corpora.check import check
from bench.accuracy.corpora.demo import write_demo_corpus
from mixers.support.errors import UserError

UTTERANCES = 320


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "corpus"
    write_demo_corpus(folder, utterances=UTTERANCES, speakers=12, seed=0)
    return folder


@pytest.fixture(scope="module")
def corpus(demo: Path) -> Corpus:
    return load(f"msp-podcast:{demo}")


def test_it_has_the_layout_of_msp_podcast(demo: Path, corpus: Corpus) -> None:
    assert {path.name for path in demo.iterdir()} == {
        "Audios",
        "DEMONSTRATION.txt",
        "Labels",
        "Partitions.txt",
        "Transcripts",
    }
    assert "synthetic" in (demo / "DEMONSTRATION.txt").read_text()
    assert len(corpus.utterances) == UTTERANCES
    assert corpus.splits == ("train", "development", "test1", "test2")
    assert len(corpus.split("train")) > UTTERANCES / 2
    assert not corpus.without_text
    for split in corpus.splits:
        assert {utterance.label for utterance in corpus.split(split)} == set(corpus.classes)
        assert {left_out.reason[:7] for left_out in corpus.left_out if left_out.split == split} == {
            "class O",
            "class X",
        }


def test_pitfall_9_no_speaker_of_it_is_in_two_splits(corpus: Corpus) -> None:
    speakers = [{utterance.speaker for utterance in corpus.split(split)} for split in corpus.splits]
    assert not any(first & second for first, second in itertools.combinations(speakers, 2))
    assert len(set().union(*speakers)) == 12


def test_nothing_in_it_is_missing_silent_or_of_another_length(demo: Path) -> None:
    report = check([f"msp-podcast:{demo}"])
    assert report.sound
    assert not report.corpora[0].silent
    assert all(2 <= split.shortest_s < split.longest_s <= 4 for split in report.corpora[0].splits)


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("same", 1), ("other", 2)):
        write_demo_corpus(tmp_path / name, utterances=64, speakers=4, seed=seed, seconds=(0.5, 0.6))
    first, same, other = (
        {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.*")) if path.is_file()}
        for folder in (tmp_path / "first", tmp_path / "same", tmp_path / "other")
    )
    assert first == same
    audio = [path for path in first if path.suffix == ".wav"]
    assert len(audio) == 64 + 8
    assert not any(first[path] == other.get(path) for path in audio)


def features(utterance: Utterance) -> NDArray[np.float64]:
    """Loudness, pitch, its spread, brightness and how much loudness moves, of one recording."""
    waveform, _ = soundfile.read(utterance.audio)
    windows = np.lib.stride_tricks.sliding_window_view(waveform, 800)[::800] * np.hanning(800)
    loudness = np.sqrt((windows**2).mean(axis=1))
    power = np.abs(np.fft.rfft(windows[loudness > loudness.max() / 4], 2048)) ** 2
    periodicity = np.fft.irfft(power)[:, 30:267]
    pitch = np.log(16_000 / (periodicity.argmax(axis=1) + 30))
    brightness = np.log(power[:, 128:].sum() / power.sum())  # above 1 kHz
    movement = np.abs(np.diff(loudness)).mean() / loudness.mean()
    return np.array([np.log(loudness.mean()), np.median(pitch), pitch.std(), brightness, movement])


def recalls(corpus: Corpus, split: str) -> list[float]:
    """How much of each class a Gaussian per class with one covariance recognises, fitted to the training split."""

    def data(name: str) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        utterances = corpus.split(name)
        x = np.stack([features(utterance) for utterance in utterances])  # (utterances, features)
        return x, np.array([corpus.classes.index(utterance.label) for utterance in utterances])

    x, y = data("train")
    means = np.stack([x[y == label].mean(axis=0) for label in range(len(corpus.classes))])
    whiten = np.linalg.cholesky(np.linalg.inv(np.cov((x - means[y]).T)))
    x_test, y_test = data(split)
    distances = np.linalg.norm((x_test[:, None] - means) @ whiten, axis=2)  # (utterances, classes)
    right = distances.argmin(axis=1) == y_test
    return [float(right[y_test == label].mean()) for label in range(len(corpus.classes))]


@pytest.mark.parametrize("split", ["development", "test1", "test2"])
def test_sound_tells_emotions_of_unheard_speakers_apart_but_not_perfectly(corpus: Corpus, split: str) -> None:
    assert 3 / 8 < np.mean(recalls(corpus, split)) < 7 / 8  # chance is one eighth


def test_words_tell_emotions_apart_but_not_perfectly(corpus: Corpus) -> None:
    said: dict[str, set[str]] = {label: set() for label in corpus.classes}
    for utterance in corpus.split("train"):
        said[utterance.label] |= set(utterance.text.split())
    tested = [utterance for split in corpus.splits[1:] for utterance in corpus.split(split)]
    right = 0.0
    for utterance in tested:
        known = {label: sum(word in words for word in utterance.text.split()) for label, words in said.items()}
        best = [label for label, count in known.items() if count == max(known.values())]
        right += (utterance.label in best) / len(best)
    assert 2 / 8 < right / len(tested) < 7 / 8


def test_a_name_that_no_folder_can_have_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written: File name too long"):
        write_demo_corpus(tmp_path / ("a" * 300), utterances=64, speakers=4, seed=0)


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path} exists"):
        write_demo_corpus(tmp_path, utterances=64, speakers=4, seed=0)
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_a_corpus_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="corpus cannot be written: No space left on device"):
        write_demo_corpus(tmp_path / "corpus", utterances=64, speakers=4, seed=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("utterances", "speakers", "seed", "seconds", "message"),
    [
        (63, 4, 0, (2, 4), "63 utterances are too few"),
        (64, 3, 0, (2, 4), "3 speakers do not fit the splits"),
        (64, 65, 0, (2, 4), "65 speakers do not fit the splits"),
        (64, 4, -1, (2, 4), "the seed -1 is negative"),
        (64, 4, 0, (4, 2), "utterances cannot last from 4 to 2 s"),
        (64, 4, 0, (0, 2), "utterances cannot last from 0 to 2 s"),
    ],
)
def test_numbers_out_of_range_are_refused(
    tmp_path: Path, utterances: int, speakers: int, seed: int, seconds: tuple[float, float], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        write_demo_corpus(tmp_path / "new", utterances=utterances, speakers=speakers, seed=seed, seconds=seconds)
    assert caught.value.hint
    assert not (tmp_path / "new").exists()
