"""What records say of each mixer alone: cost, growth, floors, what fits. Pure functions of records.

Each function takes the records of one setting and returns a table with a row for each finding.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from bench.efficiency.records import Record
from bench.reporting.efficiency.allowances import CONFIDENCE
from bench.reporting.efficiency.overview import names_of
from bench.reporting.efficiency.quantities import (
    MEMORY,
    Quantity,
    conclusive_time,
    known,
    main_time,
    measured,
    memory,
    over_the_floor,
)
from bench.reporting.formats import yes_or_no

GROWTH_FROM_S = 100.0  # at shorter lengths, launch overhead sets the time of most mixers

CARDS_GIB = (8, 16, 24, 40, 80)

# Taken from each card for the driver and the context of one process. On an H200 the process of KDA takes 0.66 GiB more
# than its allocator holds (process_gib and reserved_gib at 400 s, reports/nvidia-h200/bfloat16). The driver takes about
# as much.
CONTEXT_GIB = 1.3


def costs(records: Sequence[Record]) -> pd.DataFrame:
    """Return what each mixer costs at the longest length at which it was measured.

    ``MB per s`` is what one more second of audio adds to the peak there. The real-time factor is the GPU's time of a
    call over the length of its audio; on a CPU it is that of a single call. Latency is the median of all processes that
    timed single calls, with the lowest and highest median of one.
    """
    _, time = main_time(records)
    rows = []
    for name in names_of(records):
        cases = measured(records, name, memory)
        if not cases:
            continue
        longest = cases[-1]
        ms = time(longest)
        rows.append(
            {
                "mixer": name,
                "parameters (M)": round((longest.parameters or 0) / 1e6, 2),
                "seconds": longest.seconds,
                "GPU time (ms)": longest.gpu_ms,
                "real-time factor": ms / 1e3 / (longest.seconds * longest.batch) if ms else None,
                "converged": yes_or_no(longest.converged),
                "conforms": yes_or_no(longest.conforms),
                "latency (ms)": longest.latency_ms,
                "lowest (ms)": longest.latency_ms_low,
                "highest (ms)": longest.latency_ms_high,
                "processes": longest.processes,
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
    """Return the power of the length with which time and memory grow, from 100 s on. The time is the conclusive one."""
    quantities = conclusive_time(records) | {MEMORY: memory}
    rows = []
    for name, (label, quantity) in itertools.product(names_of(records), quantities.items()):
        fitted = growth_of(records, name, quantity)
        if fitted:
            rows.append(
                {
                    "mixer": name,
                    "quantity": label,
                    "exponent": fitted.exponent,
                    "low": fitted.low,
                    "high": fitted.high,
                    "from (s)": fitted.from_s,
                    "to (s)": fitted.to_s,
                }
            )
    return pd.DataFrame(rows)


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The power of the length with which a quantity grows, with its interval, and the lengths it was fitted to."""

    exponent: float
    low: float
    high: float
    from_s: float
    to_s: float


def growth_of(records: Sequence[Record], name: str, quantity: Quantity) -> Growth | None:
    """Fit a power by least squares on logarithms; None with less than three lengths from 100 s on.

    The interval is Student's. It is wide where the curve is no power of the length.
    """
    cases = [case for case in measured(records, name, quantity) if case.seconds >= GROWTH_FROM_S]
    if len(cases) < 3:
        return None
    fit = stats.linregress(
        [math.log(case.seconds) for case in cases], [math.log(known(case, quantity)) for case in cases]
    )
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(cases) - 2)) * float(fit.stderr)
    exponent = float(fit.slope)
    return Growth(
        exponent=exponent,
        low=exponent - half,
        high=exponent + half,
        from_s=cases[0].seconds,
        to_s=cases[-1].seconds,
    )


def floors(records: Sequence[Record]) -> pd.DataFrame:
    """Return how far each case is from its floor."""
    rows = [
        {
            "mixer": record.name,
            "seconds": record.seconds,
            "GPU time (ms)": record.gpu_ms,
            "floor (ms)": record.floor_ms,
            "ratio": ratio,
            "converged": yes_or_no(record.converged),
        }
        for record in records
        if (ratio := over_the_floor(record))
    ]
    return pd.DataFrame(rows)


def capacities(records: Sequence[Record]) -> pd.DataFrame:
    """Return the longest audio, in seconds, that fits on cards of several sizes beside CUDA itself and the weights.

    Memory is a polynomial of the length with a square term, fitted to all lengths measured. Longer lengths are
    extrapolated.
    """
    rows = []
    for name in names_of(records):
        cases = measured(records, name, memory)
        if len(cases) >= 3:
            seconds, total = (np.array([of(case) for case in cases]) for of in (lambda case: case.seconds, total_gib))
            fitted = {f"{card} GiB": longest_fitting(seconds, total, card - CONTEXT_GIB) for card in CARDS_GIB}
            rows.append({"mixer": name, "measured up to (s)": cases[-1].seconds, **fitted})
    return pd.DataFrame(rows)


def longest_fitting(seconds: NDArray[np.float64], total: NDArray[np.float64], gib: float) -> float:
    """Return the length in seconds at which this memory is used up, from the memory in GiB at each of some lengths."""
    # Each length has the same weight. A square term that is only rounding is left out, or one of only two lengths.
    degree = min(2, len(seconds) - 1)
    square, slope, constant = np.pad(np.polyfit(seconds, total, degree, w=1 / total), (2 - degree, 0))
    if square * seconds[-1] < 0.01 * slope:
        square = 0.0
        slope, constant = np.polyfit(seconds, total, 1, w=1 / total)
    if not square and slope <= 0:
        return math.inf if constant <= gib else 0.0
    roots = np.roots([square, slope, constant - gib] if square else [slope, constant - gib])
    positive = [float(root.real) for root in roots if abs(root.imag) < 1e-9 and root.real > 0]
    return min(positive, default=0.0)


def total_gib(case: Record) -> float:
    """Return the memory of weights, input and peak together."""
    return known(case, memory) + (case.weights_gib or 0) + (case.input_gib or 0)
