"""Whether a test is independent of what a run learned from: no utterance and no speaker may be in both.

Releases of one corpus differ in their splits, so a model of one release may have heard the test of another. Recordings
are compared as `corpora.sharing` says, and speakers by name. Nobody can tell whether an unknown speaker is in both.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, UNKNOWN_SPEAKER, Corpus, LeftOut, Utterance
from bench.accuracy.corpora.sharing import shared_recordings
from mixers.support.errors import UserError, choose

Treatment = Literal["refuse", "leave-out", "accept"]
TREATMENTS: tuple[Treatment, ...] = get_args(Treatment)


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What a split shares with what a run learned from.

    Attributes:
        names: The utterances of the split whose recording is also in training.
        speakers: The known speakers of the split who are also in training.
        utterances: How many utterances of the split are either.
        of_unknown_speaker: How many utterances of the split are by unknown speakers.
    """

    names: tuple[str, ...]
    speakers: tuple[str, ...]
    utterances: int
    of_unknown_speaker: int


def choose_treatment(name: str) -> Treatment:
    """Return the treatment of this name.

    Raises:
        UserError: There is none.
    """
    return choose("treatment of overlaps", name, TREATMENTS)


def separate(
    tested: Corpus, splits: Sequence[str], *, learned: Corpus, treatment: Treatment
) -> tuple[Corpus, dict[str, Overlap]]:
    """Compare splits with what a run learned from, and return the corpus to test and what was found.

    A test split is compared with training and development, since development chose the weights. The development split
    is compared with training. Who tests training wants to know how well it was learned, so it is not compared.

    Args:
        tested: The corpus to test on.
        splits: Its splits that will be tested.
        learned: The corpus that the run was trained on.
        treatment: ``refuse``, ``leave-out`` (shared utterances are left out, with the reason), or ``accept``.

    Raises:
        UserError: Something is shared and the treatment is ``refuse``, or ``leave-out`` leaves nothing of a split.
    """
    found: dict[str, Overlap] = {}
    shared: set[str] = set()
    for split in splits:
        heard, utterances = _heard(learned, split), tested.split(split)
        speakers = {each.speaker for each in heard} - {UNKNOWN_SPEAKER}
        names = {each.name for each in shared_recordings(heard, utterances)}
        both = [each for each in utterances if each.name in names or each.speaker in speakers]
        found[split] = Overlap(
            names=tuple(each.name for each in both if each.name in names),
            speakers=tuple(sorted({each.speaker for each in both} & speakers)),
            utterances=len(both),
            of_unknown_speaker=sum(each.speaker == UNKNOWN_SPEAKER for each in utterances),
        )
        if both and treatment == "refuse":
            hint = "Their scores would be too good. Use --overlap leave-out, or accept and say so."
            raise UserError(f"{split} of {tested.spec} shares {describe(found[split])} with {learned.spec}", hint=hint)
        if treatment == "leave-out":
            if len(both) == len(utterances):
                hint = "Test on another split or corpus."
                raise UserError(f"all of {split} of {tested.spec} was heard in training", hint=hint)
            shared |= {each.name for each in both}
    return _without(tested, shared), found


def facts(overlap: Overlap, treatment: Treatment) -> dict[str, object]:
    """Return what utterances.json says about an overlap."""
    return {
        "treatment": treatment,
        "recordings": len(overlap.names),
        "speakers": len(overlap.speakers),
        "utterances": overlap.utterances,
        "of_unknown_speaker": overlap.of_unknown_speaker,
    }


def describe(overlap: Overlap) -> str:
    """Return what is shared in words: ``3 recordings and 2 speakers (speaker 7, ...)``."""
    parts = [
        f"{counted(len(items), what)} ({items[0]}{', ...' if len(items) > 1 else ''})"
        for what, items in (("recording", overlap.names), ("speaker", overlap.speakers))
        if items
    ]
    return " and ".join(parts)


def counted(number: int, what: str) -> str:
    """Return a number of things in words: ``1 speaker``, ``2 speakers``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _heard(learned: Corpus, split: str) -> list[Utterance]:
    """Return what a run may not have learned from before it is tested on a split."""
    forbidden = {TRAIN: (), DEVELOPMENT: (TRAIN,)}.get(split, (TRAIN, DEVELOPMENT))
    return [each for each in learned.utterances if each.split in forbidden]


def _without(corpus: Corpus, names: set[str]) -> Corpus:
    if not names:
        return corpus
    left_out = [
        LeftOut(name=each.name, split=each.split, reason="heard in training: its recording or its speaker")
        for each in corpus.utterances
        if each.name in names
    ]
    return dataclasses.replace(
        corpus,
        utterances=tuple(each for each in corpus.utterances if each.name not in names),
        left_out=(*corpus.left_out, *left_out),
    )
