"""Predicts on a CPU whether a case fits in memory and in the time that is left.

A GPU refuses an allocation that does not fit, and finishes any case in seconds. On a CPU the system may kill the
process instead, and one call may take minutes. So a case runs only if shorter ones predict that it fits.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from bench.efficiency.measurement.latency import SINGLE_CALLS, WARM_UP_CALLS

_FIRST_FRAMES = 49  # 1 s of audio: milliseconds and megabytes in every mixer
_LONGEST_STEP = 4  # times the length before; a longer case is reached in steps of two calls each
_CALLS_OF_AN_ATTEMPT = 2
_CALLS = WARM_UP_CALLS + SINGLE_CALLS.fewest_samples + 1  # of a long case, with the call that measures memory
_MOST_SPARE_S = 3.0  # for one case: the 24 of a plain sweep then take most of its budget, and no case takes all
_RESERVE = 2  # times the forecast for longer cases, in case the machine becomes busier


class Forecast:
    """Predicts longer calls of a contestant from the calls so far."""

    def __init__(self, attempt: Callable[[int], tuple[float, float]], *, free_gib: float) -> None:
        """Start without any call.

        Args:
            attempt: Runs a call twice at a number of frames; returns the seconds of one and its peak memory in GiB.
            free_gib: Memory that a call may take.
        """
        self._attempt = attempt
        self._free_gib = free_gib
        self._taken: list[tuple[int, float, float]] = []  # frames, seconds and GiB of single calls, frames rising

    def obstacle(self, frames: int, *, seconds_left: float) -> str:
        """Return why a case of this many frames would not fit; empty if it fits.

        Args:
            frames: Length of the case.
            seconds_left: Wall time it may take.
        """
        for step in self._steps_to(frames):
            reason = self._too_large(step) or self._too_slow(
                step, calls=_CALLS_OF_AN_ATTEMPT, seconds_left=seconds_left
            )
            if reason:
                return reason
            self._taken.append((step, *self._attempt(step)))
            seconds_left -= _CALLS_OF_AN_ATTEMPT * self._taken[-1][1]
        return self._too_slow(frames, calls=_CALLS, seconds_left=seconds_left)

    def spare_s(self, later: Sequence[int], *, seconds_left: float) -> float:
        """Return how much longer than usual the case that comes next may be sampled.

        It is an even share of the time that longer cases leave. Those that would not fit leave all of it.

        Args:
            later: Frames of the cases after it, rising.
            seconds_left: Wall time that all of them may take.
        """
        for frames in later:
            needed = _RESERVE * self._seconds(frames, calls=_CALLS + _CALLS_OF_AN_ATTEMPT)
            if needed > seconds_left:
                break
            seconds_left -= needed
        return min(_MOST_SPARE_S, max(0.0, seconds_left) / (1 + len(later)))

    def _steps_to(self, frames: int) -> Iterator[int]:
        reached = self._taken[-1][0] if self._taken else 0
        while reached < frames:
            reached = min(frames, reached * _LONGEST_STEP or _FIRST_FRAMES)
            yield reached

    def _too_large(self, frames: int) -> str:
        """Assume that memory grows with the square of the length, which is the most it can."""
        if not self._taken:
            return ""
        before, _, gib = self._taken[-1]
        needed = gib * (frames / before) ** 2
        if needed <= self._free_gib:
            return ""
        return f"{frames} frames might take {_at_most(needed)} GiB; {_at_least(self._free_gib)} GiB are free"

    def _too_slow(self, frames: int, *, calls: int, seconds_left: float) -> str:
        if not self._taken:
            return ""
        needed = self._seconds(frames, calls=calls)
        if needed <= seconds_left:
            return ""
        left = f"{_at_least(max(seconds_left, 0.0))} s are left of the mixer's share of --time-budget"
        return f"would take about {_at_most(needed)} s; {left}"

    def _seconds(self, frames: int, *, calls: int) -> float:
        before, seconds, _ = self._taken[-1]
        return calls * seconds * math.pow(frames / before, self._growth())

    def _growth(self) -> float:
        """Return the exponent with which time grew in length over the last step, limited to 1 to 2."""
        if len(self._taken) < 2:
            return 2.0
        (short, short_s, _), (long, long_s, _) = self._taken[-2:]
        return min(2.0, max(1.0, math.log(long_s / short_s) / math.log(long / short)))


def _at_most(value: float) -> str:
    """Return a number rounded up, so that it reads as more than a smaller one that `_at_least` rounds down."""
    return _rounded(value, ROUND_CEILING)


def _at_least(value: float) -> str:
    return _rounded(value, ROUND_FLOOR)


def _rounded(value: float, rounding: str) -> str:
    """Return two significant digits below 10, and a whole number from there on."""
    number = Decimal(f"{value:.6g}")  # 2.4 as a float is a little less
    whole = number.to_integral_value(rounding)
    return f"{Context(prec=2, rounding=rounding).plus(number) if number < 10 else whole:f}"
