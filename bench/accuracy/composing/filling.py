"""Which parts of which recordings fill a span of time. Everything is counted in samples at 16 kHz."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bench.accuracy.corpora.base import Utterance


@dataclass(frozen=True, kw_only=True)
class Source:
    """A recording to compose from.

    Attributes:
        utterance: The recording.
        samples: Its length.
        splits: Its split in each division of the corpus, such as its folds; empty in a division that lacks it.
    """

    utterance: Utterance
    samples: int
    splits: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a recording at its place.

    Attributes:
        source: The recording.
        start: Where the part stands in the composed recording.
        offset: Where it begins in the source.
        samples: Its length.
    """

    source: Source
    start: int
    offset: int
    samples: int


class CannotComposeError(Exception):
    """A recording cannot begin a composed one; the message says why."""


def in_random_order(sources: Sequence[Source], draw: random.Random, *, repeats: bool) -> Iterator[Source]:
    """Yield recordings in random order; with repeats again and again, each time in another order.

    No recording follows itself, unless it is the only one.

    Raises:
        CannotComposeError: There are no more, and none may be repeated.
    """
    last: Source | None = None
    while True:
        order = draw.sample(sources, len(sources))
        if len(order) > 1 and order[0] is last:
            order.append(order.pop(0))
        yield from order
        if not repeats or not order:
            raise CannotComposeError("too few recordings of its speaker")
        last = order[-1]


def fill(sources: Iterator[Source], samples: int, *, silence: int) -> list[Piece]:
    """Return pieces from sample 0 on, with silence between them. The last is cut where the span ends.

    Args:
        sources: What to take, in this order.
        samples: The length of the span; where it is 0 or less, there are no pieces.
        silence: Samples between two pieces.

    Raises:
        CannotComposeError: The sources end too early.
    """
    pieces: list[Piece] = []
    place = 0
    while place < samples:
        source = next(sources)
        piece = Piece(source=source, start=place, offset=0, samples=min(source.samples, samples - place))
        pieces.append(piece)
        place += piece.samples + silence
    return pieces


def fill_backward(sources: Iterator[Source], samples: int, *, silence: int) -> list[Piece]:
    """Return pieces that end with the span. The first is cut where the span begins, so that the last is whole.

    Raises:
        CannotComposeError: The sources end too early.
    """
    return [
        replace(piece, start=samples - piece.start - piece.samples, offset=piece.source.samples - piece.samples)
        for piece in reversed(fill(sources, samples, silence=silence))
    ]


def shift(pieces: Sequence[Piece], samples: int) -> list[Piece]:
    """Return pieces at later places."""
    return [replace(piece, start=piece.start + samples) for piece in pieces]
