"""What a process must know to measure one contestant."""

from dataclasses import dataclass
from pathlib import Path

from bench.efficiency.inputs import Input
from bench.efficiency.settings import Contestant, Plan
from bench.efficiency.waveforms import Waveforms

Source = Input | Waveforms


@dataclass(frozen=True, kw_only=True)
class Task:
    """One contestant of a sweep. The lengths to measure are given separately.

    Attributes:
        contestant: What is measured.
        plan: The sweep it belongs to.
        source: Where the sequences come from; for an encoder, the waveforms.
        shared: A folder of the sweep's, where its processes leave what others need.
        process: Which process of the contestant it is for, from 1. The first one measures everything, the others only
            single calls.
        time_budget_s: Wall time for all lengths; None for no limit.
    """

    contestant: Contestant
    plan: Plan
    source: Source
    shared: Path
    process: int = 1
    time_budget_s: float | None = None
