"""What records mean for the choice of a mixer: cost, growth, floors, what fits. Pure functions of records.

Each function takes the records of one setting and returns a table with a row for each finding.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from bench.efficiency.records import Record
from bench.reporting.efficiency.overview import names_of
from bench.reporting.efficiency.quantities import (
    QUANTITIES,
    interpolate,
    known,
    latency,
    measured,
    memory,
    over_the_floor,
)

GROWTH_FROM_S = 100.0  # at shorter lengths, launch overhead sets the time of most mixers
CONFIDENCE = 0.95

CARDS_GIB = (8, 16, 24, 40, 80)

# Taken from each card for the driver and the context of one process. On an H200 the process of KDA takes 0.66 GiB more
# than its allocator holds (process_gib and reserved_gib at 400 s, reports/nvidia-h200/bfloat16). The driver takes about
# as much.
CONTEXT_GIB = 1.3

CLIPS_S = (5.0, 10.0, 30.0, 60.0, 300.0)
MEMORY_LIMIT_GIB = 1.0


def costs(records: Sequence[Record]) -> pd.DataFrame:
    """Return what each mixer costs at the longest length at which it was measured.

    ``MB per s`` is what one more second of audio adds to the peak there. The real-time factor is the time of a call
    over the length of its audio.
    """
    rows = []
    for name in names_of(records):
        cases = measured(records, name, memory)
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

    The interval is Student's. It is wide where the curve is no power of the length.
    """
    rows = []
    for name, (label, quantity) in itertools.product(names_of(records), QUANTITIES.items()):
        cases = [case for case in measured(records, name, quantity) if case.seconds >= GROWTH_FROM_S]
        if len(cases) < 3:
            continue
        fit = stats.linregress(
            [math.log(case.seconds) for case in cases], [math.log(known(case, quantity)) for case in cases]
        )
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(cases) - 2)) * fit.stderr
        rows.append(
            {
                "mixer": name,
                "quantity": label,
                "exponent": fit.slope,
                "low": fit.slope - half,
                "high": fit.slope + half,
                "from (s)": cases[0].seconds,
                "to (s)": cases[-1].seconds,
            }
        )
    return pd.DataFrame(rows)


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

    Memory is a polynomial of the length with a square term, fitted to all lengths measured. Longer lengths are
    extrapolated.
    """
    rows = []
    for name in names_of(records):
        cases = measured(records, name, memory)
        if len(cases) >= 3:
            fitted = {f"{card} GiB": _longest_fitting(cases, card - CONTEXT_GIB) for card in CARDS_GIB}
            rows.append({"mixer": name, "measured up to (s)": cases[-1].seconds, **fitted})
    return pd.DataFrame(rows)


def _longest_fitting(cases: Sequence[Record], gib: float) -> float:
    """Return the length in seconds at which the memory of a call is used up."""
    seconds = np.array([case.seconds for case in cases])
    total = np.array([_total_gib(case) for case in cases])
    # Each length has the same weight. A square term that is only rounding is left out.
    square, slope, constant = np.polyfit(seconds, total, 2, w=1 / total)
    if square * seconds[-1] < 0.01 * slope:
        square = 0.0
        slope, constant = np.polyfit(seconds, total, 1, w=1 / total)
    roots = np.roots([square, slope, constant - gib] if square else [slope, constant - gib])
    positive = [float(root.real) for root in roots if abs(root.imag) < 1e-9 and root.real > 0]
    return min(positive, default=0.0)


def _total_gib(case: Record) -> float:
    return known(case, memory) + (case.weights_gib or 0) + (case.input_gib or 0)


def choices(records: Sequence[Record], *, limit_gib: float = MEMORY_LIMIT_GIB) -> pd.DataFrame:
    """Return the mixer with the lowest latency for clips of several lengths, and the lowest within a memory limit.

    The margin is how much longer the second one takes. Between the lengths measured, curves are straight in logarithms.

    Args:
        records: Of one setting.
        limit_gib: For weights, input and peak together.
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
    """Return latency in ms and memory in GiB at a length; None outside the lengths measured."""
    cases = measured(records, name, memory)
    if not cases or not cases[0].seconds <= clip <= cases[-1].seconds:
        return None
    seconds = np.array([case.seconds for case in cases])
    curves = ([known(case, latency) for case in cases], [_total_gib(case) for case in cases])
    ms, gib = (
        float(np.exp(interpolate(np.array([clip]), seconds, [math.log(value) for value in curve]))[0])
        for curve in curves
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
