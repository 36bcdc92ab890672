"""Made-up records for the page: a case that ran out of memory, and one that did not converge."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.efficiency.records import Record
from bench.reporting.efficiency.history import History, read
from tests.reporting.efficiency.conftest import COSTS, LENGTHS, gpu_times, make_up_record
from tests.reporting.efficiency.dated import made_up_times, write_dated

TABLE = Path(__file__).parents[3] / "reports" / "nvidia-h100" / "ravdess" / "table"
LONG = TABLE.parents[1] / "lengths"


def make_up(name: str, seconds: float) -> Record:
    if (name, seconds) == ("sa/eager", 400.0):
        return make_up_record(name, seconds, status="oom", error="CUDA out of memory")
    fields = gpu_times(name, seconds) | {"gpu_clock": "graph", "gpu_error": 0.001, "processes": 5}
    return make_up_record(name, seconds, **fields, converged=(name, seconds) != ("kda/fla", 100.0))


@pytest.fixture(scope="session")
def records() -> Sequence[Record]:
    return [make_up(name, seconds) for name in COSTS for seconds in LENGTHS]


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Return three sweeps, of which the second one made kda/fla slower."""
    times = made_up_times(("sa/sdpa", "kda/fla"), (100.0, 400.0))
    slower = {case: [1.5 * time for time in each] if case[0] == "kda/fla" else each for case, each in times.items()}
    place = tmp_path_factory.mktemp("sweeps")
    days = enumerate((times, slower, slower), start=1)
    return read([write_dated(place / f"day-{day}", each, day=day) for day, each in days])
