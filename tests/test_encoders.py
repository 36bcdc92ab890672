"""The frozen encoder, on tiny models saved here; XLS-R 300M itself is only counted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.encoders import SpeechEncoder, load_encoder, normalise
from bench.speech import frames_of
from mixers.support.errors import UserError
from tests.tiny_encoder import TINY, WIDTH


def save_tiny(folder: Path, *, do_normalize: bool | None = True, sampling_rate: int = 16_000, **changes: Any) -> Path:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    Wav2Vec2Model(Wav2Vec2Config(**(TINY | changes))).save_pretrained(folder)
    if do_normalize is not None:
        untyped: Any = Wav2Vec2FeatureExtractor
        untyped(do_normalize=do_normalize, sampling_rate=sampling_rate).save_pretrained(folder)
    return folder


def load(name: object, *, width: int = WIDTH, dtype: torch.dtype = torch.float32, seed: int = 0) -> SpeechEncoder:
    return load_encoder(str(name), width=width, device="cpu", dtype=dtype, seed=seed)


def noise(samples: int) -> Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(samples))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``xlsr-random`` build something small."""
    from transformers import Wav2Vec2Config

    monkeypatch.setattr("bench.random_encoders.xlsr_300m_config", lambda: Wav2Vec2Config(**TINY))


def test_xlsr_random_is_xls_r_300m_with_fused_attention() -> None:
    with torch.device("meta"):
        encoder = load_encoder("xlsr-random", width=1024, device="meta", dtype=torch.bfloat16, seed=0)
    # The checkpoint's 317,390,592 less the 1,951,872 of the heads for pretraining.
    assert sum(parameter.numel() for parameter in encoder.model.parameters()) == 315_438_720
    config: Any = encoder.model.config
    assert config._attn_implementation == "sdpa"
    assert encoder.normalises


@pytest.mark.usefixtures("tiny_random")
def test_random_weights_are_seeded_and_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, same, other = load("xlsr-random", seed=1), load("xlsr-random", seed=1), load("xlsr-random", seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    waveform = noise(4_000)
    assert torch.equal(first(waveform), same(waveform))
    assert not torch.allclose(first(waveform), other(waveform))


@pytest.mark.usefixtures("tiny_random")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_silence_has_finite_features(dtype: torch.dtype) -> None:
    features = load("xlsr-random", dtype=dtype)(torch.zeros(16_000))
    assert torch.isfinite(features).all()
    assert features.any()


@given(samples=st.integers(min_value=400, max_value=20_000))
@settings(max_examples=20, deadline=None)
def test_features_follow_the_frame_law(tiny: Path, samples: int) -> None:
    features = load(tiny)(noise(samples))
    assert features.shape == (1, frames_of(samples), WIDTH)


def test_the_encoder_is_frozen(tiny: Path) -> None:
    encoder = load(tiny)
    assert not any(module.training for module in encoder.model.modules())
    assert not any(parameter.requires_grad for parameter in encoder.model.parameters())
    waveform = noise(16_000)
    assert torch.equal(encoder(waveform), encoder(waveform))  # neither dropout nor masking


def test_features_can_be_trained_on(tiny: Path) -> None:
    layer = torch.nn.Linear(WIDTH, 1)
    layer(load(tiny)(noise(4_000))).sum().backward()
    assert layer.weight.grad is not None


def test_bfloat16_is_used_and_gives_float32(tiny: Path) -> None:
    waveform = noise(16_000)
    exact, rough = load(tiny)(waveform), load(tiny, dtype=torch.bfloat16)(waveform)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).norm() / exact.norm() < 0.1


def test_the_features_are_those_of_the_saved_model(tmp_path: Path) -> None:
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

    for do_normalize in (True, False):
        folder = save_tiny(tmp_path / str(do_normalize), do_normalize=do_normalize)
        waveform = 3 * noise(16_000) + 1
        extracted = Wav2Vec2FeatureExtractor.from_pretrained(folder)(
            waveform.numpy(), sampling_rate=16_000, return_tensors="pt"
        )
        with torch.no_grad():
            expected = Wav2Vec2Model.from_pretrained(folder)(extracted.input_values).last_hidden_state
        assert torch.allclose(load(folder)(waveform), expected, atol=1e-4)


def test_a_model_saved_without_its_extractor_takes_normalised_waveforms(tmp_path: Path, tiny: Path) -> None:
    assert load(save_tiny(tmp_path, do_normalize=None)).normalises
    assert load(tiny).normalises


@given(st.lists(st.floats(min_value=-1, max_value=1, width=32), min_size=1, max_size=50))
def test_normalised_waveforms_have_no_mean_and_at_most_unit_variance(values: list[float]) -> None:
    waveform = normalise(torch.tensor(values))
    assert torch.isfinite(waveform).all()
    assert abs(waveform.mean()) < 1e-3
    assert waveform.var(correction=0) < 1 + 1e-3


def save_bert(folder: Path) -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=8
    )
    BertModel(config).save_pretrained(folder)


def save_without_a_layer(folder: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    model = Wav2Vec2Model(Wav2Vec2Config(**TINY))
    state = {name: weight for name, weight in model.state_dict().items() if "encoder.layers.1." not in name}
    model.save_pretrained(folder, state_dict=state)


def save_configuration_only(folder: Path) -> None:
    from transformers import Wav2Vec2Config

    Wav2Vec2Config(**TINY).save_pretrained(folder)


def save_damaged(folder: Path) -> None:
    save_configuration_only(folder)
    (folder / "model.safetensors").write_bytes(b"no tensors at all")


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (lambda folder: folder.mkdir(), "Unrecognized model"),
        (lambda folder: folder.write_text("a file"), "neither a folder nor a valid id"),
        (lambda _: None, "neither a folder nor a valid id"),
        (save_bert, "is a bert model, not an encoder of waveforms"),
        (save_configuration_only, "no file named model.safetensors"),
        (save_damaged, "cannot load the encoder"),
        (save_without_a_layer, r"lacks \d+ of the encoder's weights, for instance encoder\.layers\.1\."),
        (lambda folder: save_tiny(folder, hidden_size=48), "has 48 features per frame, the mixers 32"),
        (lambda folder: save_tiny(folder, conv_stride=[5, 2, 2, 2, 2, 2, 1]), "sees 400 samples every 160, not 400"),
        (lambda folder: save_tiny(folder, sampling_rate=8_000), "needs audio at 8000 Hz, not 16000"),
    ],
)
def test_what_is_no_encoder_is_refused_in_one_line(
    tmp_path: Path, save: Callable[[Path], object], message: str
) -> None:
    save(tmp_path / "model")
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path / "model")
    assert str(tmp_path / "model") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "xlsr-random" in caught.value.hint


@pytest.mark.usefixtures("tiny_random")
def test_xlsr_random_of_another_width_is_refused() -> None:
    with pytest.raises(UserError, match="xlsr-random has 32 features per frame, the mixers 48"):
        load("xlsr-random", width=48)


def test_an_adapter_that_breaks_the_frame_law_is_refused(tmp_path: Path) -> None:
    encoder = load(save_tiny(tmp_path, add_adapter=True, output_hidden_size=WIDTH))
    with pytest.raises(UserError, match=r"instead of \(1, 49, 32\)"):
        encoder(noise(16_000))


@pytest.mark.parametrize(
    ("name", "resolved"),
    [("sbench-tests/no-such-encoder", "sbench-tests/no-such-encoder"), ("wavlm-large", "microsoft/wavlm-large")],
)
def test_without_a_network_an_id_is_refused_at_once_and_the_way_to_bring_a_download_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, resolved: str
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=f"cannot load the encoder '{resolved}'") as caught:
        load(name)
    assert "\n" not in str(caught.value)
    assert "no network" in caught.value.hint
    assert f"`hf download {resolved} --local-dir {resolved.rpartition('/')[2]}`" in caught.value.hint
    assert "xlsr-random needs no download" in caught.value.hint


def test_an_id_the_hub_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError

    def not_found(*_: object, **__: object) -> None:
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", not_found)
    with pytest.raises(UserError, match="no such encoder on the Hugging Face hub: 'sbench-tests/no-such-encoder'"):
        load("sbench-tests/no-such-encoder")
