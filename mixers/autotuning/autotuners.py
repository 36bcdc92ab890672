"""Triton's autotuners in the loaded modules, and the choices that are known to break a kernel."""

import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

from mixers.support.precision import is_full_float32

PACKAGES = ("fla", "mixers.kernels")  # which have autotuned kernels


@functools.lru_cache(maxsize=1)
def known_autotuners(_: int) -> tuple[Any, ...]:
    """Return all autotuners; look again only when the number of loaded modules changes, since it takes milliseconds."""
    return tuple(autotuners())


def autotuners(*packages: str) -> Iterator[Any]:
    """Yield each autotuner in the modules of some packages, by default of all, once.

    Other decorators may surround it.
    """
    inside = tuple(f"{package}." for package in packages or PACKAGES)
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(inside)]
    if not modules:
        return
    from triton.runtime.autotuner import Autotuner, Heuristics

    seen: set[int] = set()
    for module in modules:
        for kernel in list(vars(module).values()):
            while isinstance(kernel, Autotuner | Heuristics) and id(kernel) not in seen:
                seen.add(id(kernel))
                if isinstance(kernel, Autotuner):
                    yield kernel
                kernel = kernel.fn


# Choices that break a kernel, and with it the process. These read beyond their memory in full float32 at 256 a head
# (training with Triton 3.6 on an H200 and an H100; `sbench tune` found it).
_BROKEN: dict[str, Callable[[Any], bool]] = {
    "chunk_gla_bwd_kernel_dv": lambda config: (
        is_full_float32() and config.num_warps == 8 and config.kwargs["BK"] == 32 and config.kwargs["BV"] in (64, 128)
    ),
    "chunk_gsa_fwd_kernel_inter": lambda config: (
        is_full_float32() and config.num_warps == 8 and config.kwargs["BK"] == 64 and config.kwargs["BV"] == 32
    ),
}


def breaks(tuner: Any, config: Any) -> bool:
    """Tell whether a choice is known to break a kernel, and with it the process."""
    return tuner.base_fn.__name__ in _BROKEN and _BROKEN[tuner.base_fn.__name__](config)
