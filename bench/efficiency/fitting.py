"""The longest sequence that fits in memory, after one did not."""

from collections.abc import Callable

RESOLUTION = 0.005  # of the length that is found
_FRAME_S = 0.02  # a shorter difference is no difference


def longest_fitting(fits: Callable[[float], bool], *, low: float, high: float) -> float:
    """Return the longest length that fits, by bisection, to within half a per cent or one frame.

    Args:
        fits: Whether a length in seconds fits. If a length fits, every shorter one fits.
        low: A length that fits, or 0.
        high: A length that does not fit.
    """
    while high - low > max(RESOLUTION * high, _FRAME_S):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
