"""A few slow mixers do not flatten the curves of many others on linear axes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from bench.reporting.efficiency import directions, figure2
from bench.reporting.efficiency.quantities import far_above, gpu_time
from tests.reporting.efficiency.conftest import make_up_record

MANY = {f"mixer{number}/fla": 1.0 + number for number in range(10)}


def test_the_figures_leave_them_out_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        make_up_record(name, seconds, gpu_ms=ms * seconds / 400, direction=direction)
        for direction in ("causal", "alternating")
        for name, ms in {"sa/eager": 50.0, **MANY, "slow/eager": 500.0 if direction == "causal" else 5.0}.items()
        for seconds in (10.0, 400.0)
    ]
    figures: list[Figure] = []
    for module in (directions, figure2):
        monkeypatch.setattr(module, "save", lambda figure, *_, **__: figures.append(figure))
    directions.draw_directions(found, Path("directions"))
    for direction in ("causal", "alternating"):
        figure2.draw_figure2([each for each in found if each.direction == direction], Path("figure2"))
    both, causal, alternating = figures
    assert both.get_suptitle().splitlines()[1] == "without sa/eager and slow/eager"
    assert causal.axes[2].get_title() == "(c) GPU time, without sa/eager and slow/eager"
    assert alternating.axes[2].get_title() == "(c) GPU time, without sa/eager"


@given(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=20))
def test_they_are_few_and_far_above_all_others(times: list[float]) -> None:
    found = [make_up_record(f"mixer{number}/fla", 400.0, gpu_ms=ms) for number, ms in enumerate(times)]
    high = set(far_above(found, gpu_time))
    assert len(high) < len(times) / 2
    if high:
        above = min(each.gpu_ms or 0 for each in found if each.name in high)
        assert above > 4 * max(each.gpu_ms or 0 for each in found if each.name not in high)


def test_without_a_gap_or_a_figure_there_are_none() -> None:
    assert far_above([make_up_record(name, gpu_ms=ms) for name, ms in MANY.items()], gpu_time) == []
    assert far_above([make_up_record("sa/sdpa", status="oom", gpu_ms=None)], gpu_time) == []
