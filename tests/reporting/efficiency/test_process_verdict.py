import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.reporting.efficiency.process_verdict import judge_processes, ratio_interval

medians = st.lists(st.floats(0.5, 50.0), min_size=1, max_size=9)


@given(medians, medians, st.sampled_from([0.01, 0.05, 0.2]))
def test_the_interval_excludes_1_where_the_exact_test_finds_a_difference(
    before: list[float], after: list[float], alpha: float
) -> None:
    if len({*before, *after}) < len(before) + len(after):
        return  # the exact test is for values without ties
    low, high = ratio_interval(before, after, alpha=alpha)
    p = stats.mannwhitneyu(before, after, method="exact").pvalue
    assert (low > 1 or high < 1) == (p <= alpha + 1e-12)


@given(medians, medians, st.floats(0.1, 10.0))
def test_the_interval_follows_the_unit_and_the_sides(before: list[float], after: list[float], factor: float) -> None:
    low, high = ratio_interval(before, after, alpha=0.05)
    scaled = ratio_interval(before, [factor * time for time in after], alpha=0.05)
    assert scaled == pytest.approx((factor * low, factor * high))
    back_low, back_high = ratio_interval(after, before, alpha=0.05)
    assert (1 / back_high if back_high < math.inf else 0.0) == pytest.approx(low)
    assert (1 / back_low if back_low else math.inf) == pytest.approx(high)


@pytest.mark.parametrize("spread", [0.02, 0.3])
def test_five_equal_processes_are_called_different_in_at_most_one_case_of_twenty(spread: float) -> None:
    """Processes differ by a spread, and some are twice as slow, in two sweeps of the same code."""
    rng = random.Random(f"process effects {spread}")

    def sweep() -> list[float]:
        return [math.exp(rng.gauss(0, spread)) * rng.choice((1.0, 2.0)) for _ in range(5)]

    verdicts = [judge_processes(sweep(), sweep()).verdict for _ in range(2000)]
    assert sum(each in ("faster", "slower") for each in verdicts) <= 0.05 * len(verdicts)


def test_a_difference_beyond_all_processes_is_found() -> None:
    before = [1.0, 1.1, 1.2, 1.3, 1.4]
    for factor, verdict in ((1.5, "slower"), (1 / 1.5, "faster"), (1.0, "noisy")):
        assert judge_processes(before, [factor * time for time in before]).verdict == verdict
    assert judge_processes([1.0] * 5, [1.004] * 5).verdict == "no difference"
    assert judge_processes([1.0] * 5, [1.02] * 5).verdict == "slower"


def test_too_few_processes_say_nothing() -> None:
    for before, after in itertools.product(range(1, 4), repeat=2):
        assert judge_processes([1.0] * before, [9.0] * after).verdict == "noisy"


@pytest.mark.parametrize(("before", "after"), [([], [1.0]), ([1.0], []), ([0.0], [1.0]), ([1.0], [math.inf])])
def test_what_is_no_time_is_refused(before: list[float], after: list[float]) -> None:
    with pytest.raises(ValueError, match="needs a process"):
        judge_processes(before, after)
