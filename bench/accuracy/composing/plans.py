"""What each composed recording consists of: a pure function of the short recordings, the request and its seed.

Each short recording that can carry a label begins one plan, in each length, unless its splits have enough of them. So
the classes of a split keep their shares. A plan uses recordings of one speaker which are in the same split of every
division of the corpus, such as its folds, so that one composed recording serves all of them.
"""

import itertools
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from bench.accuracy.composing.filling import (
    CannotComposeError,
    Piece,
    Source,
    fill,
    fill_backward,
    in_random_order,
    shift,
)
from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, UNKNOWN_SPEAKER
from bench.speech import samples_of
from mixers.support.errors import UserError, unknown_name

Kind = Literal["sustained", "salient", "change"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_HINT = "Give a shorter length, or let recordings repeat."

_CHANGE = 0.3, 0.7  # where in a recording the emotion changes, as shares of it


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to compose.

    Attributes:
        kind: ``sustained``: recordings of one speaker and one label. ``salient``: one emotional recording at a random
            place among neutral ones of its speaker; the label is its emotion. ``change``: recordings of one emotion,
            then of another, of one speaker.
        seconds: The length of each composed recording.
        earlier: Whether the label of ``change`` is the earlier emotion. It is the later one otherwise.
        neutral: The classes that count as neutral in ``salient``.
        silence_s: Seconds of silence between recordings.
        repeats: Whether a recording may occur again in one composed recording.
        match_levels: Whether all recordings get the same level.
        hours: Of composed recordings in train at most; None for as many as there can be.
        test_hours: The same of each other split.
        learned, tested: Whether there are recordings of this length in train and development, and in the other splits.
        seed: The same seed gives the same plans.
    """

    kind: Kind
    seconds: float
    earlier: bool
    neutral: tuple[str, ...]
    silence_s: float
    repeats: bool
    match_levels: bool
    hours: float | None
    test_hours: float | None
    learned: bool
    tested: bool
    seed: int

    @property
    def samples(self) -> int:
        """The length of each composed recording in samples."""
        return samples_of(self.seconds)

    def most(self, split: str) -> float:
        """Return how many recordings of a split are composed at most, which is 1 or more."""
        hours = self.hours if split == TRAIN else self.test_hours
        return math.inf if hours is None else max(1, hours * 3600 // self.seconds)

    def wants(self, split: str) -> bool:
        """Tell whether recordings of a split are composed."""
        return bool(split) and (self.learned if split in (TRAIN, DEVELOPMENT) else self.tested)

    @property
    def silence(self) -> int:
        """Samples of silence between recordings."""
        return samples_of(self.silence_s)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A composed recording.

    Attributes:
        name: Its name, without a suffix.
        label, speaker: As those of an utterance.
        splits: Its split in each division of the corpus; empty in a division that does not use it.
        pieces: What it consists of, in the order of time.
    """

    name: str
    label: str
    speaker: str
    splits: tuple[str, ...]
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, kw_only=True)
class Plans:
    """All plans of a request, and why short recordings began none, with their numbers."""

    plans: tuple[Plan, ...]
    left_out: Mapping[str, int]


def make_plans(sources: Sequence[Source], request: Request) -> Plans:
    """Plan all composed recordings.

    Args:
        sources: The short recordings, of all splits.
        request: What to compose.

    Raises:
        UserError: The corpus has no such neutral class, the silence is too long, or nothing can be composed in a split.
    """
    if 2 * request.silence > request.samples:
        message = f"{request.silence_s:g} s of silence leave too little of {request.seconds:g} s"
        raise UserError(message, hint="Give a shorter --silence.")
    if request.kind == "salient":
        _check_neutral(sources, request)
    by_voice: dict[_Voice, list[Source]] = {}
    for each in sources:
        by_voice.setdefault(_voice(each), []).append(each)
    plans, left_out, counts = list[Plan](), Counter[str](), Counter[tuple[int, str]]()
    order = random.Random(f"{request.seed}/{request.kind}").sample(range(len(sources)), len(sources))
    for number in order:
        first = sources[number]
        splits = tuple(
            split if request.wants(split) and counts[division, split] < request.most(split) else ""
            for division, split in enumerate(first.splits)
        )
        if not any(splits):
            continue
        name = f"{request.kind}-{request.seconds:g}s-{number:05d}"
        draw = random.Random(f"{request.seed}/{name}/{first.utterance.name}")
        try:
            pieces = _Composer(request, by_voice, draw).pieces(first)
        except CannotComposeError as error:
            left_out[str(error)] += 1
        else:
            voice = first.utterance
            plans.append(Plan(name=name, label=voice.label, speaker=voice.speaker, splits=splits, pieces=tuple(pieces)))
            counts.update((division, split) for division, split in enumerate(splits) if split)
    for division, split in {each: None for source in sources for each in enumerate(source.splits)}:
        if request.wants(split) and not counts[division, split]:
            raise UserError(f"nothing can be composed in {split}: {_reasons(left_out)}", hint=_HINT)
    return Plans(plans=tuple(plans), left_out=dict(left_out))


def _reasons(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} ({count})" for reason, count in left_out.items())


def _check_neutral(sources: Sequence[Source], request: Request) -> None:
    classes = sorted({each.utterance.label for each in sources})
    for name in request.neutral:
        if name not in classes:
            raise unknown_name("neutral class", name, classes)


# Recordings that may be joined: of one speaker, in the same splits, with one label.
_Voice = tuple[str, tuple[str, ...], str]


def _voice(source: Source, label: str | None = None) -> _Voice:
    """Return the voice of a recording, or what it is with another label."""
    return source.utterance.speaker, source.splits, source.utterance.label if label is None else label


class _Composer:
    """Composes one recording."""

    def __init__(self, request: Request, by_voice: Mapping[_Voice, Sequence[Source]], draw: random.Random) -> None:
        self._request, self._by_voice, self._draw = request, by_voice, draw

    def pieces(self, first: Source) -> list[Piece]:
        """Return what a composed recording consists of whose label one short recording carries.

        Raises:
            CannotComposeError: The short recording cannot carry a label, or its speaker has too few others.
        """
        if first.utterance.speaker == UNKNOWN_SPEAKER:
            raise CannotComposeError("unknown speakers")
        if self._request.kind == "sustained":
            return fill(self._from(first), self._request.samples, silence=self._request.silence)
        return self._salient(first) if self._request.kind == "salient" else self._change(first)

    def _salient(self, first: Source) -> list[Piece]:
        voice, request = first.utterance, self._request
        if voice.label in request.neutral:
            raise CannotComposeError("neutral")
        free = request.samples - first.samples
        if free < 0:
            raise CannotComposeError("longer than the composed recording")
        neutral = [each for label in request.neutral for each in self._by_voice.get(_voice(first, label), ())]
        rest = in_random_order(neutral, self._draw, repeats=request.repeats)
        start = self._draw.randint(0, free)
        before = fill_backward(rest, start - request.silence, silence=request.silence)
        after = fill(rest, free - start - request.silence, silence=request.silence)
        own = Piece(source=first, start=start, offset=0, samples=first.samples)
        return [*before, own, *shift(after, start + first.samples + request.silence)]

    def _change(self, first: Source) -> list[Piece]:
        request, own_voice = self._request, _voice(first)
        others = [voice for voice in self._by_voice if voice[:2] == own_voice[:2] and voice != own_voice]
        if not others:
            raise CannotComposeError("speakers with one emotion")
        other = in_random_order(self._by_voice[self._draw.choice(others)], self._draw, repeats=request.repeats)
        own = self._from(first)
        spoken = request.samples - request.silence
        change = round(self._draw.uniform(*_CHANGE) * spoken)
        earlier, later = (own, other) if request.earlier else (other, own)
        before = fill_backward(earlier, change, silence=request.silence)
        after = fill(later, spoken - change, silence=request.silence)
        return [*before, *shift(after, change + request.silence)]

    def _from(self, first: Source) -> "itertools.chain[Source]":
        """Return recordings of a speaker and label: first the given one."""
        own = self._by_voice[_voice(first)]
        others = [each for each in own if each is not first]
        again = in_random_order(own if self._request.repeats else (), self._draw, repeats=self._request.repeats)
        return itertools.chain([first], self._draw.sample(others, len(others)), again)
