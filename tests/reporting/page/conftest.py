"""Made-up records for the page: a case that ran out of memory, and one that did not converge."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.efficiency.records import Record
from tests.reporting.efficiency.conftest import COSTS, LENGTHS, gpu_times, make_up_record

TABLE = Path(__file__).parents[3] / "reports" / "nvidia-h100" / "ravdess" / "table"


def make_up(name: str, seconds: float) -> Record:
    if (name, seconds) == ("sa/eager", 400.0):
        return make_up_record(name, seconds, status="oom", error="CUDA out of memory")
    fields = gpu_times(name, seconds) | {"gpu_clock": "graph", "gpu_error": 0.001, "processes": 5}
    return make_up_record(name, seconds, **fields, converged=(name, seconds) != ("kda/fla", 100.0))


@pytest.fixture(scope="session")
def records() -> Sequence[Record]:
    return [make_up(name, seconds) for name in COSTS for seconds in LENGTHS]
