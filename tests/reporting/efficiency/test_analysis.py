"""What is read from the records comes out of made-up records as it was put in."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.efficiency.records import Record
from bench.reporting.efficiency import analysis
from bench.reporting.efficiency.choices import choices, left_out
from bench.reporting.efficiency.crossings import crossings
from bench.reporting.efficiency.mechanisms import mechanisms
from bench.reporting.efficiency.quantities import refusal
from tests.reporting.efficiency.conftest import LENGTHS, MakeRecord

powers = st.floats(0.5, 2.5)


def curve(
    make_record: MakeRecord,
    name: str,
    ms: Callable[[float], float],
    gib: Callable[[float], float] = lambda s: s / 100,
    **changes: object,
) -> list[Record]:
    """Records whose GPU time is given, and whose single calls take as long, in one process."""
    return [
        make_record(
            name,
            seconds,
            **{"latency_ms": ms(seconds), "gpu_ms": ms(seconds), "gpu_error": 0.001, "gpu_clock": "graph"} | changes,
            peak_memory_gib=gib(seconds),
            weights_gib=0.5,
        )
        for seconds in LENGTHS
    ]


def of_five(records: Sequence[Record], *, error: float) -> list[Record]:
    """The same single calls, timed by five processes."""
    return [dataclasses.replace(each, processes=5, latency_error=error) for each in records]


def row(table: pd.DataFrame, **where: object) -> dict[str, object]:
    for column, value in where.items():
        table = table[table[column] == value]
    (found,) = table.to_dict("records")
    return {str(key): value for key, value in found.items()}


@given(time_power=powers, memory_power=powers, factor=st.floats(1e-3, 10))
def test_a_power_of_the_length_is_found(
    make_record: MakeRecord, time_power: float, memory_power: float, factor: float
) -> None:
    records = curve(make_record, "kda/fla", lambda s: factor * s**time_power, lambda s: 1e-4 * s**memory_power)
    table = analysis.growth(records)
    assert set(table["quantity"]) == {"GPU time", "peak memory"}
    for quantity, power in (("GPU time", time_power), ("peak memory", memory_power)):
        found = row(table, quantity=quantity)
        assert found["exponent"] == pytest.approx(power)
        assert found["high"] == pytest.approx(found["low"], abs=1e-6)
        assert (found["from (s)"], found["to (s)"]) == (100.0, 400.0)


def test_the_interval_of_an_exponent_is_wide_where_the_curve_is_no_power(make_record: MakeRecord) -> None:
    found = row(analysis.growth(curve(make_record, "kda/fla", lambda s: 5 + s / 100)), quantity="GPU time")
    assert isinstance(found["low"], float)
    assert isinstance(found["high"], float)
    assert found["high"] - found["low"] > 0.01
    assert 0 < found["low"] < found["high"] < 1


@given(at=st.floats(30, 300))
def test_a_crossing_is_found_within_its_interval(make_record: MakeRecord, at: float) -> None:
    linear = curve(make_record, "kda/fla", lambda s: s, latency_ms=500.0)
    square = curve(make_record, "sa/sdpa", lambda s: s**2 / at, latency_ms=500.0)
    found = row(crossings([*square, *linear]), quantity="GPU time")
    assert (found["ahead"], found["behind"], found["finding"]) == ("kda/fla", "sa/sdpa", "overtakes")
    assert found["from (s)"] == pytest.approx(at, rel=0.002)
    # Both medians are known to 0.1 %, and two processes agree to 1.5 % and 7 us; the curves part by 1 % in 1 %.
    half = 0.015 + 1.96 * math.hypot(0.001, 0.001)
    assert found["low (s)"] == pytest.approx(at * math.exp(-half), rel=0.003)
    assert found["high (s)"] == pytest.approx(at * math.exp(half), rel=0.003)


@given(at=st.floats(50, 250), error=st.floats(0.001, 0.05))
def test_single_calls_of_five_processes_cross_within_students_interval(
    make_record: MakeRecord, at: float, error: float
) -> None:
    records = curve(make_record, "sa/sdpa", lambda s: s**2 / at) + curve(make_record, "kda/fla", lambda s: s)
    found = row(crossings(of_five(records, error=error)), quantity="latency")
    half = 0.015 + 2.776 * math.sqrt(2) * error  # Student's factor for four degrees of freedom
    assert found["from (s)"] == pytest.approx(at, rel=0.002)
    assert found["low (s)"] == pytest.approx(max(at * math.exp(-half), 10), rel=0.004)
    assert found["high (s)"] == pytest.approx(min(at * math.exp(half), 400), rel=0.004)


def test_a_wide_spread_between_processes_hides_what_the_medians_show(make_record: MakeRecord) -> None:
    records = curve(make_record, "kda/fla", lambda s: s) + curve(make_record, "gsa/fla", lambda s: 1.3 * s)
    table = crossings(of_five(records, error=0.1))
    assert row(table, quantity="latency")["finding"] == "no difference at any length"
    assert row(table, quantity="GPU time")["finding"] == "ahead at every length"


@given(fewest=st.integers(1, 4))
def test_below_five_processes_nothing_is_concluded_from_single_calls(make_record: MakeRecord, fewest: int) -> None:
    records = of_five(
        [*curve(make_record, "kda/fla", lambda s: s), *curve(make_record, "gsa/fla", lambda s: 9 * s)], error=0
    )
    records[3] = dataclasses.replace(records[3], processes=fewest)
    assert set(crossings(records)["quantity"]) == {"GPU time", "peak memory"}
    few = (
        f"{records[3].name} at {records[3].seconds:g} s has {fewest} process{'' if fewest == 1 else 'es'} instead of 5"
    )
    assert f"{few}. `sbench sweep --resume FOLDER` times what is missing" in refusal(records)
    records[4] = dataclasses.replace(records[4], processes=4)
    assert f"{few}. 1 more case has too few." in refusal(records)
    every = [dataclasses.replace(each, processes=fewest) for each in records]
    assert f"they are of {fewest} process" in refusal(every)
    assert "`sbench sweep --processes 5` times them in five" in refusal(every)
    on_cpu = [dataclasses.replace(each, device_type="cpu", gpu_ms=None) for each in records]
    assert set(crossings(on_cpu)["quantity"]) == set(analysis.growth(on_cpu)["quantity"]) == {"peak memory"}
    assert choices(on_cpu).empty


def test_on_a_cpu_conclusions_rest_on_single_calls_of_five_processes(make_record: MakeRecord) -> None:
    records = [*curve(make_record, "kda/reference", lambda s: s), *curve(make_record, "gsa/reference", lambda s: 9 * s)]
    on_cpu = of_five([dataclasses.replace(each, device_type="cpu", gpu_ms=None) for each in records], error=0.01)
    assert refusal(on_cpu) == ""
    assert set(crossings(on_cpu)["quantity"]) == set(analysis.growth(on_cpu)["quantity"]) == {"latency", "peak memory"}
    assert set(choices(on_cpu)["fastest"]) == {"kda/reference"}
    found = row(analysis.costs(on_cpu), mixer="gsa/reference")
    assert (found["real-time factor"], found["processes"]) == (pytest.approx(0.009), 5)


def test_who_never_crosses_is_ahead_at_every_length(make_record: MakeRecord) -> None:
    records = curve(make_record, "kda/fla", lambda s: 2 * s) + curve(make_record, "gsa/fla", lambda s: s)
    found = row(crossings(records), quantity="GPU time")
    assert (found["ahead"], found["behind"], found["from (s)"]) == ("gsa/fla", "kda/fla", None)
    assert found["finding"] == "ahead at every length"


@pytest.mark.parametrize("slope", [0.0, 1e-5], ids=["apart", "crossing"])
def test_what_never_differs_by_more_than_the_noise_is_no_difference(make_record: MakeRecord, slope: float) -> None:
    records = curve(make_record, "kda/fla", lambda _: 1.0)
    records += curve(make_record, "gsa/fla", lambda s: 1.001 - s * slope)
    found = row(crossings(records), quantity="GPU time")
    assert (found["finding"], found["low (s)"], found["high (s)"]) == ("no difference at any length", 10.0, 400.0)


@pytest.mark.parametrize("at_250_s", [0.997, 1.0, 1.003])
def test_curves_that_touch_once_more_cross_in_one_interval(make_record: MakeRecord, at_250_s: float) -> None:
    """At 250 s the noise decides who is ahead. That must not move the interval, which holds every crossing."""
    ratios = dict(zip(LENGTHS, (2.0, 1.9, 1.8, 1.6, 1.4, 1.2, 0.95, at_250_s, 0.8, 0.8, 0.8), strict=True))
    records = curve(make_record, "sa/sdpa", lambda s: s) + curve(make_record, "kda/fla", lambda s: s * ratios[s])
    found = row(crossings(records), quantity="GPU time")
    assert (found["ahead"], found["finding"]) == ("kda/fla", "overtakes")
    low, high = found["low (s)"], found["high (s)"]
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert 150.0 < low < 200.0
    assert 250.0 <= high < 260.0


def test_the_same_memory_puts_nobody_ahead(make_record: MakeRecord) -> None:
    records = curve(make_record, "fox/triton", lambda s: s) + curve(make_record, "sa/sdpa", lambda s: 2 * s)
    found = row(crossings(records), quantity="peak memory")
    assert found["finding"] == "no difference at any length"


@pytest.mark.parametrize(
    ("other", "finding"),
    [
        (lambda s: s * (1 + 2 / s), "within the noise up to the longest length"),
        (lambda s: s * (1 + s / 2000), "ahead outside the interval"),
        (lambda s: s * (10 / s) ** 0.01 * 1.036, "within the noise up to the longest length"),
    ],
    ids=["ends alike", "begins alike", "ends crossed"],
)
def test_who_is_ahead_only_here_or_there_is_not_ahead_at_every_length(
    make_record: MakeRecord, other: Callable[[float], float], finding: str
) -> None:
    records = curve(make_record, "kda/fla", lambda s: s) + curve(make_record, "gsa/fla", other)
    found = row(crossings(records), quantity="GPU time")
    assert found["finding"] == finding
    assert isinstance(found["low (s)"], float)
    assert isinstance(found["high (s)"], float)
    assert 10.0 <= found["low (s)"] < found["high (s)"] <= 400.0


def test_cases_without_a_figure_are_left_out(make_record: MakeRecord) -> None:
    records = [make_record("sa/eager", 10.0, status="oom"), make_record("kda/fla", 10.0, status="failed")]
    for make in (analysis.costs, analysis.growth, crossings, analysis.floors, analysis.capacities, choices):
        assert make(records).empty


@given(slope=st.floats(1e-4, 0.1), square=st.sampled_from([0.0, 1e-6, 1e-4]))
def test_the_longest_audio_that_fits_uses_up_the_card(make_record: MakeRecord, slope: float, square: float) -> None:
    records = curve(make_record, "kda/fla", lambda s: s, lambda s: slope * s + square * s**2)
    found = row(analysis.capacities(records))
    for card in analysis.CARDS_GIB:
        seconds = found[f"{card} GiB"]
        assert isinstance(seconds, float)
        used = 0.5 + slope * seconds + square * seconds**2  # 0.5 of weights
        if square * 400 >= 0.02 * slope or not square:
            assert used == pytest.approx(card - analysis.CONTEXT_GIB, rel=0.01)


def test_costs_are_those_of_the_longest_length(make_record: MakeRecord) -> None:
    calls = {"latency_ms": 900.0, "latency_ms_low": 850.0, "latency_ms_high": 990.0, "processes": 5, "converged": False}
    found = row(analysis.costs(curve(make_record, "kda/fla", lambda s: 2 * s, lambda s: s * 1e6 / 2**30, **calls)))
    assert (found["seconds"], found["GPU time (ms)"], found["converged"]) == (400.0, 800.0, "no")
    assert (found["latency (ms)"], found["lowest (ms)"], found["highest (ms)"]) == (900.0, 850.0, 990.0)
    assert found["processes"] == 5
    assert found["real-time factor"] == pytest.approx(0.002)
    assert found["MB per s"] == pytest.approx(1.0)


def test_the_floor_divides_the_gpus_time(gpu_sweep: Sequence[Record]) -> None:
    record = dataclasses.replace(gpu_sweep[0], gpu_ms=3.0, floor_ms=2.0, converged=True)
    found = row(analysis.floors([record]))
    assert (found["ratio"], found["converged"]) == (1.5, "yes")


def test_the_choice_is_the_fastest_and_the_fastest_that_fits(make_record: MakeRecord) -> None:
    fast_and_large = curve(make_record, "sa/sdpa", lambda s: s, lambda s: 0.1 * s)
    slow_and_small = curve(make_record, "kda/fla", lambda s: 1.5 * s, lambda s: 0.001 * s)
    table = choices([*fast_and_large, *slow_and_small], limit_gib=2.0)
    assert list(table["clip (s)"]) == [10.0, 30.0, 60.0, 300.0]  # nothing was measured at 5 s
    short, long = row(table, **{"clip (s)": 10.0}), row(table, **{"clip (s)": 300.0})
    assert (short["fastest"], short["within 2 GiB"]) == ("sa/sdpa", "sa/sdpa")
    assert (long["fastest"], long["within 2 GiB"]) == ("sa/sdpa", "kda/fla")
    assert long["fastest: ms"] == pytest.approx(300)
    assert long["fastest: margin"] == pytest.approx(0.5)
    assert row(table, **{"clip (s)": 30.0})["fastest: ms"] == pytest.approx(30)  # between 25 and 50 s


@given(apart=st.floats(0.0, 0.014), error=st.floats(0.0, 0.002))
def test_who_is_as_fast_within_the_noise_shares_the_place(make_record: MakeRecord, apart: float, error: float) -> None:
    first = curve(make_record, "sa/sdpa", lambda s: s, gpu_error=error)
    second = curve(make_record, "fox/triton", lambda s: (1 + apart) * s, gpu_error=error)
    third = curve(make_record, "kda/fla", lambda s: 1.1 * s, gpu_error=error, converged=False)
    for _, found in choices([*third, *second, *first], limit_gib=3.0).iterrows():
        assert set(found["fastest"].split(" and ")) == {"sa/sdpa", "fox/triton"}
        assert found["fastest: next"] == "kda/fla"
        assert found["fastest: margin"] == pytest.approx(0.1)


@pytest.mark.parametrize(("converged", "said"), [(True, "yes"), (False, "no"), (None, None)])
def test_a_choice_says_whether_the_cases_behind_it_converged(
    make_record: MakeRecord, converged: bool | None, said: str | None
) -> None:
    table = choices(curve(make_record, "sa/sdpa", lambda s: s, converged=converged))
    assert set(table["fastest: converged"]) == {said}


def test_a_mixer_without_the_gpus_time_is_left_out_of_the_choices_and_named(make_record: MakeRecord) -> None:
    records = curve(make_record, "kda/fla", lambda s: 9 * s)
    records += curve(make_record, "gsa/fla", lambda s: s, gpu_ms=None)
    assert set(choices(records)["fastest"]) == {"kda/fla"}
    assert choices(records)["fastest: next"].isna().all()
    assert left_out(records) == "gsa/fla is left out: no GPU time is known."
    assert left_out(curve(make_record, "kda/fla", lambda s: s)) == ""


def test_what_a_mixer_sees_and_keeps_is_a_table(make_record: MakeRecord) -> None:
    records = [
        make_record("sa/sdpa", reach="the whole clip", feed_forward_width=1888, causal=False),
        make_record("kda/fla", reach="learned", state_numbers=262144, feed_forward_width=1536, causal=True),
        make_record("gsa/fla"),  # of a schema that does not say
    ]
    found = {str(row["mixer"]): list(row.values()) for row in mechanisms(records).to_dict("records")}
    assert found == {
        "sa/sdpa": ["sa/sdpa", 20.02, 1888, "no", "the whole clip", "grows with the length"],
        "kda/fla": ["kda/fla", 20.02, 1536, "yes", "learned", "262,144"],
    }
