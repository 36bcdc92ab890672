"""Made-up records: their figures grow with the length about as those of one H200 in bfloat16 did."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench.efficiency.records import Record
from tests.reporting.efficiency.folders import write_folder

LENGTHS = (10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0)

# For each name: ms of overhead, per 100 s and per (100 s) squared; GiB per 100 s and per (100 s) squared.
COSTS = {
    "sa/eager": (0.5, 0.4, 1.25, 0.03, 0.375),
    "sa/sdpa": (0.4, 0.15, 0.14, 0.05, 0.0),
    "retnet/fla": (1.9, 0.16, 0.0, 0.135, 0.0),
    "lightnet/fla": (1.8, 0.9, 0.0, 0.12, 0.0),
    "gsa/fla": (2.0, 0.5, 0.0, 0.2, 0.0),
    "fox/flex": (0.7, 0.35, 0.78, 0.085, 0.0),
    "kda/fla": (2.4, 0.45, 0.0, 0.155, 0.0),
}

MakeRecord = Callable[..., Record]
WriteSweep = Callable[..., Path]


def make_up_record(name: str = "sa/eager", seconds: float = 10.0, **changes: object) -> Record:
    """Return the record of one case; ``changes`` replace fields, and a status other than ok takes the figures away."""
    mixer, implementation = name.split("/")
    overhead, linear, square, linear_gib, square_gib = COSTS.get(name, COSTS["kda/fla"])
    length = seconds / 100
    latency = overhead + linear * length + square * length**2
    measured = changes.get("status", "ok") == "ok"
    fields: dict[str, object] = {
        "mixer": mixer,
        "implementation": implementation,
        "preset": "matched",
        "precision": "bfloat16",
        "execution": "eager",
        "pass_": "inference",
        "seconds": seconds,
        "frames": int(seconds * 50) - 1,
        "batch": 1,
        "parameters": 20_020_000,
        "status": "ok",
        "latency_ms": latency if measured else None,
        "latency_ms_mean": 1.01 * latency if measured else None,
        "latency_ms_p05": 0.97 * latency if measured else None,
        "latency_ms_p95": 1.06 * latency if measured else None,
        "samples": 120 if measured else 0,
        "peak_memory_gib": linear_gib * length + square_gib * length**2 if measured else None,
        "error": "",
        "causal": mixer != "sa",
        "flops": 1_234_567_890_123,
        "minimum_bytes": 44_040_192,
        "input": "random features",
        "seed": 0,
        "device": "NVIDIA H200",
        "device_type": "cuda",
        "memory_source": "torch.cuda",
        "sbench": "0.1.0",
        "torch": "2.11.0+cu130",
        "triton": "3.6.0",
        "fla": "0.6.0",
        "started_at": "2026-01-02T03:04:05+00:00",
        "wall_s": 12.5,
    }
    return Record(**(fields | changes))  # type: ignore[arg-type]


def gpu_times(name: str, seconds: float) -> dict[str, object]:
    """Return the fields of a case that only a GPU gives: the host takes the overhead, the GPU what grows."""
    overhead, linear, square, *_ = COSTS[name]
    length = seconds / 100
    gpu = 0.1 + linear * length + square * length**2
    return {"gpu_ms": gpu, "gpu_samples": 80, "host_ms": overhead, "launch_bound": overhead > gpu}


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    return make_up_record


@pytest.fixture(scope="session")
def sweep() -> Sequence[Record]:
    """Return a whole sweep on a GPU in the order in which it runs: all lengths of one mixer after the other."""
    return [make_up_record(name, seconds) for name in COSTS for seconds in LENGTHS]


@pytest.fixture(scope="session")
def gpu_sweep() -> Sequence[Record]:
    """Return the same sweep with the GPU's own times: sa/eager is launch-bound up to 25 s, kda/fla throughout."""
    return [make_up_record(name, seconds, **gpu_times(name, seconds)) for name in COSTS for seconds in LENGTHS]


@pytest.fixture
def write_sweep(tmp_path: Path) -> WriteSweep:
    """Write a sweep's folder of this name, as `write_folder` does."""
    return lambda name, *records, **options: write_folder(tmp_path / name, *records, **options)
