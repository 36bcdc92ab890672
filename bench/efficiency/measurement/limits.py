"""The limits of this GPU: the best rates of a large matrix product and of a large copy."""

import dataclasses
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.efficiency.measurement.latency import timing_events
from bench.files import write_atomically
from bench.validation import STRICT, parse
from mixers.support.precision import DTYPES

# Large enough to fill the pipelines of tensor cores and memory, and to make the launch count for less than 1 %: an H100
# takes 1.4 ms in bfloat16, and 0.7 ms. A copy of a quarter of this gave 2.84 and 2.91 TB/s in two sweeps.
_MATRIX = 8192
_COPIED_BYTES = 2**30

# A card reaches its power cap within a tenth of a second of matrix products, and is then up to 7 % slower. In three
# processes on an H100 the first 0.05 s on a rested card took 1.40 to 1.42 ms a product, and later ones 1.44 to 1.50 ms.
# So the rate is the best of short bursts, each after a pause. In one of three sweeps five bursts were not enough: all
# were 4 % slower, after the contestants had warmed up side by side. So bursts go on until the best one stands.
_PATIENCE = 5  # bursts in a row that are not faster than the best one by more than `_FASTER`
_FASTER = 0.002
_MOST_BURSTS = 25
_RUNS = 8  # in a burst
_WARM_UP = 2
_PAUSE_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Rates of a GPU.

    Attributes:
        tflops: Of a matrix product, in 10^12 floating-point operations a second.
        tb_s: Of a copy, in 10^12 bytes read and written a second.
    """

    __pydantic_config__ = STRICT

    tflops: float
    tb_s: float

    def floor_ms(self, *, flops: int, minimum_bytes: int) -> float:
        """Return the least time for this arithmetic or these bytes, whichever takes longer."""
        return 1e3 * max(flops / self.tflops, minimum_bytes / self.tb_s) / 1e12


def limits_of_sweep(precision: str, folder: Path) -> Limits:
    """Return the limits that all cases of a sweep in this precision share; the first process that asks measures them.

    Args:
        precision: As for a case, and in force.
        folder: Where the processes of the sweep keep them. One process at a time measures.
    """
    path = folder / f"limits-{precision}.json"
    if not path.exists():
        write_atomically(path, json.dumps(dataclasses.asdict(measure_limits(precision))).encode())
    return parse(Limits, path.read_bytes())


def measure_limits(precision: str) -> Limits:
    """Measure the current GPU, which must have nothing else to do.

    Args:
        precision: As for a case, and in force. ``native`` is measured in TF32, the faster of what the libraries use.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "native" else before)
    try:
        limits = Limits(tflops=_product_tflops(precision), tb_s=_copy_tb_s())
    finally:
        torch.set_float32_matmul_precision(before)
        torch.cuda.empty_cache()  # otherwise it would count as reserved by the next case
    return limits


def _product_tflops(precision: str) -> float:
    if precision == "float32":  # or six products of bfloat16 on tensor cores, as Triton multiplies
        return max(_tflops(torch.float32, size=_MATRIX // 2), _tflops(torch.bfloat16, size=_MATRIX) / 6)
    return _tflops(DTYPES[precision], size=_MATRIX)


def _tflops(dtype: torch.dtype, *, size: int) -> float:
    left, right = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
    return 2 * size**3 / _best_s(lambda: left @ right) / 1e12


def _copy_tb_s() -> float:
    source, target = (torch.empty(_COPIED_BYTES, dtype=torch.uint8, device="cuda") for _ in range(2))
    return 2 * _COPIED_BYTES / _best_s(lambda: target.copy_(source)) / 1e12


def _best_s(call: Callable[[], object]) -> float:
    """Return the time of a call in the fastest burst, the median of each."""
    best, waited = math.inf, 0
    for _ in range(_MOST_BURSTS):
        torch.cuda.synchronize()
        time.sleep(_PAUSE_S)
        times: list[float] = []
        for run in range(_WARM_UP + _RUNS):
            start, end = timing_events()
            start.record()
            call()
            end.record()
            end.synchronize()
            if run >= _WARM_UP:
                times.append(start.elapsed_time(end) / 1e3)
        burst = statistics.median(times)
        waited = 0 if burst < (1 - _FASTER) * best else waited + 1
        best = min(best, burst)
        if waited == _PATIENCE:
            break
    return best
