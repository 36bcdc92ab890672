"""Which mixer to choose for clips of several lengths. Pure functions of records of one setting."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.efficiency.records import Record
from bench.reporting.efficiency.allowances import allowed
from bench.reporting.efficiency.analysis import total_gib
from bench.reporting.efficiency.overview import names_of
from bench.reporting.efficiency.quantities import Quantity, conclusive_time, interpolate, known, measured, memory
from bench.reporting.formats import enumeration, yes_or_no

CLIPS_S = (5.0, 10.0, 30.0, 60.0, 300.0)
MEMORY_LIMIT_GIB = 1.0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a mixer costs at some length.

    Attributes:
        figure: Its time in ms, or whatever else it was asked for.
        gib: The memory of weights, input and peak together.
        beside: The cases at the nearest lengths, which the estimate rests on.
    """

    figure: float
    gib: float
    beside: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Who is fastest, or takes the least of another quantity.

    Attributes:
        names: The fastest, and whoever is as fast within the noise.
        lowest: The lowest time.
        following: The fastest of the others; None if there is none.
        margin: How much longer it takes than the lowest time, as a fraction.
    """

    names: tuple[str, ...]
    lowest: float
    following: str | None
    margin: float | None


def choices(records: Sequence[Record], *, limit_gib: float = MEMORY_LIMIT_GIB) -> pd.DataFrame:
    """Return the fastest mixer for clips of several lengths, and the fastest within a memory limit.

    Fast is who has the lowest conclusive time; mixers as good as equal share the place. The margin is how much longer
    the next one takes. Between the lengths measured, curves are straight in logarithms.

    Args:
        records: Of one setting.
        limit_gib: For weights, input and peak together.

    Returns:
        A row for each clip; none where no time is conclusive.
    """
    rows = []
    for time in conclusive_time(records).values():
        for clip in CLIPS_S:
            every = estimates(records, clip, time)
            if every:
                within = {name: each for name, each in every.items() if each.gib <= limit_gib}
                rows.append(
                    {
                        "clip (s)": clip,
                        **_columns(every, time, "fastest"),
                        **_columns(within, time, f"within {limit_gib:g} GiB"),
                    }
                )
    return pd.DataFrame(rows)


def left_out(records: Sequence[Record]) -> str:
    """Return which mixers choices and crossings leave out because they lack the conclusive time; empty if none."""
    lines = []
    for label, time in conclusive_time(records).items():
        names = [name for name in names_of(records) if measured(records, name, memory)]
        missing = [name for name in names if not measured(records, name, time)]
        verb = "is" if len(missing) == 1 else "are"
        lines += [f"{enumeration(missing)} {verb} left out: no {label} is known."] if missing else []
    return " ".join(lines)


def estimates(records: Sequence[Record], seconds: float, quantity: Quantity) -> dict[str, Estimate]:
    """Return what each mixer costs at a length, except where it is outside the lengths measured.

    What does not conform to its reference computes something else, so it is left out.
    """
    found = {}
    conforming = [each for each in records if each.conforms is not False]
    for name in names_of(conforming):
        cases = [case for case in measured(conforming, name, quantity) if memory(case)]
        if cases and cases[0].seconds <= seconds <= cases[-1].seconds:
            below, above = [c for c in cases if c.seconds <= seconds], [c for c in cases if c.seconds >= seconds]
            lengths = [case.seconds for case in cases]
            found[name] = Estimate(
                figure=between(lengths, [known(case, quantity) for case in cases], seconds),
                gib=between(lengths, [total_gib(case) for case in cases], seconds),
                beside=(below[-1], above[0]),
            )
    return found


def between(lengths: Sequence[float], values: Sequence[float], seconds: float) -> float:
    """Return a figure between the lengths measured, where curves are straight in logarithms."""
    return math.exp(interpolate(np.array([seconds]), np.array(lengths), [math.log(value) for value in values])[0])


def ranking(every: Mapping[str, Estimate], quantity: Quantity) -> Ranking | None:
    """Return who is fastest, or takes the least of another quantity, ties included; None of nobody."""
    order = sorted(every, key=lambda name: every[name].figure)
    if not order:
        return None
    fastest = every[order[0]]
    tied = [name for name in order[1:] if _as_good_as_equal(fastest, every[name], quantity)]
    following = next((name for name in order[1:] if name not in tied), None)
    return Ranking(
        names=(order[0], *tied),
        lowest=fastest.figure,
        following=following,
        margin=every[following].figure / fastest.figure - 1 if following else None,
    )


def _as_good_as_equal(one: Estimate, other: Estimate, quantity: Quantity) -> bool:
    noise = max(allowed(a, b, quantity) for a in one.beside for b in other.beside)
    return abs(math.log(one.figure / other.figure)) <= noise


def _columns(every: Mapping[str, Estimate], time: Quantity, column: str) -> dict[str, object]:
    found = ranking(every, time)
    cases = [case for name in (found.names if found else ()) for case in every[name].beside]
    converged = None if any(case.converged is None for case in cases) else all(case.converged for case in cases)
    return {
        column: enumeration(found.names) if found else None,
        f"{column}: ms": found.lowest if found else None,
        f"{column}: converged": yes_or_no(converged) if found else None,
        f"{column}: next": found.following if found else None,
        f"{column}: margin": found.margin if found else None,
    }
