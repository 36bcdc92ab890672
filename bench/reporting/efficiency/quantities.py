"""What figures and tables show of a record: times, memory, and how far a case is from its floor."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.efficiency.noise import launch_gaps
from bench.efficiency.records import Record

Quantity = Callable[[Record], float | None]


def latency(record: Record) -> float | None:
    """Return the time of a single call, in ms."""
    return record.latency_ms


def gpu_time(record: Record) -> float | None:
    """Return the time of the GPU alone, in ms; None on a CPU, and where no call could be issued ahead."""
    return record.gpu_ms


def best_known_time(record: Record) -> float | None:
    """Return the time of the GPU alone, in ms; that of a single call where the GPU's is not known."""
    return record.latency_ms if record.gpu_ms is None else record.gpu_ms


def time_as_in_paper(record: Record) -> float | None:
    """Return the time as the paper took it, in ms; that of a single call where it was not taken so."""
    return record.latency_ms if record.paper_ms is None else record.paper_ms


def memory(record: Record) -> float | None:
    """Return the peak memory of a call, in GiB."""
    return record.peak_memory_gib


def over_the_floor(record: Record) -> float | None:
    """Return the GPU's time over the least time that any implementation needs at this GPU's rates."""
    return record.gpu_ms / record.floor_ms if record.gpu_ms and record.floor_ms else None


def launch_gaps_of(record: Record) -> float:
    """Return the share of a record's GPU time that gaps between launches explain; 0 where that time is not known."""
    if not record.gpu_ms:
        return 0.0
    # Records before schema version 4 have no clock: their time is of the call as it was executed.
    clock = record.gpu_clock or ("graph" if record.execution == "graph" else "queue")
    return launch_gaps(gpu_clock=clock, gpu_ms=record.gpu_ms)


QUANTITIES: dict[str, Quantity] = {"latency": latency, "GPU time": gpu_time, "peak memory": memory}


def measured(records: Sequence[Record], name: str, quantity: Quantity) -> list[Record]:
    """Return the records of a mixer that have a figure, by length."""
    return sorted((each for each in records if each.name == name and quantity(each)), key=lambda each: each.seconds)


def known(record: Record, quantity: Quantity) -> float:
    """Return a figure that `measured` found to be there."""
    value = quantity(record)
    assert value is not None
    return value


def interpolate(
    lengths: NDArray[np.float64], seconds: NDArray[np.float64], logarithms: Sequence[float]
) -> NDArray[np.float64]:
    """Return logarithms of a figure at some lengths: between those measured, they are straight in log(length)."""
    return np.interp(np.log(lengths), np.log(seconds), logarithms)
