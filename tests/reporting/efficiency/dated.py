"""Folders of sweeps with a date, whose cases have these times."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.efficiency.samples import Samples
from bench.efficiency.settings import Contestant, Plan
from bench.efficiency.store import Header, append_record, start
from tests.reporting.efficiency.conftest import make_up_record

TimesOf = Mapping[tuple[str, float], Sequence[float]]


def made_up_times(names: Sequence[str], lengths: Sequence[float]) -> dict[tuple[str, float], list[float]]:
    """Return 30 GPU times around 5 to 20 ms for each case, which vary by about 1 %."""
    chance = random.Random(0)
    return {
        (name, seconds): [(5 + seconds / 25) * chance.gauss(1, 0.01) for _ in range(30)]
        for name in names
        for seconds in lengths
    }


def write_dated(folder: Path, times: TimesOf, *, day: int, source: str = "abc", **fields: Any) -> Path:
    """Write a sweep of a day of January 2026. A case without times ran out of memory."""
    records = {
        case: make_up_record(
            *case,
            gpu_ms=sorted(each)[len(each) // 2] if each else None,
            gpu_clock="graph",
            status="ok" if each else "oom",
            started_at=f"2026-01-{day:02}T03:04:05+00:00",
            **fields,
        )
        for case, each in times.items()
    }
    some = list(records.values())
    plan = Plan(
        contestants=tuple(
            Contestant(mixer=each.mixer, implementation=each.implementation, setting=each.setting)
            for each in {each.name: each for each in some}.values()
        ),
        seconds=tuple(sorted({each.seconds for each in some})),
        device_type="cuda",
        seed=0,
        time_budget_s=None,
    )
    start(Header(plan=plan, environment={"device": some[0].device, "source": source}), folder)
    for case, record in records.items():
        samples = Samples(
            name=record.name, setting=record.setting, seconds=record.seconds, latency_ms=[], gpu_ms=list(times[case])
        )
        append_record(folder, record, samples if times[case] else None)
    return folder
