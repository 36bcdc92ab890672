"""A batch gives each classifier what its utterances give alone, however the batch came about."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import HubertConfig, HubertModel, WavLMConfig, WavLMModel

from bench.accuracy.corpora.base import Corpus
from bench.accuracy.inputs.features import SpeechFeatures, TextFeatures
from bench.accuracy.inputs.feed import Feed, Inputs
from bench.accuracy.parts import Layer
from bench.accuracy.run import WaveformScale
from bench.encoders import SpeechEncoder, load_encoder
from tests.tiny_whisper import save_tiny_whisper

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (32,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def save_wavlm(folder: Path) -> Path:
    config = WavLMConfig(**SIZES, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
    WavLMModel(config).save_pretrained(folder)
    return folder


def save_hubert_normalised_over_time(folder: Path) -> Path:
    """As the base models are: their convolutions hear padding."""
    HubertModel(HubertConfig(**SIZES, feat_extract_norm="group")).save_pretrained(folder)
    return folder


SAVE = {"whisper": save_tiny_whisper, "wavlm": save_wavlm, "hubert": save_hubert_normalised_over_time}


@pytest.fixture
def any_encoder(request: pytest.FixtureRequest, tmp_path: Path, encoders: tuple[SpeechEncoder, Any]) -> SpeechEncoder:
    if request.param == "wav2vec2":
        return encoders[0]
    torch.manual_seed(0)
    folder = SAVE[request.param](tmp_path / "encoder")
    return load_encoder(str(folder), width=None, device="cpu", dtype=torch.float32, seed=0)


@pytest.fixture
def feed(corpus: Corpus) -> Callable[..., Feed]:
    def make(speech: SpeechFeatures, text: TextFeatures | None, **options: Any) -> Feed:
        return Feed(
            corpus.split("train"),
            classes=corpus.classes,
            encoders=(speech, text),
            device=torch.device("cpu"),
            workers=0,
            **options,
        )

    return make


@pytest.mark.parametrize("any_encoder", ["wav2vec2", "wavlm", "hubert", "whisper"], indirect=True)
@pytest.mark.parametrize("layer", ["last", "weighted"])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_whole_recordings_give_together_what_each_gives_alone(
    feed: Callable[..., Feed], any_encoder: SpeechEncoder, layer: Layer, keep: bool, scaled: bool
) -> None:
    scale = WaveformScale(mean=0.1, deviation=0.2) if scaled and not any_encoder.log_mel else None
    made = feed(SpeechFeatures(any_encoder, scale=scale, layer=layer), None, keep=keep)
    indices = [4, 0, 7, 2]
    (together,) = made([("", indices)])
    assert together.speech_mask is not None
    for row, index in enumerate(indices):
        (alone,) = made([("", [index])])
        assert alone.speech_mask is None
        real = together.speech_mask[row]
        assert int(real.sum()) == alone.speech.shape[-2]
        assert torch.allclose(together.speech[row][..., real, :], alone.speech[0], atol=1e-4)
        assert together.labels[row] == alone.labels[0]


def test_kept_features_are_those_that_are_encoded(
    feed: Callable[..., Feed], speech: SpeechFeatures, encoders: tuple[Any, TextFeatures], monkeypatch: Any
) -> None:
    once, again = (feed(speech, encoders[1], keep=keep) for keep in (True, False))
    for batch in ([0, 1, 2], [3], once.batches()[0]):
        for _ in range(2):
            (kept,), (encoded,) = once([("", batch)]), again([("", batch)])
            assert same(kept, encoded)
    monkeypatch.setattr(SpeechFeatures, "__call__", None)  # nothing is encoded any more
    assert list(once([("", [5, 6])]))


def same(one: Inputs, other: Inputs) -> bool:
    """Whether the real frames and tokens are alike."""
    if one.speech_mask is None or other.speech_mask is None:
        return torch.allclose(one.speech, other.speech, atol=1e-4) and one.speech_mask is other.speech_mask
    left, right = one.speech[one.speech_mask], other.speech[other.speech_mask]
    assert one.text is not None
    assert other.text is not None
    return torch.allclose(left, right, atol=1e-4) and torch.equal(one.text, other.text)


def test_batches_for_scoring_hold_each_recording_once(feed: Callable[..., Feed], speech: SpeechFeatures) -> None:
    made = feed(speech, None)
    assert sorted(index for batch in made.batches() for index in batch) == list(range(13))


def test_crops_are_those_of_their_seed(feed: Callable[..., Feed], speech: SpeechFeatures) -> None:
    made = feed(speech, None, crop_seconds=0.2)
    one, same_seed, other = made([("0/0", [1, 2]), ("0/0", [2, 1]), ("0/1", [1, 2])])
    assert torch.allclose(one.speech, same_seed.speech.flip(0), atol=1e-5)
    assert not torch.allclose(one.speech, other.speech, atol=1e-3)
    assert one.speech_mask is None
