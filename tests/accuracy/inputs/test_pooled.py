"""Whole recordings become mean and deviation over time, one recording at a time, of every layer at once."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bench.accuracy.corpora.base import Corpus
from bench.accuracy.inputs.features import SpeechFeatures, TextFeatures
from bench.accuracy.inputs.pooled import pool_over_time, pooled_recordings
from bench.audio import read_recording
from bench.encoders import SpeechEncoder, load_encoder
from tests.tiny_whisper import save_tiny_whisper

FEATURES = arrays.arrays(
    np.float32, arrays.array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.floats(-100, 100, width=32)
)


@given(FEATURES)
def test_pooling_is_numpys_mean_and_deviation(features: np.ndarray) -> None:
    exact = features.astype(np.float64)
    expected = np.concatenate([exact.mean(-2), exact.std(-2)], axis=-1)
    found = pool_over_time(torch.from_numpy(features))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-3)


def test_half_precision_is_pooled_in_float32() -> None:
    features = torch.full((1000, 1), 3.0, dtype=torch.bfloat16)
    features[0] = 4.0  # a mean of 3.001 needs more digits than bfloat16 has
    assert pool_over_time(features)[0].item() == pytest.approx(3.001)


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
def test_every_layer_and_the_last_are_those_of_the_encoder(
    kind: str, corpus: Corpus, encoders: tuple[SpeechEncoder, TextFeatures], tmp_path_factory: pytest.TempPathFactory
) -> None:
    encoder = encoders[0]
    if kind == "whisper":
        folder = save_tiny_whisper(tmp_path_factory.mktemp("whisper"))
        encoder = load_encoder(str(folder), width=None, device="cpu", dtype=torch.float32, seed=0)
    utterances = corpus.split("test1")[:2]
    every = SpeechFeatures(encoder, scale=None, layer="every")
    found = dict(pooled_recordings(utterances, every, device=torch.device("cpu"), workers=0))
    assert found.keys() == {each.name for each in utterances}
    for utterance in utterances:
        alone = read_recording(utterance.audio)[None]
        names = [utterance.name]
        layers: list[Any] = [*range(1, encoder.num_layers + 1), "last"]
        for index, layer in enumerate(layers):
            one = SpeechFeatures(encoder, scale=None, layer=layer)
            frames = one(alone, names)[0].numpy()  # (M, D)
            expected = np.concatenate([frames.mean(0), frames.std(0)])
            np.testing.assert_allclose(found[utterance.name][index], expected, rtol=1e-4, atol=1e-5)
