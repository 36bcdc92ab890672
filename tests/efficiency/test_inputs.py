"""What a sweep feeds the mixers: the same for every mixer, never zeros, of the right length."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.efficiency.inputs import EncodedSpeech, Input, RandomFeatures, StoredFeatures, store
from bench.encoders import SpeechEncoder, load_encoder
from bench.speech import frames_of, samples_of
from mixers.support.errors import UserError
from tests.tiny_whisper import save_tiny_whisper

WIDTH = 8


class Windows(nn.Module):
    """Stands in for a speech encoder: each frame's features are the first samples that it sees."""

    def __init__(self, *, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor), requires_grad=False)
        self.last_hidden_state: Tensor

    def forward(self, batch: Tensor) -> "Windows":
        self.last_hidden_state = batch.unfold(1, 400, 320)[..., :WIDTH] * self.factor  # (1, L, D)
        return self


def encoded(recordings: list[Path], *, seed: int = 0, factor: float = 1.0) -> EncodedSpeech:
    encoder = SpeechEncoder(name="windows", width=WIDTH, normalises=False, model=Windows(factor=factor))
    return EncodedSpeech(recordings=recordings, encoder=encoder, seed=seed)


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    """Three recordings of 1, 2 and 3 s: each sample is its number plus 100,000 for every second of its recording."""
    paths = []
    for seconds in (1, 2, 3):
        paths.append(tmp_path / f"{seconds}.wav")
        ramp = np.arange(seconds * 16_000, dtype=np.float32) + seconds * 1e5
        soundfile.write(paths[-1], ramp, 16_000, subtype="FLOAT")
    return paths


@given(seconds=st.floats(min_value=0.025, max_value=60), seed=st.integers(min_value=0, max_value=2**40))
@settings(max_examples=50, deadline=None)
def test_random_features_depend_on_seed_and_length_alone(seconds: float, seed: int) -> None:
    source = RandomFeatures(width=WIDTH, seed=seed)
    features = source.features(seconds)
    assert features.shape == (1, frames_of(samples_of(seconds)), WIDTH)
    assert features.dtype == torch.float32
    assert features.isfinite().all()
    source.features(seconds + 1)
    assert torch.equal(source.features(seconds), features)
    assert torch.equal(RandomFeatures(width=WIDTH, seed=seed).features(seconds), features)
    assert not torch.equal(RandomFeatures(width=WIDTH, seed=seed + 1).features(seconds), features)


def test_random_features_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    RandomFeatures(width=WIDTH, seed=0).features(10.0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_random_features_have_unit_variance() -> None:
    features = RandomFeatures(width=1024, seed=0).features(10.0)
    assert features.mean().abs() < 0.01
    assert abs(features.var() - 1) < 0.01
    assert (features != 0).float().mean() > 0.999


def test_random_utterances_last_as_long_as_msp_podcasts_turns() -> None:
    turns = []
    for seed in range(400):
        features = RandomFeatures(width=1, seed=seed).features(30.0)[0, :, 0]
        turns.append(next(period for period in range(1, 600) if torch.equal(features[period:], features[:-period])))
    assert min(turns) >= frames_of(samples_of(2.75))
    assert max(turns) <= frames_of(samples_of(11.0))
    assert np.mean(turns) / 50 == pytest.approx(409 * 3600 / 264_705, abs=0.3)


def test_random_features_say_so() -> None:
    source: Input = RandomFeatures(width=WIDTH, seed=0)
    assert source.description == "random features"


def test_encoded_speech_is_a_crop_or_a_repetition_of_one_recording(recordings: list[Path]) -> None:
    source = encoded(recordings)
    used = set()
    for seconds in np.arange(0.1, 6, 0.1).tolist():
        features = source.features(seconds)
        assert features.shape == (1, frames_of(samples_of(seconds)), WIDTH)
        assert features.device.type == "cpu"
        recording = int(features[0, 0, 0] // 1e5)
        samples = features[0].double() - recording * 1e5  # (L, D), numbers of the samples
        start = samples[0, 0]
        expected = (start + 320 * torch.arange(len(samples))[:, None] + torch.arange(WIDTH)) % (recording * 16_000)
        assert torch.equal(samples, expected)
        used.add(recording)
    assert used == {1, 2, 3}


def test_encoded_speech_depends_on_seed_and_length_alone(recordings: list[Path]) -> None:
    forwards = encoded(recordings)
    backwards = encoded(recordings)
    lengths = [0.5, 1.0, 5.0]
    features = [forwards.features(seconds) for seconds in lengths]
    for seconds, expected in reversed(list(zip(lengths, features, strict=True))):
        assert torch.equal(backwards.features(seconds), expected)
    other = encoded(recordings, seed=1)
    assert not torch.equal(other.features(0.5), features[0])


def test_whispers_features_are_as_many_as_any_input_has(recordings: list[Path], tmp_path: Path) -> None:
    folder = save_tiny_whisper(tmp_path / "whisper")
    encoder = load_encoder(str(folder), width=None, device="cpu", dtype=torch.float32, seed=0)
    source = EncodedSpeech(recordings=recordings, encoder=encoder, seed=0)
    for seconds in (0.025, 1.0, 31.0):
        features = source.features(seconds)
        assert features.shape == (1, frames_of(samples_of(seconds)), encoder.width)
        assert features.isfinite().all()


def test_stored_features_are_those_of_the_input(recordings: list[Path], tmp_path: Path) -> None:
    source = encoded(recordings)
    lengths = [0.5, 3.0]
    descriptions = list(store(lengths, make=lambda: source, folder=tmp_path))
    assert descriptions == [source.description] * 2
    stored: Input = StoredFeatures(folder=tmp_path, description=descriptions[0])
    for seconds in lengths:
        assert torch.equal(stored.features(seconds), source.features(seconds))


def test_what_an_encoder_has_no_room_for_is_said_when_it_is_asked_for(
    recordings: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise torch.OutOfMemoryError("Tried to allocate 11.92 GiB.")

    monkeypatch.setattr(Windows, "forward", refuse)
    (description,) = store([400.0], make=lambda: encoded(recordings), folder=tmp_path)
    with pytest.raises(RuntimeError, match=r"the encoder ran out of memory: Tried to allocate 11.92 GiB."):
        StoredFeatures(folder=tmp_path, description=description).features(400.0)


def test_features_that_are_not_finite_are_named(recordings: list[Path]) -> None:
    source = encoded(recordings[:1], factor=float("inf"))
    with pytest.raises(UserError, match=r"windows makes features of .*1\.wav that are not finite") as caught:
        source.features(1.0)
    assert caught.value.hint


@pytest.mark.parametrize(("count", "description"), [(1, "1 recording through windows"), (3, "3 recordings through ")])
def test_encoded_speech_says_what_it_is(recordings: list[Path], count: int, description: str) -> None:
    source = encoded(recordings[:count])
    described: Input = source
    assert described.description.startswith(description)
