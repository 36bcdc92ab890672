"""What did not fit in memory: how much was asked for, and what the longest sequence is that fits."""

import re
from collections.abc import Callable

RESOLUTION = 0.005  # of the length that is found
_FRAME_S = 0.02  # below which there is nothing to find

# As PyTorch words it: "Tried to allocate 11.92 GiB" of a GPU, "you tried to allocate 12800000000 bytes" of a host.
_ASKED = re.compile(r"tried to allocate ([\d.]+) (bytes|KiB|MiB|GiB)", re.IGNORECASE)
_UNITS = {"bytes": 2**-30, "KiB": 2**-20, "MiB": 2**-10, "GiB": 1.0}


def requested_gib(message: str) -> float | None:
    """Return the allocation that failed, in GiB, from PyTorch's message; None where it does not say."""
    found = _ASKED.search(message)
    return float(found[1]) * _UNITS[found[2]] if found else None


def longest_fitting(fits: Callable[[float], bool], *, low: float, high: float) -> float:
    """Return the longest length that fits, by bisection, to within half a per cent or one frame.

    Args:
        fits: Whether a length in seconds fits; a length fits if a longer one does.
        low: A length that fits, or 0.
        high: A length that does not.
    """
    while high - low > max(RESOLUTION * high, _FRAME_S):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
