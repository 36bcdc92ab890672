"""The raw samples behind a record, and what measuring one case gives. Imports no torch."""

import dataclasses
from dataclasses import dataclass

from bench.efficiency.records import Record
from bench.efficiency.settings import Case, Setting
from bench.validation import STRICT


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The raw samples of one case, each series in the order in which it was taken.

    Attributes:
        name: Mixer and implementation: ``sa/sdpa``.
        setting: The value of the case on each axis.
        seconds: Length of the audio.
        process: Which process took them, counted from 1. The first one measures everything, the others single calls.
        latency_ms: Times of single calls.
        issue_ms: The time the host took to issue each single call; empty on a CPU.
        gpu_ms: Times of the GPU alone; empty on a CPU, and in all processes but the first.
    """

    __pydantic_config__ = STRICT

    name: str
    setting: Setting
    seconds: float
    process: int = 1
    latency_ms: list[float]
    issue_ms: list[float] = dataclasses.field(default_factory=list)
    gpu_ms: list[float] = dataclasses.field(default_factory=list)

    @property
    def case(self) -> Case:
        """The case, which identifies the record of these samples."""
        return Case(name=self.name, setting=self.setting, seconds=self.seconds)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What measuring one case gave: its record, and the samples behind it where there are any."""

    record: Record
    samples: Samples | None = None
