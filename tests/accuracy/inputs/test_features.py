"""Encoders are frozen, see what the preset says, and what they make is finite."""

import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch

from bench.accuracy.corpora.base import Corpus
from bench.accuracy.inputs.features import LONGEST_TEXT, SpeechFeatures, TextFeatures, load_features
from bench.accuracy.inputs.recordings import waveform_scale
from bench.accuracy.run import WaveformScale
from bench.audio import read_recording
from bench.encoders import SpeechEncoder
from mixers.support.errors import UserError

Encoders = tuple[SpeechEncoder, TextFeatures]


def test_pitfall_1_waveforms_are_scaled_by_the_training_set_and_nothing_else(
    corpus: Corpus, encoders: Encoders
) -> None:
    samples = torch.cat([read_recording(each.audio) for each in corpus.split("train")]).double()
    scale = waveform_scale(corpus.split("train"))
    assert scale.mean == pytest.approx(samples.mean().item(), abs=1e-9)
    assert scale.deviation == pytest.approx(samples.std(correction=0).item(), rel=1e-6)

    # A louder utterance stays louder, whatever is in its batch; where each is scaled by itself, it does not.
    quiet = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0)) * 0.05
    by_the_set = SpeechFeatures(encoders[0], scale=scale, layer="last")
    by_itself = SpeechFeatures(encoders[0], scale=None, layer="last")
    both = torch.cat((quiet, 4 * quiet))
    first, second = by_the_set(both, ["quiet", "loud"])
    assert not torch.allclose(first, second, atol=1e-2)
    first, second = by_itself(both, ["quiet", "loud"])
    assert torch.allclose(first, second, atol=1e-3)
    assert torch.allclose(by_the_set(both, ["quiet", "loud"])[0], by_the_set(quiet, ["quiet"])[0], atol=1e-5)


def test_pitfall_6_a_text_that_is_cut_keeps_its_end_token(encoders: Encoders) -> None:
    text = encoders[1]
    long, short = "word " * 600, "word"
    text.prepare([long, short])
    features, mask = text([long, short])
    assert mask.sum(1).tolist() == [LONGEST_TEXT, 6]  # [CLS] w o r d [SEP]
    tokens = text._tokenizer(long, truncation=True, max_length=LONGEST_TEXT)["input_ids"]
    assert tokens[-1] == text._tokenizer.sep_token_id
    assert features.shape == (2, LONGEST_TEXT, text.width)


def test_pitfall_8_frozen_encoders_are_in_evaluation_mode_and_have_no_gradients(encoders: Encoders) -> None:
    speech, text = encoders
    for model in (speech.model, text._model):
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
    waveforms = torch.randn(2, 4000)
    wrapped = SpeechFeatures(speech, scale=None, layer="weighted")
    first, second = (wrapped(waveforms, ["a", "b"]) for _ in range(2))
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not first.is_inference()  # or no mixer could be trained on it


def test_all_layers_end_before_the_final_norm(encoders: Encoders) -> None:
    waveforms = torch.randn(1, 4000)
    every = SpeechFeatures(encoders[0], scale=None, layer="weighted")(waveforms, ["a"])
    last = SpeechFeatures(encoders[0], scale=None, layer="last")(waveforms, ["a"])
    assert every.shape == (1, 2, *last.shape[1:])
    assert not torch.allclose(every[:, -1], last)


def test_one_layer_is_that_of_all(encoders: Encoders) -> None:
    waveforms = torch.randn(2, 4000)
    every = SpeechFeatures(encoders[0], scale=None, layer="weighted")(waveforms, ["a", "b"])
    for number in (1, 2):
        one = SpeechFeatures(encoders[0], scale=None, layer=number)(waveforms, ["a", "b"])
        assert torch.equal(one, every[:, number - 1])
    assert SpeechFeatures(encoders[0], scale=None, layer=0)(waveforms, ["a", "b"]).shape == one.shape
    with pytest.raises(UserError, match="has no layer 3") as caught:
        SpeechFeatures(encoders[0], scale=None, layer=3)
    assert caught.value.hint == "Give --layer 1 to 2, 0 for what enters the first, last, or weighted."


def test_texts_are_padded_to_a_multiple_and_each_is_encoded_once(encoders: Encoders) -> None:
    text = encoders[1]
    text.prepare(["oh no", ""])
    features, mask = text(["", "oh no"], multiple=8)
    assert features.shape[1] == 8
    assert mask.sum(1).tolist() == [2, 6]
    assert (features[~mask] == 0).all()
    before = text._kept["oh no"]
    text.prepare(["oh no"])
    assert text._kept["oh no"] is before


def test_texts_are_always_in_the_same_batches(encoders: Encoders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order of a set, which differs between processes."""
    batches: list[list[str]] = []
    monkeypatch.setattr(encoders[1], "_encode", lambda texts: batches.append(list(texts)))
    texts = [f"{number:02} {'and so on ' * (number % 3)}" for number in range(70)]
    for order in (texts, texts[::-1]):
        encoders[1].prepare(order)
    assert batches[:2] == batches[2:]
    assert [len(batch) for batch in batches[:2]] == [64, 6]
    assert batches[0] + batches[1] == sorted(texts, key=lambda text: (len(text), text))


def test_a_text_encoder_that_lacks_weights_is_refused(encoder_folders: tuple[Path, Path], tmp_path: Path) -> None:
    speech, text = encoder_folders
    shutil.copytree(text, tmp_path / "text")
    path = tmp_path / "text" / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    kept = {name: value for name, value in weights.items() if "layer.1." not in name and "pooler" not in name}
    safetensors.torch.save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lacks \d+ of the text encoder's weights, for instance encoder.layer.1"):
        load_features(str(speech), str(tmp_path / "text"), device="cpu", dtype=torch.float32)


def test_what_is_no_text_encoder_or_has_no_tokenizer_is_refused(
    encoder_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    speech, text = encoder_folders
    with pytest.raises(UserError, match="speech is a wav2vec2 model, not a text encoder") as caught:
        TextFeatures(str(speech), device="cpu", dtype=torch.float32)
    assert "--no-text" in caught.value.hint
    bare = shutil.copytree(text, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(UserError, match="bare has no tokenizer"):
        TextFeatures(str(bare), device="cpu", dtype=torch.float32)


def test_features_that_are_not_finite_name_their_utterance(encoders: Encoders) -> None:
    waveforms = torch.randn(2, 4000)
    waveforms[1, 7] = float("inf")
    with pytest.raises(UserError, match="features of 'second' that are not finite"):
        SpeechFeatures(encoders[0], scale=WaveformScale(mean=0.0, deviation=1.0), layer="last")(
            waveforms, ["first", "second"]
        )


def test_encoders_that_cannot_be_loaded_or_differ_in_width(encoder_folders: tuple[Path, Path], tmp_path: Path) -> None:
    from bench.accuracy.inputs import random_encoders

    speech, _ = map(str, encoder_folders)
    with pytest.raises(UserError, match="cannot load the encoder"):
        load_features(speech, str(tmp_path), device="cpu", dtype=torch.float32)
    random_encoders.write_text_encoder(tmp_path / "wide", seed=0, width=48)
    with pytest.raises(UserError, match=r"has 32 features per frame, .* has 48"):
        load_features(speech, str(tmp_path / "wide"), device="cpu", dtype=torch.float32)


def test_a_text_encoder_is_asked_for_once_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such encoder: ''"):
        TextFeatures("", device="cpu", dtype=torch.float32)

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="cannot load the encoder 'bert-large-uncased'") as caught:
        TextFeatures("bert-large-uncased", device="cpu", dtype=torch.float32)
    assert "no network" in caught.value.hint
    assert "--no-text" in caught.value.hint
