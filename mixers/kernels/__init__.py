"""Triton kernels for what the libraries compute slowly, or not at all, at the sizes measured here.

Our own are in a folder for each mixer. `mixers.kernels.fla` has flash-linear-attention's layers. Importing this package
imports no triton.
"""

import functools
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import torch

from mixers.autotuning import use_prepared_configurations

WIDEST = 256  # width of a head

_OLDEST_GPU = (8, 0)  # compute capability; older GPUs have neither bfloat16 nor TF32

_OPERATORS = {"fox": "forgetting_attention", "lightnet": "additive_decay"}


def unavailable(device_type: str) -> str:
    """Return why our kernels cannot run on ``cpu`` or ``cuda``; empty if they can."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if device_type != "cuda":
        return "needs a CUDA GPU"
    capability = torch.cuda.get_device_capability() if torch.cuda.is_available() else _OLDEST_GPU
    return "" if capability >= _OLDEST_GPU else f"needs compute capability 8.0, not {'.'.join(map(str, capability))}"


@functools.cache
def operator(mixer: str) -> Callable[..., Any]:
    """Return the operator of ``fox`` or ``lightnet``, with the configurations prepared for this GPU in use."""
    function: Callable[..., Any] = getattr(
        importlib.import_module(f"mixers.kernels.{mixer}.operator"), _OPERATORS[mixer]
    )
    use_prepared_configurations("mixers.kernels")
    return function
