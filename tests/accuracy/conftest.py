"""A small corpus on disk and small encoders, made once for all tests."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from accelerate import Accelerator

from bench.accuracy import corpora
from bench.accuracy.corpora.base import Corpus
from bench.accuracy.inputs import random_encoders
from bench.accuracy.inputs.features import SpeechFeatures, TextFeatures, load_features
from bench.accuracy.parts import PARTS
from bench.accuracy.run import Run, WaveformScale
from bench.encoders import SpeechEncoder

CLASSES = ("high", "low")
WORDS = {"high": "what a day", "low": "oh no"}
WIDTH = 32


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Tones of two pitches, by two speakers in each split, from 0.3 to 0.9 s long."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    lines = []
    for split, count in (("train", 13), ("development", 6), ("test1", 5)):
        for number in range(count):
            label = CLASSES[number % 2]
            name = f"{split}-{number}.wav"
            seconds = np.arange(int(16_000 * rng.uniform(0.3, 0.9))) / 16_000
            tone = 0.3 * np.sin(2 * np.pi * (400 if label == "high" else 120) * seconds)
            soundfile.write(folder / name, tone + 0.01 * rng.normal(size=tone.size), 16_000)
            speaker = f"{split}-{number % 3}"
            line = {"audio": name, "text": WORDS[label], "label": label, "speaker": speaker, "split": split}
            lines.append(json.dumps(line))
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    return corpora.load(f"manifest:{folder / 'corpus.jsonl'}")


@pytest.fixture
def two_folds(tmp_path: Path) -> Path:
    """A corpus of EmoBox in ``data/tones``: noise by eight speakers, four of whom each fold tests."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "tones"
    (tmp_path / "downloads").mkdir()
    lines: dict[str, list[dict[str, str]]] = {}
    stm = []
    for speaker, emotion, take in itertools.product("abcdefgh", ("high", "low"), range(2)):
        key = f"{speaker}-{emotion}-{take}"
        soundfile.write(tmp_path / "downloads" / f"{key}.wav", 0.1 * rng.normal(size=8000), 16_000)
        stm.append(f"{key} 1 {speaker} 0 0.5 <id={key},lang=en,spk={speaker},emotion={emotion}> {emotion}")
        entry = {"key": key, "dataset": "tones", "wav": f"downloads/{key}.wav", "type": "raw", "emo": emotion}
        lines.setdefault(speaker, []).append(entry)
    for fold, tested in ((1, "abcd"), (2, "efgh")):
        (folder / f"fold_{fold}").mkdir(parents=True)
        for part, speakers in (("test", tested), ("train", sorted({*lines} - {*tested}))):
            entries = [entry for speaker in speakers for entry in lines[speaker]]
            file = folder / f"fold_{fold}" / f"tones_{part}_fold_{fold}.jsonl"
            file.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    (folder / "data.seg.wrd.stm").write_text("\n".join(stm))
    return folder


@pytest.fixture(scope="session")
def encoder_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("encoders")
    random_encoders.write_speech_encoder(folder / "speech", seed=0, width=WIDTH)
    random_encoders.write_text_encoder(folder / "text", seed=0, width=WIDTH)
    return folder / "speech", folder / "text"


@pytest.fixture(scope="session")
def encoders(encoder_folders: tuple[Path, Path]) -> tuple[SpeechEncoder, TextFeatures]:
    speech, text = load_features(*map(str, encoder_folders), device="cpu", dtype=torch.float32)
    assert text is not None
    return speech, text


@pytest.fixture
def speech(encoders: tuple[SpeechEncoder, TextFeatures]) -> SpeechFeatures:
    return SpeechFeatures(encoders[0], scale=WaveformScale(mean=0.0, deviation=0.2), layer="last")


@pytest.fixture(scope="session")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


@pytest.fixture
def make_run(corpus: Corpus, encoder_folders: tuple[Path, Path]) -> Callable[..., Run]:
    def make(**changes: object) -> Run:
        fields: dict[str, object] = {
            "corpus": corpus.spec,
            "classes": corpus.classes,
            "speech": str(encoder_folders[0]),
            "text": str(encoder_folders[1]),
            "preset": "matched",
            "direction": "alternating",
            "mixers": ("sa/sdpa", "retnet/reference"),
            "seeds": (0,),
            "data_seed": 0,
            "shared_data": False,
            "epochs": 2,
            "batch": 4,
            "learning_rate": 1e-4,
            "schedule": "plateau",
            "crop_seconds": 0.5,
            "precision": "float32",
            "missing_text": "error",
            "width": WIDTH,
            "speech_layers": 2,
            "layer": "last",
            **PARTS,
            "scale": WaveformScale(mean=0.0, deviation=0.2),
            "utterances": "",
            "parameters": {},
            "demo": False,
        }
        return Run(**fields | changes)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def arguments(corpus: Corpus, encoder_folders: tuple[Path, Path]) -> list[object]:
    """Of `sbench train`: two mixers for two epochs."""
    speech, text = encoder_folders
    return [
        *("--corpus", corpus.spec, "--speech", speech, "--text", text, "--mixers", "sa,retnet", "--batch", 4),
        *("--crop", 0.5, "--epochs", 2, "--workers", 0, "--device", "cpu", "--checkpoint-steps", 1),
    ]


@pytest.fixture(scope="session")
def of_speech(arguments: list[object]) -> list[object]:
    """The same without text."""
    place = arguments.index("--text")
    return [*arguments[:place], "--no-text", *arguments[place + 2 :]]


@pytest.fixture(scope="session")
def trained(of_speech: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of speech alone. Tests copy it before they change it."""
    from bench.cli import main

    run = tmp_path_factory.mktemp("trained") / "run"
    options = ("--epochs", 1, "--output", run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["sbench", "train", *map(str, (*of_speech, *options))])
        with pytest.raises(SystemExit, match=r"^0$"):
            main()
    return run


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in the same order, whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
