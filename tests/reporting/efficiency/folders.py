"""Folders of sweeps with made-up records and samples."""

import dataclasses
import json
import random
from collections.abc import Sequence
from pathlib import Path

from bench.efficiency.records import Record
from bench.efficiency.samples import Samples
from bench.efficiency.store import SWEEP_FILE, append_record, append_samples

ENVIRONMENT = {"device": "NVIDIA H200", "driver": "575.57", "torch": "2.11.0", "host_cores": 16}


def times(
    record: Record, median_ms: float | None, *, seed: int, process: int, spread: float, count: int
) -> list[float]:
    """Made-up times of a case in ms, of which this is the true median; none where there is none."""
    rng = random.Random(f"{record.name}, {record.seconds}, {median_ms}, {process}, {seed}")
    return [] if median_ms is None else [median_ms * rng.gauss(1, spread) for _ in range(count)]


def samples_of(record: Record, *, process: int, spread: float, count: int, seed: int = 0) -> Samples:
    def made_up(median_ms: float | None) -> list[float]:
        return times(record, median_ms, seed=seed, process=process, spread=spread, count=count)

    latency, gpu = made_up(record.latency_ms), made_up(record.gpu_ms) if process == 1 else []
    return Samples(
        name=record.name,
        setting=record.setting,
        seconds=record.seconds,
        process=process,
        latency_ms=latency,
        issue_ms=[0.9 * time for time in latency] if gpu else [],
        gpu_ms=gpu,
    )


def plan_of(records: Sequence[Record]) -> dict[str, object]:
    """Return the plan of a sweep that measures just this."""
    contestants = [
        {"mixer": each.mixer, "implementation": each.implementation, "setting": dataclasses.asdict(each.setting)}
        for each in records
    ]
    seconds = sorted({each.seconds for each in records})
    return {"contestants": contestants, "seconds": seconds, "device_type": "cuda", "seed": 0, "time_budget_s": None}


def write_folder(
    folder: Path,
    *records: Record,
    planned: Sequence[Record] = (),
    environment: object = ENVIRONMENT,
    spread: float = 0.01,
    count: int = 50,
    processes: int = 5,
    seed: int = 0,
) -> Path:
    """Write a sweep's folder: its records, its environment, and for those that are ok samples of several processes.

    Samples with the same median have the same deviations, unless the seed differs.
    """
    folder.mkdir()
    content = {"plan": plan_of(planned or records), "environment": environment}
    (folder / SWEEP_FILE).write_text(json.dumps(content), encoding="utf-8")
    for record in records:
        measured = range(1, processes + 1) if record.status == "ok" and count else ()
        samples = [samples_of(record, process=each, spread=spread, count=count, seed=seed) for each in measured]
        append_record(folder, record, *samples[:1])
        for each in samples[1:]:
            append_samples(folder, each)
    return folder
