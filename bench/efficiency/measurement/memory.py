"""Memory of one call, by kind, as the allocator counts it.

It is measured in a call of its own, after the first: there an autotuner allocates buffers that are not the mixer's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.profiler import profile  # torch.profiler would import PyTorch's compiler, which takes seconds

GIB = 2**30

SOURCES = {"cuda": "CUDA caching allocator", "cpu": "CPU allocator, through PyTorch's profiler"}


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory of one call, in bytes.

    Attributes:
        weights: Parameters and buffers of the model.
        input: The features.
        peak: Peak of what the call allocates, its result included, above what was allocated before it.
        reserved: Peak of what the caching allocator held, fragments included; None on a CPU, which has none.
    """

    weights: int
    input: int
    peak: int
    reserved: int | None


def measure_memory(call: Callable[[], object], *, model: nn.Module, x: Tensor, device_type: str) -> Memory:
    """Measure the memory of one call.

    Args:
        call: What is measured; it must have been warmed up.
        model: The model that it calls.
        x: The input of the model.
        device_type: ``cuda`` or ``cpu``.
    """
    tensors = (*model.parameters(), *model.buffers())
    return Memory(
        weights=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        input=x.numel() * x.element_size(),
        peak=peak_bytes(call, device_type=device_type),
        reserved=torch.cuda.max_memory_reserved() if device_type == "cuda" else None,
    )


def peak_bytes(call: Callable[[], object], *, device_type: str) -> int:
    """Return the peak of what one call allocates, its result included, above what was allocated before it.

    Args:
        call: What is measured; it must have been warmed up.
        device_type: ``cuda`` or ``cpu``.
    """
    return _peak_on_gpu(call) if device_type == "cuda" else _peak_on_cpu(call)


def _peak_on_gpu(call: Callable[[], object]) -> int:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _peak_on_cpu(call: Callable[[], object]) -> int:
    with profile(profile_memory=True) as profiled:
        call()
    results = profiled.kineto_results
    assert results is not None
    events = [(event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]"]
    allocated = peak = 0
    for _, size in sorted(events, key=lambda event: event[0]):
        allocated += size
        peak = max(peak, allocated)
    return peak
