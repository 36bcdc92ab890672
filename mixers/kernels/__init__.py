"""Our own Triton kernels, for what the libraries compute slowly, or not at all, at the sizes measured here.

Importing this package imports no triton; what it hands out comes with the configurations prepared for this GPU.
"""

import functools
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import torch

from mixers.autotuning import use_prepared_configurations

WIDEST = 256  # head

_OLDEST_GPU = (8, 0)  # compute capability: before it, no bfloat16 and no TF32


def unavailable(device_type: str) -> str:
    """Return why the kernels cannot run on ``cpu`` or ``cuda``; empty if they can."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if device_type != "cuda":
        return "needs a CUDA GPU"
    capability = torch.cuda.get_device_capability() if torch.cuda.is_available() else _OLDEST_GPU
    return "" if capability >= _OLDEST_GPU else f"needs compute capability 8.0, not {'.'.join(map(str, capability))}"


@functools.cache
def operator(name: str) -> Callable[..., Any]:
    """Return a mixer's operator on its kernels: that of ``fox`` or ``lightnet``."""
    function: Callable[..., Any] = importlib.import_module(f"mixers.kernels.{name}.operator").operator
    use_prepared_configurations("mixers.kernels")
    return function
