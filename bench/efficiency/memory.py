"""Peak memory of one call above what was allocated at entry, from the books of the allocator that gave it out.

A pass of its own: a kernel library's autotuner allocates buffers in its first call, which are not the mixer's.
"""

from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

GIB = 2**30

SOURCES = {"cuda": "CUDA caching allocator", "cpu": "CPU allocator, through PyTorch's profiler"}


def peak_memory_gib(call: Callable[[], object], *, device_type: str) -> float:
    """Return the peak of what one call allocates, its result included, in GiB.

    Args:
        call: What is measured; it must have been warmed up.
        device_type: ``cuda`` or ``cpu``.
    """
    return (_peak_on_gpu(call) if device_type == "cuda" else _peak_on_cpu(call)) / GIB


def _peak_on_gpu(call: Callable[[], object]) -> int:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _peak_on_cpu(call: Callable[[], object]) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        call()
    assert profiled.profiler is not None
    results = profiled.profiler.kineto_results
    assert results is not None
    events = [(event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]"]
    allocated = peak = 0
    for _, size in sorted(events, key=lambda event: event[0]):
        allocated += size
        peak = max(peak, allocated)
    return peak
