"""Crops and order follow from the seed and the epoch; evaluation sees whole files."""

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.accuracy.corpora.base import Corpus
from bench.accuracy.inputs.batches import Crops, Order, WholeFiles, load
from bench.audio import read_recording
from mixers.support.errors import UserError


@given(count=st.integers(1, 50), batch=st.integers(1, 12), world=st.integers(1, 4), epoch=st.integers(0, 3))
def test_processes_share_each_batch_and_an_epoch_meets_each_utterance_once(
    count: int, batch: int, world: int, epoch: int
) -> None:
    alone = list(Order(count, batch=batch, seed=0, epoch=epoch))
    shares = [list(Order(count, batch=batch, seed=0, epoch=epoch, rank=rank, world=world)) for rank in range(world)]
    assert len(alone) == count // batch
    for whole, *parts in zip(alone, *shares, strict=True):
        assert sorted(whole) == sorted(itertools.chain.from_iterable(parts))
    every = list(itertools.chain.from_iterable(alone))
    assert len(set(every)) == len(every) <= count


def test_epochs_differ_in_their_order() -> None:
    assert list(Order(40, batch=8, seed=0, epoch=0)) != list(Order(40, batch=8, seed=0, epoch=1))


def test_pitfall_4_evaluation_takes_whole_files(corpus: Corpus) -> None:
    utterances = corpus.split("test1")
    batches = list(load(WholeFiles(utterances), None, classes=corpus.classes, workers=0))
    assert [batch.names for batch in batches] == [(each.name,) for each in utterances]
    for batch, utterance in zip(batches, utterances, strict=True):
        assert torch.equal(batch.waveforms[0], read_recording(utterance.audio))


def test_pitfall_7_each_epoch_has_new_crops_cut_from_the_waveform(corpus: Corpus) -> None:
    utterances = corpus.split("train")
    longest = max(range(len(utterances)), key=lambda index: read_recording(utterances[index].audio).shape[0])
    whole = read_recording(utterances[longest].audio)
    crops = [Crops(utterances, seconds=0.1, seed=0, epoch=epoch)[longest][1] for epoch in range(4)]
    assert len({tuple(crop.tolist()) for crop in crops}) == 4
    pieces = whole.unfold(0, 1600, 1)
    assert all(((pieces - crop).abs().sum(1) == 0).any() for crop in crops)


def test_short_utterances_are_repeated(corpus: Corpus) -> None:
    utterance, crop = Crops(corpus.split("train"), seconds=2.0, seed=0, epoch=0)[0]
    whole = read_recording(utterance.audio)
    assert crop.shape == (32_000,)
    assert torch.equal(crop[: whole.shape[0]], whole)
    assert torch.equal(crop[whole.shape[0] : 2 * whole.shape[0]], whole[: 32_000 - whole.shape[0]])


@pytest.mark.parametrize("seed", [0, 1])
def test_a_crop_depends_on_its_utterance_alone(corpus: Corpus, seed: int) -> None:
    utterances = corpus.split("train")
    one = Crops(utterances, seconds=0.2, seed=seed, epoch=1)[3][1]
    other = Crops(utterances[3:], seconds=0.2, seed=seed, epoch=1)[0][1]
    assert torch.equal(one, other)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_recording_is_named_with_and_without_workers(corpus: Corpus, tmp_path: Path, workers: int) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    good = corpus.split("test1")[0]
    files = WholeFiles([good, dataclasses.replace(good, audio=tmp_path / "bad.wav")])
    batches = load(files, None, classes=corpus.classes, workers=workers)
    assert next(batches).names == (good.name,)
    with pytest.raises(UserError, match=r"^\S+bad.wav cannot be decoded: [^\n]*$") as caught:
        next(batches)
    assert caught.value.hint


@pytest.mark.gpu
def test_batches_for_a_gpu_come_in_pinned_memory(corpus: Corpus) -> None:
    (first, *_) = load(WholeFiles(corpus.split("test1")), None, classes=corpus.classes, workers=1)
    assert first.waveforms.is_pinned()
    assert first.labels.is_pinned()
