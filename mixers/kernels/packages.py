"""Optional packages with kernels of others: why one cannot run here."""

import importlib.metadata
from collections.abc import Collection

import torch

from mixers.support.extras import DISTRIBUTIONS


def unavailable(extra: str, device_type: str, *, capabilities: Collection[tuple[int, int]]) -> str:
    """Return why a package's kernels cannot run on ``cpu`` or ``cuda``; empty if they can.

    Args:
        extra: The extra of sbench that installs it.
        device_type: ``cpu`` or ``cuda``.
        capabilities: The compute capabilities of the GPUs that it has kernels for.
    """
    distribution = DISTRIBUTIONS[extra]
    reasons = [] if device_type == "cuda" else ["needs a CUDA GPU"]
    if device_type == "cuda" and torch.cuda.is_available() and torch.cuda.get_device_capability() not in capabilities:
        known, here = (" or ".join(map(_dotted, each)) for each in (capabilities, [torch.cuda.get_device_capability()]))
        reasons.append(f"needs compute capability {known}, not {here}")
    if not _is_installed(distribution):
        reasons.append(f"{distribution} is not installed: pip install 'sbench[{extra}]'")
    return "; ".join(reasons)


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
