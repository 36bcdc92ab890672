"""What a process must know to measure one contestant."""

from dataclasses import dataclass

from bench.efficiency.inputs import Input
from bench.efficiency.settings import Contestant, Plan


@dataclass(frozen=True, kw_only=True)
class Task:
    """One contestant of a sweep. The lengths to measure are given separately.

    Attributes:
        contestant: What is measured.
        plan: The sweep it belongs to.
        source: Where the sequences come from.
        time_budget_s: Wall time for all lengths; None for no limit.
    """

    contestant: Contestant
    plan: Plan
    source: Input
    time_budget_s: float | None = None
