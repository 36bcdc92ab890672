"""Crops and order follow from the seed; scoring sees whole recordings, in batches of similar length."""

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.accuracy.corpora.base import Corpus
from bench.accuracy.inputs.batches import Crops, Draw, WholeFiles, load
from bench.accuracy.inputs.orders import PADDING_SAMPLES, by_length, padded_length, shuffled
from bench.audio import read_recording, samples_at_16_khz
from mixers.support.errors import UserError


@given(count=st.integers(1, 50), batch=st.integers(1, 12), epoch=st.integers(0, 3))
def test_an_epoch_meets_each_utterance_once(count: int, batch: int, epoch: int) -> None:
    batches = shuffled(count, batch=batch, seed=f"0/{epoch}")
    assert [len(each) for each in batches] == [batch] * (count // batch)
    every = list(itertools.chain.from_iterable(batches))
    assert len(set(every)) == len(every) <= count


def test_epochs_and_seeds_differ_in_their_order() -> None:
    orders = [shuffled(40, batch=8, seed=seed) for seed in ("0/0", "0/1", "0.1/0")]
    assert all(one != other for one, other in itertools.combinations(orders, 2))


@given(lengths=st.lists(st.integers(1, 7_000_000), min_size=1, max_size=300))
def test_scoring_meets_each_recording_once_with_little_padding(lengths: list[int]) -> None:
    batches = by_length(lengths)
    assert sorted(itertools.chain.from_iterable(batches)) == list(range(len(lengths)))
    longest = [max(lengths[index] for index in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    for batch, samples in zip(batches, longest, strict=True):
        padded = padded_length(samples)
        assert samples <= padded < samples + PADDING_SAMPLES
        assert len(batch) == 1 or len(batch) * padded <= 320 * 16_000


def test_a_header_tells_how_long_a_recording_is(corpus: Corpus) -> None:
    for utterance in corpus.utterances:
        assert samples_at_16_khz(utterance.audio) == len(read_recording(utterance.audio))


def test_pitfall_4_evaluation_takes_whole_files(corpus: Corpus) -> None:
    utterances = corpus.split("test1")
    draws = [[Draw(index)] for index in range(len(utterances))]
    batches = list(load(WholeFiles(utterances), draws, workers=0))
    assert [batch.names for batch in batches] == [(each.name,) for each in utterances]
    for batch, utterance in zip(batches, utterances, strict=True):
        assert torch.equal(batch.waveforms[0], read_recording(utterance.audio))


def test_padding_stands_behind_a_recording(corpus: Corpus) -> None:
    utterances = corpus.split("test1")
    draws = [[Draw(index, "", 32_000) for index in range(len(utterances))]]
    (batch,) = load(WholeFiles(utterances), draws, workers=0)
    assert batch.waveforms.shape == (len(utterances), 32_000)
    for waveform, length, utterance in zip(batch.waveforms, batch.lengths, utterances, strict=True):
        assert torch.equal(waveform[:length], read_recording(utterance.audio))
        assert not waveform[length:].any()


def test_pitfall_7_each_epoch_has_new_crops_cut_from_the_waveform(corpus: Corpus) -> None:
    utterances = corpus.split("train")
    longest = max(range(len(utterances)), key=lambda index: read_recording(utterances[index].audio).shape[0])
    whole = read_recording(utterances[longest].audio)
    crops = [Crops(utterances, seconds=0.1)[Draw(longest, f"0/{epoch}")][1] for epoch in range(4)]
    assert len({tuple(crop.tolist()) for crop in crops}) == 4
    pieces = whole.unfold(0, 1600, 1)
    assert all(((pieces - crop).abs().sum(1) == 0).any() for crop in crops)


def test_short_utterances_are_repeated(corpus: Corpus) -> None:
    utterances = corpus.split("train")
    _, crop, length = Crops(utterances, seconds=2.0)[Draw(0, "0/0")]
    whole = read_recording(utterances[0].audio)
    assert crop.shape == (32_000,)
    assert length == 32_000
    assert torch.equal(crop[: whole.shape[0]], whole)
    assert torch.equal(crop[whole.shape[0] : 2 * whole.shape[0]], whole[: 32_000 - whole.shape[0]])


@pytest.mark.parametrize("seed", ["0/1", "0.1/1"])
def test_a_crop_depends_on_its_utterance_alone(corpus: Corpus, seed: str) -> None:
    utterances = corpus.split("train")
    one = Crops(utterances, seconds=0.2)[Draw(3, seed)][1]
    other = Crops(utterances[3:], seconds=0.2)[Draw(0, seed)][1]
    assert torch.equal(one, other)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_recording_is_named_with_and_without_workers(corpus: Corpus, tmp_path: Path, workers: int) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    good = corpus.split("test1")[0]
    files = WholeFiles([good, dataclasses.replace(good, audio=tmp_path / "bad.wav")])
    batches = load(files, [[Draw(0)], [Draw(1)]], workers=workers)
    assert next(batches).names == (good.name,)
    with pytest.raises(UserError, match=r"^\S+bad.wav cannot be decoded: [^\n]*$") as caught:
        next(batches)
    assert caught.value.hint


@pytest.mark.gpu
def test_batches_for_a_gpu_come_in_pinned_memory(corpus: Corpus) -> None:
    (first,) = load(WholeFiles(corpus.split("test1")), [[Draw(0)]], workers=1)
    assert first.waveforms.is_pinned()
