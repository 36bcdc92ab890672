"""What did not fit, and what would have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.efficiency.fitting import RESOLUTION, longest_fitting, requested_gib


@pytest.mark.parametrize(
    ("message", "gib"),
    [
        ("CUDA out of memory. Tried to allocate 11.92 GiB. GPU 0 has a total capacity of 139.81 GiB of which", 11.92),
        ("CUDA out of memory. Tried to allocate 512.00 MiB. GPU", 0.5),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4294967296 bytes. Error code 12", 4.0),
        ("the encoder ran out of memory", None),
    ],
)
def test_what_was_asked_for(message: str, gib: float | None) -> None:
    assert requested_gib(message) == gib


@given(st.floats(0, 1), st.floats(1, 1e4), st.floats(0, 1))
def test_bisection(low_share: float, high: float, limit_share: float) -> None:
    low = low_share * high * 0.999
    limit = low + limit_share * (high - low) * 0.999
    tried: list[float] = []

    def fits(length: float) -> bool:
        tried.append(length)
        return length <= limit

    found = longest_fitting(fits, low=low, high=high)
    assert found <= limit
    assert limit - found <= max(2 * RESOLUTION * limit, 0.02)
    assert all(low < length < high for length in tried)
    assert len(tried) <= 20
