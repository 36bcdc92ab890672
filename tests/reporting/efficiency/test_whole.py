"""A whole system is the sum and the maximum of its parts, whatever they are."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.efficiency.records import Record
from bench.reporting.efficiency import end_to_end, end_to_end_page
from bench.reporting.efficiency.analysis import total_gib
from bench.reporting.efficiency.quantities import gpu_time
from bench.reporting.efficiency.whole import Whole, blocks, unmatched
from tests.reporting.efficiency.conftest import MakeRecord

LENGTHS = (10.0, 50.0, 100.0, 200.0, 400.0)
COSTS = st.tuples(*[st.floats(1e-3, 1e3)] * 4)  # ms, peak, weights and input


def part(
    make_record: MakeRecord, preset: str, name: str, seconds: float, costs: Sequence[float], **more: Any
) -> Record:
    ms, peak, weights, features = costs
    figures = {"gpu_ms": ms, "peak_memory_gib": peak, "weights_gib": weights, "input_gib": features}
    return make_record(name, seconds, preset=preset, **figures | more)


def encoder(make_record: MakeRecord, costs: Sequence[float], seconds: float = 100.0, **more: Any) -> Record:
    return part(make_record, "encoder", "xlsr-random/one-piece", seconds, costs, **more)


def head(make_record: MakeRecord, costs: Sequence[float] = (0.01, 0.01, 0.01, 0.01), seconds: float = 100.0) -> Record:
    return part(make_record, "head", "head/pooling-classifier", seconds, costs)


@given(costs=st.tuples(COSTS, COSTS, COSTS))
def test_shares_add_up_to_one_and_the_peak_holds_every_part(
    make_record: MakeRecord, costs: tuple[Sequence[float], ...]
) -> None:
    whole = Whole(
        encoder=encoder(make_record, costs[0]),
        mixer=part(make_record, "matched", "kda/fla", 100.0, costs[1]),
        head=head(make_record, costs[2]),
    )
    assert sum(whole.shares(gpu_time).values()) == pytest.approx(1)
    assert whole.ms(gpu_time) == pytest.approx(sum(ms for ms, *_ in costs))
    for each in whole.parts.values():
        assert whole.peak_gib >= total_gib(each) * (1 - 1e-9)
    assert whole.peak_gib <= sum(total_gib(each) for each in whole.parts.values()) * (1 + 1e-9)
    assert whole.peak_gib >= sum(weights for _, _, weights, _ in costs)
    assert whole.peaks_gib[whole.peak_in] == whole.peak_gib


def three_mixers(make_record: MakeRecord) -> tuple[list[Record], list[Record]]:
    mixers = [
        part(make_record, "matched", "sa/eager", 100.0, (20.0, 6.0, 0.1, 0.1)),
        part(make_record, "matched", "sa/sdpa", 100.0, (10.0, 1.0, 0.1, 0.1)),
        part(make_record, "matched", "kda/fla", 100.0, (6.0, 1.0, 0.1, 0.1)),
    ]
    return mixers, [encoder(make_record, (90.0, 4.0, 1.0, 0.0)), head(make_record, (0.0, 0.1, 0.0, 0.1))]


def test_a_page_says_it_in_a_row_and_a_sentence(make_record: MakeRecord) -> None:
    mixers, parts = three_mixers(make_record)
    *_, row = end_to_end_page.table([*mixers, *parts]).splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:2] == ["xlsr-random in one piece", "100"]
    assert cells[3:] == ["6.00 to 10.0", "0.00", "6.2 to 10.0", "-4.0", "5.10", "7.20"]
    assert end_to_end_page.sentence([*mixers, *parts]) == (
        "Behind xlsr-random in one piece, at 100 s, the mixer takes 6.2 to 10.0 % of the whole system's GPU time. "
        "Another mixer than fused attention changes that time by -4.0 %. The peak of memory is 5.10 GiB, and 7.20 GiB "
        "with attention that stores its scores."
    )


def test_the_fastest_in_place_of_the_slowest_changes_the_whole(make_record: MakeRecord) -> None:
    mixers, parts = three_mixers(make_record)
    windows = part(make_record, "encoder", "xlsr-random/windows-20s", 100.0, (30.0, 1.0, 1.0, 0.0), window_s=20.0)
    records = [*mixers, *parts, windows]
    assert end_to_end_page.changes(records, 100.0) == {"xlsr-random": "-4.0 % in one piece, -10.0 % in windows of 20 s"}
    assert end_to_end_page.changes(records, 60.0) == {}


def test_what_the_mixer_changes_of_the_whole(make_record: MakeRecord) -> None:
    mixers, parts = three_mixers(make_record)
    table = end_to_end.end_to_end(mixers, parts).set_index("mixer")
    assert list(table["GPU time against base (%)"]) == pytest.approx([10, 0, -4])
    assert list(table["share of the mixer (%)"]) == pytest.approx([100 * 20 / 110, 10, 100 * 6 / 96])
    # 1.1 GiB of weights; with fused attention the encoder's call is the peak, with eager attention the mixer's.
    assert list(table["peak of the whole (GiB)"]) == pytest.approx([7.2, 5.1, 5.1])
    assert list(table["peak is in the"]) == ["mixer", "encoder", "encoder"]
    assert table.loc["sa/eager", "peak against base (%)"] == pytest.approx(100 * (7.2 / 5.1 - 1))
    assert "The base is sa/sdpa." in end_to_end.notes(mixers, parts)


@pytest.mark.parametrize(
    "changes", [{"width": 512}, {"precision": "tf32"}, {"execution": "graph"}, {"batch": 8}, {"cache": "cold"}]
)
def test_parts_that_do_not_fit_make_no_whole(make_record: MakeRecord, changes: dict[str, Any]) -> None:
    mixers = [part(make_record, "matched", "kda/fla", 100.0, (1.0, 1.0, 1.0, 1.0))]
    parts = [encoder(make_record, (1.0, 1.0, 1.0, 1.0), **changes), head(make_record)]
    assert blocks(mixers, parts, gpu_time) == []
    assert end_to_end.end_to_end(mixers, parts).empty
    lines = unmatched(mixers, parts)
    assert bool(lines) == ("width" in changes)
    assert all("xlsr-random makes 512 features per frame" in line for line in lines)


def curves(make_record: MakeRecord, **last: Any) -> tuple[list[Record], list[Record]]:
    mixers = [part(make_record, "matched", "kda/fla", s, (s / 100, s / 100, 0.1, s / 1000)) for s in LENGTHS]
    parts = [encoder(make_record, (s / 2, s / 80, 0.6, 0.0), s) for s in LENGTHS[:-1]]
    parts += [encoder(make_record, (200.0, 5.0, 0.6, 0.0), LENGTHS[-1], **last)]
    return mixers, parts + [head(make_record, seconds=s) for s in LENGTHS]


def test_where_an_encoder_ends_is_said(make_record: MakeRecord) -> None:
    mixers, parts = curves(
        make_record,
        status="oom",
        error="OutOfMemoryError: CUDA out of memory.",
        fused_attention=False,
        longest_fitting_seconds=233.0,
        gpu_ms=None,
        peak_memory_gib=None,
    )
    *_, line = end_to_end.notes(mixers, parts)
    assert "stores its scores, L x L for each head" in line
    assert "ends before 400 s (oom: OutOfMemoryError: CUDA out of memory.)" in line
    assert line.endswith("the longest measured is 200 s; up to 233 s fit.")
    assert list(end_to_end.end_to_end(mixers, parts)["seconds"]) == list(LENGTHS[:-1])


def test_choices_and_capacities_speak_of_the_whole(make_record: MakeRecord) -> None:
    mixers, parts = curves(make_record)
    found = end_to_end.choices(mixers, parts).set_index("clip (s)").loc[300.0]
    assert found["fastest behind xlsr-random/one-piece: ms"] == pytest.approx(150 + 3 + 0.01, rel=1e-3)
    assert found["fastest behind xlsr-random/one-piece: mixer's share (%)"] == pytest.approx(100 * 3 / 153, rel=0.01)
    table = end_to_end.capacities(mixers, parts).set_index("encoder")
    assert list(table.index) == ["none", "xlsr-random/one-piece"]
    # The encoder takes 0.71 GiB of weights and 1 GiB for 80 s; 1.3 GiB of the card are CUDA's.
    assert table.loc["xlsr-random/one-piece", "24 GiB"] == pytest.approx(80 * (24 - 1.3 - 0.71), rel=0.01)
    assert table.loc["none", "24 GiB"] == pytest.approx((24 - 1.3 - 0.1) / 0.011, rel=0.01)


def test_beside_encoders_of_another_width_the_mixers_stand_alone(make_record: MakeRecord) -> None:
    mixers, parts = curves(make_record)
    table = end_to_end.capacities([dataclasses.replace(each, width=512) for each in mixers], parts)
    assert list(table["encoder"]) == ["none"]


def test_without_encoders_the_tables_are_those_of_mixers(make_record: MakeRecord) -> None:
    mixers, _ = curves(make_record)
    assert "encoder" not in end_to_end.capacities(mixers, [])
    assert end_to_end.notes(mixers, []) == []
