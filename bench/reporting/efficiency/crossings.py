"""Which of two mixers is ahead, and from which length on. A pure function of records."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.efficiency.records import Record
from bench.reporting.efficiency.allowances import allowed
from bench.reporting.efficiency.overview import names_of
from bench.reporting.efficiency.quantities import Quantity, conclusive, interpolate, known, measured

_GRID = 4001  # points between the shortest and the longest length at which curves are compared

_Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Two mixers in one quantity, over the lengths that both were measured at.

    Attributes:
        ahead, behind: Their names; ahead is the one with the lower value at the longest length.
        to_s: The longest length.
        from_s: The length from which on it is ahead; None where the curves never cross.
        low_s, high_s: The lengths between which neither is ahead for good: they are as good as equal, or take turns.
            None where there is no such length.
        finding: What follows, in words.
    """

    ahead: str
    behind: str
    to_s: float
    from_s: float | None
    low_s: float | None
    high_s: float | None
    finding: str


def crossings(records: Sequence[Record]) -> pd.DataFrame:
    """Return for each pair the length beyond which one has the lower GPU time, memory or latency, for good.

    Latency is left out unless enough processes timed single calls in every case. Between the lengths measured, curves
    are straight in logarithms of both. Two mixers are as good as equal where `allowed` explains their difference. Where
    that holds at the longest length, neither is ahead for good, and the finding says so.
    """
    rows = []
    for label, quantity in conclusive(records).items():
        for first, second in itertools.combinations(names_of(records), 2):
            found = _cross(measured(records, first, quantity), measured(records, second, quantity), quantity)
            if found:
                rows.append(
                    {
                        "quantity": label,
                        "ahead": found.ahead,
                        "behind": found.behind,
                        "up to (s)": found.to_s,
                        "from (s)": found.from_s,
                        "low (s)": found.low_s,
                        "high (s)": found.high_s,
                        "finding": found.finding,
                    }
                )
    return pd.DataFrame(rows)


def _cross(one: Sequence[Record], other: Sequence[Record], quantity: Quantity) -> Crossing | None:
    """Return who is ahead at the longest common length and since when; None without two common lengths."""
    others = {case.seconds: case for case in other}
    pairs = [(case, others[case.seconds]) for case in one if case.seconds in others]
    if len(pairs) < 2:
        return None
    seconds = np.array([case.seconds for case, _ in pairs])
    grid = np.geomspace(seconds[0], seconds[-1], _GRID)
    logarithms = [math.log(known(a, quantity) / known(b, quantity)) for a, b in pairs]
    difference = interpolate(grid, seconds, logarithms)
    equal = np.abs(difference) <= interpolate(grid, seconds, [allowed(a, b, quantity) for a, b in pairs])
    changes = np.flatnonzero(np.sign(difference[1:]) != np.sign(difference[:-1]))
    last = int(changes[-1]) if len(changes) else None
    low, high = _undecided_between(grid, np.sign(difference) * ~equal)
    ahead, behind = (one, other) if difference[-1] < 0 else (other, one)
    return Crossing(
        ahead=ahead[0].name,
        behind=behind[0].name,
        to_s=seconds[-1],
        from_s=None if last is None else grid[last],
        low_s=low,
        high_s=high,
        finding=_finding(equal, crossed=last is not None),
    )


def _undecided_between(grid: _Array, lead: _Array) -> tuple[float, float] | tuple[None, None]:
    """Return the lengths between which neither is ahead for good.

    They begin where the one that ends behind has led for the last time, or where both are equal for the first time.
    They end where the other one begins to lead for good.

    Args:
        grid: Lengths, rising.
        lead: 1 and -1 where the one or the other is ahead at a length, 0 where they are as good as equal.
    """
    decided = np.flatnonzero(lead)
    final = lead[decided[-1]] if len(decided) else 0
    undecided = np.flatnonzero(lead != final) if final else np.arange(len(grid))
    if not len(undecided):
        return None, None
    turned = np.flatnonzero(lead == -final) if final else undecided[:0]
    low = turned[-1] if len(turned) else undecided[0]
    high = min(undecided[-1] + 1, len(grid) - 1) if len(turned) else undecided[-1]
    return float(grid[low]), float(grid[high])


def _finding(equal: NDArray[np.bool_], *, crossed: bool) -> str:
    if equal.all():
        return "no difference at any length"
    if equal[-1]:
        return "within the noise up to the longest length"
    if crossed:
        return "overtakes"
    return "ahead outside the interval" if equal.any() else "ahead at every length"
