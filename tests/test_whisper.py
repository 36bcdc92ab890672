"""Whisper's encoder, on tiny models saved here: its frames, its windows, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.audio import read_recording
from bench.encoders import SpeechEncoder, load_encoder
from mixers.support.errors import UserError
from tests.conftest import REAL
from tests.tiny_whisper import LAYERS, WIDTH, save_tiny_whisper

WINDOW = 480_000  # samples


def load(folder: object, *, width: int | None = WIDTH, dtype: torch.dtype = torch.float32) -> SpeechEncoder:
    return load_encoder(str(folder), width=width, device="cpu", dtype=dtype, seed=0)


def speech(*lengths: int) -> Tensor:
    """Noise of these lengths, (B, samples), with zeros after the shorter ones."""
    waveforms = torch.zeros(len(lengths), max(lengths))
    for row, length in enumerate(lengths):
        waveforms[row, :length] = 0.1 * torch.randn(length, generator=torch.Generator().manual_seed(row))
    return waveforms


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SpeechEncoder:
    return load(save_tiny_whisper(tmp_path_factory.mktemp("whisper")))


@pytest.mark.parametrize("samples", [400, 639, 640, 16_000, 88_000, WINDOW, WINDOW + 319, WINDOW + 320, 2 * WINDOW + 1])
def test_a_frame_every_320_samples(encoder: SpeechEncoder, samples: int) -> None:
    features = encoder(speech(samples)[0])
    assert features.shape == (1, samples // 320, WIDTH) == (1, encoder.frames(samples), WIDTH)
    assert features.dtype == torch.float32
    assert features.isfinite().all()


def test_the_features_are_those_of_transformers(encoder: SpeechEncoder) -> None:
    from transformers import WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    untyped: Any = WhisperFeatureExtractor
    waveform = speech(50_000)[0]
    spectrogram = untyped()(waveform.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    model = WhisperEncoder.from_pretrained(encoder.name, dtype=torch.float32).eval()
    with torch.no_grad():
        output = model(spectrogram, output_hidden_states=True)
    assert torch.allclose(encoder(waveform), output.last_hidden_state[:, :156], atol=1e-5)
    for number in range(LAYERS):
        found = encoder.encode(waveform[None], layer=number)
        assert torch.allclose(found, output.hidden_states[number][:, :156], atol=1e-5), number


def test_the_layers_come_before_the_final_norm(encoder: SpeechEncoder) -> None:
    waveforms = speech(16_000, 16_000)
    every, last = (encoder.encode(waveforms, layer=each) for each in ("all", "last"))
    assert every.shape == (2, LAYERS, 50, WIDTH)
    for number in range(1, LAYERS + 1):
        assert torch.equal(every[:, number - 1], encoder.encode(waveforms, layer=number))
    model: Any = encoder.model
    assert torch.allclose(model.encoder.layer_norm(every[:, -1]), last, atol=1e-5)
    assert not torch.allclose(every[:, -1], last, atol=1e-2)


@pytest.mark.parametrize("layer", ["last", "all", 1])
def test_a_batch_is_encoded_as_its_recordings_alone(encoder: SpeechEncoder, layer: Any) -> None:
    """Also where zeros follow a shorter one, and where it ends before the last window."""
    lengths = (16_000, 90_000, WINDOW + 8_000)
    together = encoder.encode(speech(*lengths), layer=layer)
    for row, length in enumerate(lengths):
        alone = encoder.encode(speech(*lengths)[row : row + 1, :length], layer=layer)
        assert torch.allclose(together[row, ..., : length // 320, :], alone[0], atol=1e-5)


def test_each_window_of_30_s_is_encoded_by_itself(encoder: SpeechEncoder) -> None:
    waveform = speech(WINDOW + 50_000)[0]
    features = encoder(waveform)
    assert torch.allclose(features[:, :1500], encoder(waveform[:WINDOW]), atol=1e-5)
    assert torch.allclose(features[:, 1500:], encoder(waveform[WINDOW:]), atol=1e-5)


def test_the_encoder_is_frozen_and_takes_waveforms_as_they_are(encoder: SpeechEncoder) -> None:
    assert encoder.log_mel
    assert not encoder.normalises
    assert not any(module.training for module in encoder.model.modules())
    assert not any(parameter.requires_grad for parameter in encoder.model.parameters())


def test_bfloat16_hears_the_waveform_in_float32(encoder: SpeechEncoder) -> None:
    waveform = speech(16_000)[0]
    exact, rough = encoder(waveform), load(encoder.name, dtype=torch.bfloat16)(waveform)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).norm() / exact.norm() < 0.05


def test_silence_has_finite_features(encoder: SpeechEncoder) -> None:
    assert encoder(torch.zeros(16_000)).isfinite().all()


@pytest.mark.parametrize("form", ["model", "transcriber"])
def test_a_whole_model_gives_its_encoder_in_silence(
    tmp_path: Path, form: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    save_tiny_whisper(tmp_path, form=form, extractor={})
    capfd.readouterr()
    encoder = load(tmp_path)
    assert "decoder" not in "".join(capfd.readouterr())
    assert not any("decoder" in name for name, _ in encoder.model.named_parameters())
    assert encoder(speech(16_000)[0]).shape == (1, 50, WIDTH)


@pytest.mark.parametrize("mels", [80, 128])
def test_an_encoder_saved_alone_gets_the_standard_extractor(tmp_path: Path, mels: int) -> None:
    bare = load(save_tiny_whisper(tmp_path, mels=mels))
    waveform = speech(16_000)[0]
    features = bare(waveform)
    from transformers import WhisperFeatureExtractor

    untyped: Any = WhisperFeatureExtractor
    untyped(feature_size=mels).save_pretrained(tmp_path)
    assert torch.equal(load(tmp_path)(waveform), features)


def save_without_a_layer(folder: Path) -> None:
    import safetensors.torch

    save_tiny_whisper(folder)
    path = folder / "model.safetensors"
    kept = {name: value for name, value in safetensors.torch.load_file(path).items() if "layers.1." not in name}
    safetensors.torch.save_file(kept, path, metadata={"format": "pt"})


@pytest.mark.filterwarnings("ignore:At least one mel filter")
@pytest.mark.parametrize(
    ("save", "message"),
    [
        (
            lambda folder: save_tiny_whisper(folder, form="model"),
            "lacks its feature extractor, preprocessor_config.json",
        ),
        (
            lambda folder: save_tiny_whisper(folder, mels=64),
            "lacks its feature extractor, and none is standard for 64 mel",
        ),
        (lambda folder: save_tiny_whisper(folder, extractor={"feature_size": 128}), "makes 128 mel bins, .* needs 80"),
        (
            lambda folder: save_tiny_whisper(folder, extractor={"chunk_length": 20}),
            "windows of 320000 samples, but needed",
        ),
        (lambda folder: save_tiny_whisper(folder, extractor={"hop_length": 200}), "a frame every 400 samples"),
        (lambda folder: save_tiny_whisper(folder, extractor={"sampling_rate": 8_000}), "gives 8000 Hz"),
        (lambda folder: save_tiny_whisper(folder, d_model=48), "has 48 features per frame, the mixers 32"),
        (save_without_a_layer, r"lacks \d+ of the encoder's weights, for instance layers\.1\."),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path, save: Callable[[Path], object], message: str) -> None:
    save(tmp_path / "whisper")
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path / "whisper")
    assert str(tmp_path / "whisper") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "openai/whisper-base" in caught.value.hint


@pytest.mark.real
def test_real_speech_through_the_real_encoder() -> None:
    encoder = load(REAL / "whisper-base-encoder", width=512)
    recordings = sorted((REAL / "ravdess").rglob("*.flac"))[::300]
    waveforms = [read_recording(each) for each in recordings]
    features = [encoder(each)[0] for each in waveforms]  # (L, D) each
    for waveform, each in zip(waveforms, features, strict=True):
        assert each.shape == (len(waveform) // 320, 512)
        assert each.isfinite().all()
        assert 0.1 < each.std() < 10
    together = encoder.encode(torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True), layer="last")
    for row, each in zip(together, features, strict=True):
        assert (row[: len(each)] - each).norm() < 1e-4 * each.norm()
