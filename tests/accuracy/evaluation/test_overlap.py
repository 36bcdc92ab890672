"""A test that shares recordings or speakers with training is refused, left out or marked."""

import dataclasses
from pathlib import Path

import pytest

from bench.accuracy.corpora.base import Corpus, Utterance
from bench.accuracy.evaluation.overlap import choose_treatment, describe, facts, separate
from mixers.support.errors import UserError


def corpus(spec: str, *turns: tuple[str, str, str]) -> Corpus:
    """Return a corpus of utterances: name, speaker, split."""
    utterances = tuple(
        Utterance(name=name, audio=Path(name), text="", label="anger", speaker=speaker, split=split)
        for name, speaker, split in turns
    )
    return Corpus(spec=spec, classes=("anger",), utterances=utterances, left_out=())


OLD = corpus(
    "msp-podcast:/1",
    ("a.wav", "1", "train"),
    ("b.wav", "2", "development"),
    ("c.wav", "3", "test1"),
    ("d.wav", "Unknown", "train"),
)
NEW = corpus(
    "msp-podcast:/2",
    ("a.flac", "9", "test1"),
    ("e.wav", "1", "test1"),
    ("f.wav", "2", "test1"),
    ("g.wav", "3", "test1"),
    ("h.wav", "Unknown", "test1"),
    ("i.wav", "2", "development"),
    ("j.wav", "1", "train"),
    ("k.wav", "4", "test2"),
)


def test_names_and_speakers_are_compared_across_releases() -> None:
    same, found = separate(NEW, ["test1", "development", "train", "test2"], learned=OLD, treatment="accept")
    assert same is NEW
    assert found["test1"].names == ("a.flac",)  # a.wav in training
    assert found["test1"].speakers == ("1", "2")  # of training, and of development, which chose the weights
    assert (found["test1"].utterances, found["test1"].of_unknown_speaker) == (3, 1)
    assert describe(found["test1"]) == "1 recording (a.flac) and 2 speakers (1, ...)"
    assert [found[split].utterances for split in ("development", "train", "test2")] == [0, 0, 0]
    assert facts(found["test1"], "accept") == {
        "treatment": "accept",
        "recordings": 1,
        "speakers": 2,
        "utterances": 3,
        "of_unknown_speaker": 1,
    }


def test_an_overlap_is_refused() -> None:
    with pytest.raises(UserError, match=r"test1 of msp-podcast:/2 shares 1 recording .* with msp-podcast:/1") as caught:
        separate(NEW, ["test1"], learned=OLD, treatment="refuse")
    assert "--overlap leave-out" in caught.value.hint
    separate(NEW, ["test2", "development"], learned=OLD, treatment="refuse")


def test_what_was_heard_is_left_out_and_listed() -> None:
    rest, found = separate(NEW, ["test1"], learned=OLD, treatment="leave-out")
    assert [each.name for each in rest.split("test1")] == ["g.wav", "h.wav"]
    assert [each.name for each in rest.left_out] == ["a.flac", "e.wav", "f.wav"]
    assert {(each.split, each.reason.partition(":")[0]) for each in rest.left_out} == {("test1", "heard in training")}
    assert found["test1"].utterances == 3
    alone = dataclasses.replace(NEW, utterances=NEW.utterances[:1])
    with pytest.raises(UserError, match=r"all of test1 of .* was heard in training"):
        separate(alone, ["test1"], learned=OLD, treatment="leave-out")


def test_an_unknown_treatment() -> None:
    with pytest.raises(UserError, match="unknown treatment of overlaps 'acept'") as caught:
        choose_treatment("acept")
    assert "Did you mean 'accept'?" in caught.value.hint


def placed(folder: str, *turns: tuple[str, str, str]) -> Corpus:
    """Return a corpus of utterances in a folder: name, path there, split; nobody knows the speakers."""
    utterances = tuple(
        Utterance(name=name, audio=Path(folder, path), text="", label="anger", speaker="Unknown", split=split)
        for name, path, split in turns
    )
    return Corpus(spec=f"manifest:{folder}", classes=("anger",), utterances=utterances, left_out=())


def test_equal_file_names_in_different_folders_are_different_recordings() -> None:
    own = placed(
        "/all",
        ("1.wav", "1.wav", "train"),
        ("ann/1.wav", "ann/1.wav", "train"),
        ("bob/1.wav", "bob/1.wav", "test1"),
        ("2.wav", "bob/2.wav", "train"),
    )
    assert separate(own, ["test1"], learned=own, treatment="refuse")[1]["test1"].names == ()
    parts = placed("/all/ann", ("1.wav", "1.wav", "test1"), ("2.wav", "2.wav", "test1"))
    assert separate(parts, ["test1"], learned=own, treatment="accept")[1]["test1"].names == ("1.wav", "2.wav")
    elsewhere = placed("/copy", ("ann/1.flac", "ann/1.flac", "test1"), ("eve/1.flac", "eve/1.flac", "test1"))
    assert separate(elsewhere, ["test1"], learned=own, treatment="accept")[1]["test1"].names == ("ann/1.flac",)
