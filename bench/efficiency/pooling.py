"""Single calls of several processes as one figure. Imports no torch."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Iterable, Sequence

from bench.efficiency.records import Record
from bench.efficiency.samples import Samples
from bench.efficiency.settings import Case

# The standard error of a median is this times that of a mean, for many normally distributed values.
_OF_A_MEDIAN = math.sqrt(math.pi / 2)


def by_case(samples: Iterable[Samples]) -> dict[Case, list[Samples]]:
    """Return the samples of each case, one entry for each process, in their order."""
    ordered = sorted(samples, key=lambda each: each.process)
    cases: dict[Case, list[Samples]] = {}
    for each in ordered:
        cases.setdefault(each.case, []).append(each)
    return cases


def process_medians(samples: Iterable[Samples]) -> list[float]:
    """Return the median single call of each process that timed some, in ms."""
    return [statistics.median(each.latency_ms) for each in samples if each.latency_ms]


def pooled(records: Sequence[Record], samples: Iterable[Samples]) -> list[Record]:
    """Return the records with the single calls of all processes. A record of one process stays as it is.

    Args:
        records: As the first process of each case wrote them.
        samples: Of all processes.
    """
    cases = by_case(samples)
    return [_pooled(record, cases.get(record.case, [])) for record in records]


def _pooled(record: Record, samples: Sequence[Samples]) -> Record:
    medians = process_medians(samples)
    if len(medians) < 2:
        return record
    times = list(itertools.chain.from_iterable(each.latency_ms for each in samples))
    middle = statistics.median(medians)
    percentiles = statistics.quantiles(times, n=100, method="inclusive")
    return dataclasses.replace(
        record,
        latency_ms=middle,
        latency_ms_mean=statistics.fmean(times),
        latency_ms_p05=percentiles[4],
        latency_ms_p95=percentiles[94],
        samples=len(times),
        processes=len(medians),
        latency_ms_low=min(medians),
        latency_ms_high=max(medians),
        latency_error=_OF_A_MEDIAN * statistics.stdev(medians) / math.sqrt(len(medians)) / middle,
    )
