"""What figures and tables show of a record, and which of its times conclusions rest on."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.efficiency.noise import PROCESSES_NEEDED, launch_gaps
from bench.efficiency.records import Record
from bench.reporting.formats import enumeration, span

Quantity = Callable[[Record], float | None]

_IN_WORDS = {5: "five"}

_FAR = 4.0

_CLOCKS = {
    "graph": "replays of a CUDA graph",
    "queue": "calls behind a full launch queue",
    "calls": "single calls",
}


def latency(record: Record) -> float | None:
    """Return the time of a single call, in ms."""
    return record.latency_ms


def gpu_time(record: Record) -> float | None:
    """Return the time of the GPU alone, in ms; None on a CPU, and where no call could be issued ahead."""
    return record.gpu_ms


def paper_time(record: Record) -> float | None:
    """Return the time as the paper took it, in ms; only the preset ``released`` has it."""
    return record.paper_ms


def memory(record: Record) -> float | None:
    """Return the peak memory of a call, in GiB."""
    return record.peak_memory_gib


def over_the_floor(record: Record) -> float | None:
    """Return the GPU's time over the least time that any implementation needs at this GPU's rates."""
    return record.gpu_ms / record.floor_ms if record.gpu_ms and record.floor_ms else None


def launch_gaps_of(record: Record) -> float:
    """Return the share of a record's GPU time that gaps between launches explain; 0 where that time is not known."""
    return launch_gaps(gpu_clock=_gpu_clock(record), gpu_ms=record.gpu_ms) if record.gpu_ms else 0.0


def _gpu_clock(record: Record) -> str:
    """Return how a GPU time was taken. Before schema version 4 it was of the call as it was executed."""
    return record.gpu_clock or ("graph" if record.execution == "graph" else "queue")


def gpu_clocks(records: Sequence[Record]) -> str:
    """Return in words how the GPU's times were taken: ``by replays of a CUDA graph``; some must be known."""
    used = sorted({_gpu_clock(each) for each in records if each.gpu_ms})
    return f"by {enumeration(_CLOCKS.get(each, each) for each in used)}"


LATENCY, GPU_TIME, MEMORY = "latency", "GPU time", "peak memory"


def on_gpu(records: Sequence[Record]) -> bool:
    """Tell whether records are of a GPU."""
    return any(each.device_type == "cuda" for each in records)


def has_gpu_time(records: Sequence[Record]) -> bool:
    """Tell whether the GPU's time is known for any case."""
    return any(each.gpu_ms for each in records)


def main_time(records: Sequence[Record]) -> tuple[str, Quantity]:
    """Return which time a mixer costs, with its label: the GPU's, or on a CPU that of single calls."""
    return (GPU_TIME, gpu_time) if on_gpu(records) else (LATENCY, latency)


def far_above(records: Sequence[Record], quantity: Quantity) -> list[str]:
    """Return the few mixers of a setting beside which the others would be flat lines on a linear axis.

    At the longest length they have over ``_FAR`` times the next lower figure. They are less than half of all.
    """
    ends: dict[str, tuple[float, float]] = {}
    for each in records:
        value = quantity(each) if each.status == "ok" else None
        if value:
            ends[each.name] = max(ends.get(each.name, (0.0, 0.0)), (each.seconds, value))
    rising = sorted(ends, key=lambda name: ends[name][1])
    gaps = (at for at, (low, high) in enumerate(pairwise(rising), 1) if ends[high][1] > _FAR * ends[low][1])
    return next((rising[at:] for at in gaps if at > len(rising) / 2), [])


def refusal(records: Sequence[Record]) -> str:
    """Return why nothing is concluded from single calls, and what helps; empty if enough processes timed them all."""
    timed = [each for each in records if each.latency_ms]
    short = sorted((each for each in timed if each.processes < PROCESSES_NEEDED), key=lambda each: each.processes)
    if not short:
        return ""
    if len(short) == len(timed):
        return (
            f"No conclusion from single calls: they are of {_processes(short)}. `sbench sweep --processes "
            f"{PROCESSES_NEEDED}` times them in {_IN_WORDS.get(PROCESSES_NEEDED, PROCESSES_NEEDED)}."
        )
    others = len(short) - 1
    more = f" {others} more case{' has' if others == 1 else 's have'} too few." if others else ""
    return (
        f"No conclusion from single calls: {short[0].name} at {short[0].seconds:g} s has {_processes(short[:1])} "
        f"instead of {PROCESSES_NEEDED}.{more} `sbench sweep --resume FOLDER` times what is missing of a sweep with "
        f"`--processes {PROCESSES_NEEDED}`."
    )


def _processes(records: Sequence[Record]) -> str:
    """Return by how many processes records are, which rise: ``1 process``, ``3 to 4 processes``."""
    return f"{span([each.processes for each in records], str)} process{'' if records[-1].processes == 1 else 'es'}"


def conclusive_time(records: Sequence[Record]) -> dict[str, Quantity]:
    """Return the time that conclusions rest on, by its label; empty where `refusal` says why there is none.

    It is the GPU's, which does not depend on the host. A CPU has only single calls, which differ between processes.
    """
    label, time = main_time(records)
    return {} if time is latency and refusal(records) else {label: time}


def conclusive(records: Sequence[Record]) -> dict[str, Quantity]:
    """Return every quantity by which mixers may be compared: times with their spread between processes, and memory."""
    calls: dict[str, Quantity] = {} if refusal(records) else {LATENCY: latency}
    return calls | conclusive_time(records) | {MEMORY: memory}


def unconverged(records: Sequence[Record]) -> str:
    """Return how many cases are less precise than the stopping rule asks for; empty if none is."""
    known = [each for each in records if each.status == "ok"]
    count = sum(each.converged is False for each in known)
    verb = "is" if count == 1 else "are"
    return f"{count} of {len(known)} cases {verb} less precise than asked for" if count else ""


def nonconforming(records: Sequence[Record]) -> str:
    """Return which implementations differ from their references, and by how much; empty if none is known to."""
    worst: dict[str, Record] = {}
    for each in records:
        if each.conforms is False:
            worst[each.name] = max(worst.get(each.name, each), each, key=_badness)
    parts = (
        f"{name} ({each.conformity_note or f'error {_conformity_error(each):.2g}'})" for name, each in worst.items()
    )
    return f"differs from its reference: {enumeration(parts)}" if worst else ""


def _badness(record: Record) -> tuple[bool, float]:
    return bool(record.conformity_note), _conformity_error(record)


def _conformity_error(record: Record) -> float:
    return math.inf if record.conformity_error is None else record.conformity_error


def unchecked(records: Sequence[Record]) -> str:
    """Return which implementations could not be compared with their references, and why; empty if all could."""
    notes = {each.name: each.conformity_note for each in records if each.conforms is None and each.conformity_note}
    return f"not checked: {'; '.join(f'{name}: {note}' for name, note in notes.items())}" if notes else ""


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
