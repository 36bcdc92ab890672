"""The longest length that fits, found by bisection."""

from hypothesis import given
from hypothesis import strategies as st

from bench.efficiency.fitting import RESOLUTION, longest_fitting


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
