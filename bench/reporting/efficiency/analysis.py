"""What records mean for whoever must choose: growth, crossings, floors, what fits. Pure functions of records.

Each takes the records of one setting and returns a table, a row for each finding.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from bench.efficiency.noise import PROCESSES_DIFFER
from bench.efficiency.records import Record
from bench.reporting.efficiency.overview import names_of

GROWTH_FROM_S = 100.0  # below, launches and not the mixer set the time of most
CONFIDENCE = 0.95

CARDS_GIB = (8, 16, 24, 40, 80)

# Of each card, for the driver and one process's context: on an H200 KDA's process takes 0.66 GiB beside what its
# allocator holds (process_gib and reserved_gib at 400 s, reports/nvidia-h200/bfloat16), the driver about the same.
CONTEXT_GIB = 1.3

CLIPS_S = (5.0, 10.0, 30.0, 60.0, 300.0)
MEMORY_LIMIT_GIB = 1.0

_GRID = 4001  # points between the shortest and the longest length at which curves are compared

_NORMAL = float(stats.norm.ppf((1 + CONFIDENCE) / 2))

Quantity = Callable[[Record], float | None]


def latency(record: Record) -> float | None:
    """Return the time of a single call, in ms."""
    return record.latency_ms


def gpu_time(record: Record) -> float | None:
    """Return the time of the device alone, in ms; None on a CPU, and where no call could be issued ahead."""
    return record.gpu_ms


def best_known_time(record: Record) -> float | None:
    """Return the time of the device alone, in ms; where it is not known, that of a single call."""
    return record.latency_ms if record.gpu_ms is None else record.gpu_ms


def memory(record: Record) -> float | None:
    """Return the peak memory of a call, in GiB."""
    return record.peak_memory_gib


def over_the_floor(record: Record) -> float | None:
    """Return the device's time over the least that any implementation needs at this GPU's rates."""
    return record.gpu_ms / record.floor_ms if record.gpu_ms and record.floor_ms else None


def costs(records: Sequence[Record]) -> pd.DataFrame:
    """Return what each mixer costs at the longest length that it was measured at.

    ``MB per s`` is what one more second of audio adds to the peak there; the real-time factor is the time of a call
    over that of its audio.
    """
    rows = []
    for name in names_of(records):
        cases = _measured(records, name, memory)
        if not cases:
            continue
        longest = cases[-1]
        assert longest.latency_ms is not None
        rows.append(
            {
                "mixer": name,
                "parameters (M)": round((longest.parameters or 0) / 1e6, 2),
                "seconds": longest.seconds,
                "latency (ms)": longest.latency_ms,
                "GPU time (ms)": longest.gpu_ms,
                "real-time factor": longest.latency_ms / 1e3 / (longest.seconds * longest.batch),
                "peak memory (GiB)": longest.peak_memory_gib,
                "MB per s": _slope_mb(cases),
                "energy (J)": longest.energy_j,
            }
        )
    return pd.DataFrame(rows)


def _slope_mb(cases: Sequence[Record]) -> float | None:
    if len(cases) < 2:
        return None
    before, last = cases[-2:]
    gib = (last.peak_memory_gib or 0) - (before.peak_memory_gib or 0)
    return gib * 2**30 / 1e6 / (last.seconds - before.seconds)


def growth(records: Sequence[Record]) -> pd.DataFrame:
    """Return the power of the length with which time and memory grow, from 100 s on, by least squares on logarithms.

    The interval is Student's; it is wide where the curve is no power of the length.
    """
    rows = []
    for name, (quantity, of) in itertools.product(names_of(records), _QUANTITIES.items()):
        cases = [case for case in _measured(records, name, of) if case.seconds >= GROWTH_FROM_S]
        if len(cases) < 3:
            continue
        fit = stats.linregress(
            [math.log(case.seconds) for case in cases], [math.log(_value(case, of)) for case in cases]
        )
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(cases) - 2)) * fit.stderr
        rows.append(
            {
                "mixer": name,
                "quantity": quantity,
                "exponent": fit.slope,
                "low": fit.slope - half,
                "high": fit.slope + half,
                "from (s)": cases[0].seconds,
                "to (s)": cases[-1].seconds,
            }
        )
    return pd.DataFrame(rows)


def crossings(records: Sequence[Record]) -> pd.DataFrame:
    """Return for each pair the length beyond which one has the lower latency, GPU time or memory, for good.

    Between the lengths measured, curves are straight in logarithms of both. Within the interval the two are as good as
    equal: their difference is within what the standard errors of both medians and two processes allow. Where that holds
    at the longest length, nobody is ahead for good, and the finding says so.
    """
    rows = []
    for quantity, of in _QUANTITIES.items():
        for first, second in itertools.combinations(names_of(records), 2):
            row = _crossing(_measured(records, first, of), _measured(records, second, of), of)
            if row:
                rows.append({"quantity": quantity, **row})
    return pd.DataFrame(rows)


def _crossing(one: Sequence[Record], other: Sequence[Record], of: Quantity) -> dict[str, object] | None:
    """Return who is ahead at the longest common length and since when; None without two common lengths."""
    others = {case.seconds: case for case in other}
    pairs = [(case, others[case.seconds]) for case in one if case.seconds in others]
    if len(pairs) < 2:
        return None
    seconds = np.array([case.seconds for case, _ in pairs])
    grid = np.geomspace(seconds[0], seconds[-1], _GRID)
    difference = _between(grid, seconds, [math.log(_value(a, of) / _value(b, of)) for a, b in pairs])
    allowed = _between(grid, seconds, [_allowance(a, b, of) for a, b in pairs])
    ahead, behind = (one, other) if difference[-1] < 0 else (other, one)
    row: dict[str, object] = {"ahead": ahead[0].name, "behind": behind[0].name, "up to (s)": seconds[-1]}
    equal = np.abs(difference) <= allowed
    changes = np.flatnonzero(np.sign(difference[1:]) != np.sign(difference[:-1]))
    since = grid[changes[-1]] if len(changes) else None
    low, high = _alike(grid, equal, around=int(changes[-1]) if len(changes) else None)
    return {**row, "from (s)": since, "low (s)": low, "high (s)": high, "finding": _finding(equal, bool(len(changes)))}


def _alike(
    grid: NDArray[np.float64], equal: NDArray[np.bool_], *, around: int | None
) -> tuple[float, float] | tuple[None, None]:
    """Return the lengths between which two are as good as equal: around their last crossing, or else wherever."""
    if around is None:
        return (grid[equal][0], grid[equal][-1]) if equal.any() else (None, None)
    low = next((index for index in range(around, -1, -1) if not equal[index]), 0)
    high = next((index for index in range(around + 1, _GRID) if not equal[index]), _GRID - 1)
    return grid[low], grid[high]


def _finding(equal: NDArray[np.bool_], crossed: bool) -> str:
    if equal.all():
        return "no difference at any length"
    if equal[-1]:
        return "within the noise up to the longest length"
    if crossed:
        return "overtakes"
    return "ahead outside the interval" if equal.any() else "ahead at every length"


def _between(grid: NDArray[np.float64], seconds: NDArray[np.float64], values: Sequence[float]) -> NDArray[np.float64]:
    return np.interp(np.log(grid), np.log(seconds), values)


def _allowance(one: Record, other: Record, of: Quantity) -> float:
    if of is memory:
        return 0.0  # the allocator's books are exact
    errors = [(case.gpu_error if of is gpu_time else case.latency_error) or 0 for case in (one, other)]
    return _NORMAL * math.hypot(*errors) + PROCESSES_DIFFER


def floors(records: Sequence[Record]) -> pd.DataFrame:
    """Return how far each case is from its floor."""
    rows = [
        {
            "mixer": record.name,
            "seconds": record.seconds,
            "GPU time (ms)": record.gpu_ms,
            "floor (ms)": record.floor_ms,
            "ratio": ratio,
        }
        for record in records
        if (ratio := over_the_floor(record))
    ]
    return pd.DataFrame(rows)


def capacities(records: Sequence[Record]) -> pd.DataFrame:
    """Return the longest audio, in seconds, that fits on cards of several sizes beside CUDA itself and the weights.

    Memory is a square polynomial of the length, fitted to all lengths measured; beyond these it is extrapolated.
    """
    rows = []
    for name in names_of(records):
        cases = _measured(records, name, memory)
        if len(cases) >= 3:
            fitted = {f"{card} GiB": _longest(cases, card - CONTEXT_GIB) for card in CARDS_GIB}
            rows.append({"mixer": name, "measured up to (s)": cases[-1].seconds, **fitted})
    return pd.DataFrame(rows)


def _longest(cases: Sequence[Record], gib: float) -> float:
    """Return the length in seconds at which the memory of a call is used up."""
    seconds = np.array([case.seconds for case in cases])
    total = np.array([_total_gib(case) for case in cases])
    # Each length weighs alike, and a square term that only rounding made is left out.
    square, slope, constant = np.polyfit(seconds, total, 2, w=1 / total)
    if square * seconds[-1] < 0.01 * slope:
        square = 0.0
        slope, constant = np.polyfit(seconds, total, 1, w=1 / total)
    roots = np.roots([square, slope, constant - gib] if square else [slope, constant - gib])
    positive = [float(root.real) for root in roots if abs(root.imag) < 1e-9 and root.real > 0]
    return min(positive, default=0.0)


def _total_gib(case: Record) -> float:
    return _value(case, memory) + (case.weights_gib or 0) + (case.input_gib or 0)


def choices(records: Sequence[Record], *, limit_gib: float = MEMORY_LIMIT_GIB) -> pd.DataFrame:
    """Return the mixer with the lowest latency for clips of several lengths, and the lowest within a memory limit.

    The margin is how much longer the next one takes; between the lengths measured, curves are straight in logarithms.

    Args:
        records: Of one setting.
        limit_gib: Of weights, input and peak together.
    """
    rows = []
    for clip in CLIPS_S:
        found = {name: at for name in names_of(records) if (at := _interpolated(records, name, clip))}
        if found:
            within = {name: ms for name, (ms, gib) in found.items() if gib <= limit_gib}
            every = {name: ms for name, (ms, _) in found.items()}
            rows.append(
                {
                    "clip (s)": clip,
                    **_fastest(every, "fastest"),
                    **_fastest(within, f"within {limit_gib:g} GiB"),
                }
            )
    return pd.DataFrame(rows)


def _interpolated(records: Sequence[Record], name: str, clip: float) -> tuple[float, float] | None:
    """Return latency in ms and memory in GiB at a length; None beyond what was measured."""
    cases = _measured(records, name, memory)
    if not cases or not cases[0].seconds <= clip <= cases[-1].seconds:
        return None
    seconds = np.array([case.seconds for case in cases])
    ms, gib = (
        float(np.exp(_between(np.array([clip]), seconds, [math.log(of(case)) for case in cases]))[0])
        for of in (lambda case: _value(case, latency), _total_gib)
    )
    return ms, gib


def _fastest(ms: dict[str, float], column: str) -> dict[str, object]:
    order: list[str | None] = [*sorted(ms, key=lambda name: ms[name]), None, None]
    first, second = order[:2]
    return {
        column: first,
        f"{column}: ms": ms[first] if first else None,
        f"{column}: next": second,
        f"{column}: margin": ms[second] / ms[first] - 1 if first and second else None,
    }


def _measured(records: Sequence[Record], name: str, of: Quantity) -> list[Record]:
    """Return the records of a mixer that have a figure, by length."""
    return sorted((each for each in records if each.name == name and of(each)), key=lambda each: each.seconds)


def _value(record: Record, of: Quantity) -> float:
    value = of(record)
    assert value is not None
    return value


_QUANTITIES: dict[str, Quantity] = {"latency": latency, "GPU time": gpu_time, "peak memory": memory}
