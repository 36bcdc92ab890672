"""Whisper's encoder in front of trained mixers."""

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from bench.accuracy import run as runs
from bench.accuracy.corpora.base import Corpus
from bench.accuracy.inputs.features import SpeechFeatures
from bench.accuracy.run import Preset
from bench.encoders import load_encoder
from tests.conftest import Sbench
from tests.tiny_whisper import LAYERS, WIDTH, save_tiny_whisper


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture
def with_whisper(folder: Path, arguments: list[object]) -> list[object]:
    """Arguments of `sbench train`."""
    arguments = arguments.copy()
    arguments[arguments.index("--speech") + 1] = folder
    return [*arguments, "--mixers", "retnet", "--epochs", 1]


@pytest.mark.parametrize(("layer", "shape"), [("last", ()), (2, ()), ("weighted", (LAYERS,))])
def test_features_have_a_frame_every_320_samples(folder: Path, layer: Any, shape: tuple[int, ...]) -> None:
    encoder = load_encoder(str(folder), width=None, device="cpu", dtype=torch.float32, seed=0)
    features = SpeechFeatures(encoder, scale=None, layer=layer)
    found = features(0.1 * torch.randn(2, 8_000), ["a", "b"])
    assert found.shape == (2, *shape, 25, WIDTH)
    assert features.frames(8_000) == 25
    assert features.num_layers == LAYERS


@pytest.mark.parametrize(("preset", "layer"), [("matched", "weighted"), ("matched", "2"), ("released", "last")])
def test_training_and_scoring(
    sbench: Sbench, tmp_path: Path, with_whisper: list[object], corpus: Corpus, preset: Preset, layer: str
) -> None:
    code, _, err = sbench("train", *with_whisper, "--preset", preset, "--layer", layer, "--output", "run")
    assert code == 0, err
    run = runs.read(tmp_path / "run")
    assert (str(run.layer), run.speech_layers, run.width, run.scale) == (layer, LAYERS, WIDTH, None)
    code, _, err = sbench("evaluate", "run", "--corpus", corpus.spec, "--splits", "test1", "--device", "cpu")
    assert code == 0, err
    assert (tmp_path / "run" / "evaluation" / "test1" / "retnet-0.csv").is_file()


def test_what_is_too_short_for_it_or_is_no_whole_model(
    sbench: Sbench, tmp_path: Path, with_whisper: list[object], corpus: Corpus, folder: Path
) -> None:
    manifest = Path(corpus.spec.partition(":")[2])
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        line["audio"] = str(manifest.parent / line["audio"])
    soundfile.write(tmp_path / "short.wav", torch.randn(160).numpy(), 16_000)  # 0.01 s
    next(line for line in lines if line["split"] == "development")["audio"] = str(tmp_path / "short.wav")
    (tmp_path / "own.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    short = [f"manifest:{tmp_path / 'own.jsonl'}" if each == corpus.spec else each for each in with_whisper]
    bare = [save_tiny_whisper(tmp_path / "bare", form="model") if each == folder else each for each in with_whisper]
    for arguments, message in (
        (short, "short.wav is shorter than an encoder's frame (25 ms)"),
        (bare, "bare lacks its feature extractor"),
    ):
        code, _, err = sbench("train", *arguments, "--output", "run")
        assert (code, message in err) == (2, True), err
        assert len([line for line in err.splitlines() if line.startswith("sbench: ")]) == 1
