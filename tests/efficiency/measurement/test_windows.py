"""A window in which anything else happened is void, counted, and taken again."""

import gc
import itertools
from collections.abc import Callable

import pytest

from bench.efficiency.measurement.criterion import Criterion
from bench.efficiency.measurement.windows import Events, Window, collect
from tests.efficiency.measurement.conftest import Clock

# Its cap is reached at once.
TWENTY = Criterion(relative_error=0.005, fewest_samples=20, minimum_seconds=0.0, maximum_seconds=0.0)


def windows_of_five(disturb: Callable[[int], int]) -> Callable[[], Window]:
    """Samples 0.5, 1.5, ...; the disturbance sees the window's number and says how many of five are left out."""
    taken = 0

    def take() -> Window:
        nonlocal taken
        gaps = disturb(taken)
        taken += 1
        kept = 5 - gaps
        samples_ms = [5 * (taken - 1) + i + 0.5 for i in range(kept)]
        return Window(samples_ms=samples_ms, issue_ms=[float(taken)] * kept, queue_gaps=gaps)

    return take


def test_clean_windows_are_kept_in_order() -> None:
    series = collect(windows_of_five(lambda _: 0), criterion=TWENTY, observe=lambda _: 0)
    assert series.samples_ms == tuple(i + 0.5 for i in range(20))
    assert series.issue_ms == tuple(float(i // 5 + 1) for i in range(20))
    assert (series.events, series.void_samples, series.stop) == (Events(), 0, "cap")


def collect_garbage_in_the_second(window: int) -> int:
    if window == 1:
        gc.collect()
    return 0


def leave_a_gap_in_the_second(window: int) -> int:
    return 3 if window == 1 else 0


def test_a_contaminated_window_is_void_and_taken_again() -> None:
    series = collect(windows_of_five(collect_garbage_in_the_second), criterion=TWENTY, observe=lambda _: 0)
    assert series.samples_ms == tuple(i + 0.5 for i in range(25) if not 5 <= i < 10)
    assert (series.events, series.void_samples) == (Events(garbage_collections=1), 5)


def test_resting_between_windows_takes_no_time_of_sampling(clock: Clock) -> None:
    def sample(_: int) -> int:
        clock.sleep(0.02)
        return 0

    timed = Criterion(relative_error=0.0, minimum_seconds=0.0, maximum_seconds=0.15)
    series = collect(windows_of_five(sample), criterion=timed, observe=lambda _: 0, pause=lambda: clock.sleep(0.05))
    assert len(series.samples_ms) / 5 == 8  # three, were it counted


def test_a_sample_at_a_gap_is_left_out_and_counted_and_its_neighbours_stay() -> None:
    series = collect(windows_of_five(leave_a_gap_in_the_second), criterion=TWENTY, observe=lambda _: 0)
    assert series.samples_ms == tuple(i + 0.5 for i in range(25) if not 7 <= i < 10)
    assert (series.events, series.void_samples) == (Events(queue_gaps=3), 3)


def test_a_dropped_clock_voids_the_window_before_it() -> None:
    seen: list[int] = []

    def observe(calls: int) -> int:
        seen.append(calls)
        return int(len(seen) == 1)

    series = collect(windows_of_five(lambda _: 0), criterion=TWENTY, observe=observe)
    assert series.samples_ms[0] == 5.5
    assert series.events == Events(clock_drops=1)
    assert seen == [5] * 5


def test_on_a_card_that_cannot_hold_its_clock_slow_windows_count_and_it_is_said() -> None:
    series = collect(windows_of_five(leave_a_gap_in_the_second), criterion=TWENTY, observe=lambda _: 1)
    assert series.samples_ms == tuple(i + 0.5 for i in range(100) if not 7 <= i < 10)
    assert len(series.issue_ms) == len(series.samples_ms)
    assert series.stop == "contaminated"
    assert series.events == Events(clock_drops=20, queue_gaps=3)
    assert series.void_samples == 3


def test_where_enough_windows_are_clean_slow_ones_do_not_count() -> None:
    never = Criterion(relative_error=0.0, minimum_seconds=60.0, maximum_seconds=60.0)
    seen = itertools.count()
    series = collect(windows_of_five(lambda _: 0), criterion=never, observe=lambda _: next(seen) % 2)
    assert series.samples_ms == tuple(5 * window + i + 0.5 for window in range(0, 40, 2) for i in range(5))
    assert (series.stop, series.void_samples) == ("contaminated", 100)


@pytest.mark.parametrize(("reset_before", "new"), [(False, lambda x: x + 1), (True, lambda x: x + 2)])
def test_a_compilation_voids_its_window(reset_before: bool, new: Callable[[object], object]) -> None:
    import torch
    import torch._dynamo

    if reset_before:  # as between two settings of a sweep
        torch.compiler.reset()

    def compile_in_the_third(window: int) -> int:
        if window == 2:
            torch.compile(new, backend="eager")(torch.zeros(3))
        return 0

    series = collect(windows_of_five(compile_in_the_third), criterion=TWENTY, observe=lambda _: 0)
    assert series.events.compilations == 1
    assert series.void_samples == 5


def test_it_ends_where_no_window_is_ever_clean() -> None:
    series = collect(windows_of_five(lambda _: 5), criterion=TWENTY, observe=lambda _: 0)
    assert (series.stop, series.samples_ms, series.events, series.void_samples) == (
        "contaminated",
        (),
        Events(queue_gaps=100),
        100,
    )


def test_garbage_is_collected_again_afterwards() -> None:
    def fail() -> Window:
        assert not gc.isenabled()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        collect(fail, criterion=TWENTY, observe=lambda _: 0)
    assert gc.isenabled()
