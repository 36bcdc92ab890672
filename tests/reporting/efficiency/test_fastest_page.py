"""Who is fastest, among those that conform, at the lengths that were measured."""

import dataclasses
from collections.abc import Sequence

import pytest

from bench.efficiency.records import Record
from bench.reporting.efficiency import fastest_page
from bench.reporting.formats import NOTHING
from tests.reporting.efficiency.conftest import MakeRecord

MS = {"sa/sdpa": 1.0, "kda/fla": 2.0, "retnet/fla": 4.0}


def cells(table: str) -> list[list[str]]:
    """The rows of a table in Markdown."""
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]


@pytest.fixture
def records(make_record: MakeRecord) -> list[Record]:
    """Times grow with the length, and the floor is a quarter of a millisecond at 10 s."""
    return [
        make_record(
            name,
            seconds,
            pass_=pass_,
            direction="causal",
            gpu_ms=ms * seconds / 10,
            floor_ms=seconds / 40,
            converged=True,
            conforms=True,
            conformity_error=0.00214,
        )
        for pass_ in ("inference", "training")
        for name, ms in MS.items()
        for seconds in (10.0, 50.0, 75.0, 400.0)
    ]


def change(records: Sequence[Record], name: str, **changes: object) -> list[Record]:
    return [dataclasses.replace(each, **changes) if each.name == name else each for each in records]  # type: ignore[arg-type]


def test_a_row_says_who_is_fastest_who_is_next_and_at_which_length(records: list[Record]) -> None:
    rows = cells(fastest_page.table(records))
    assert [row[:3] for row in rows[:3]] == [
        ["`causal`", "inference", "10 s"],
        ["`causal`", "inference", "60 s (measured at 50 s)"],
        ["`causal`", "inference", "400 s"],
    ]
    assert [row[1] for row in rows] == 3 * ["inference"] + 3 * ["training"]
    assert rows[2][3:7] == ["sa/sdpa", "40.00", NOTHING, "kda/fla (+100%)"]
    assert rows[2][8:] == ["yes (0.0021)", "4.0"]


def test_mixers_within_the_noise_share_the_place(records: list[Record]) -> None:
    equal = [
        dataclasses.replace(each, gpu_ms=1.001 * each.seconds / 10) if each.name == "kda/fla" else each
        for each in records
    ]
    assert cells(fastest_page.table(equal))[0][3:7] == ["sa/sdpa", "1.00", "kda/fla", "retnet/fla (+300%)"]
    assert fastest_page.fastest(equal[:12], 10.0) == "sa/sdpa and kda/fla (1.00 ms)"


def test_what_does_not_conform_is_no_contestant_and_is_named(records: list[Record]) -> None:
    wrong = change(records, "sa/sdpa", conforms=False, conformity_error=0.3)
    assert cells(fastest_page.table(wrong))[0][3] == "kda/fla"
    assert fastest_page.missing(wrong, ["sa", "kda", "retnet"]) == (
        "3 mixers were measured. Left out, because it differs from its reference: "
        "sa/sdpa (`causal`, inference, error 0.3) and sa/sdpa (`causal`, training, error 0.3)."
    )


def test_a_setting_without_a_figure_has_no_row(records: list[Record]) -> None:
    failed = [dataclasses.replace(each, status="failed", gpu_ms=None) for each in records if each.pass_ == "training"]
    rows = cells(fastest_page.table([*(each for each in records if each.pass_ == "inference"), *failed]))
    assert [row[1] for row in rows] == 3 * ["inference"]


def test_ranks_put_the_fastest_first_and_failures_last(records: list[Record]) -> None:
    failed = change(records[:12], "sa/sdpa", status="oom", gpu_ms=None, peak_memory_gib=None, floor_ms=None)
    imprecise = change(failed, "retnet/fla", converged=False)
    rows = cells(fastest_page.ranks(imprecise))
    assert [row[0] for row in rows] == ["kda/fla", "retnet/fla", "sa/sdpa"]
    slower = [dataclasses.replace(each, implementation="eager", gpu_ms=9 * (each.gpu_ms or 0)) for each in records[:4]]
    together = cells(fastest_page.ranks([*slower, *records[:12]], by_mixer=True))
    assert [row[0] for row in together] == ["sa/sdpa", "sa/eager", "kda/fla", "retnet/fla"]
    assert rows[1][1:4] == ["4.00 ~", "20.00 ~", "160.00 ~"]
    assert rows[2][1:5] == 3 * ["out of memory"] + [NOTHING]


def test_what_takes_over_three_floors_is_listed(records: list[Record]) -> None:
    near = [dataclasses.replace(each, floor_ms=each.seconds / 29.9) for each in records]  # sa/sdpa: 2.99 floors
    rows = cells(fastest_page.slow(near))
    assert [row[0] for row in rows] == ["retnet/fla", "kda/fla"]
    assert rows[1][1:] == ["6.0", "6.0"]
    none = [dataclasses.replace(each, floor_ms=each.gpu_ms) for each in records]
    assert fastest_page.slow(none) == "None takes over 3 times its floor."


def test_what_has_no_figure_is_told_from_what_was_not_measured(records: list[Record]) -> None:
    failed = change(records, "kda/fla", status="unavailable", gpu_ms=None)
    assert fastest_page.missing(failed, ["sa", "kda", "retnet", "gla"]) == (
        "2 mixers were measured. Without a figure: `kda` (unavailable). Not measured yet: `gla`."
    )


def test_hybrids_are_counted_apart() -> None:
    assert fastest_page.count_of(["sa", "kda"]) == "2 mixers"
    assert fastest_page.count_of(["sa", "kda", "kda+sa"]) == "2 mixers and 1 hybrid"
    assert fastest_page.count_of(["sa", "kda", "kda+sa", "sa+kda"]) == "2 mixers and 2 hybrids"


def test_heads_stand_side_by_side(records: list[Record]) -> None:
    both = [
        dataclasses.replace(each, heads=number, gpu_ms=(each.gpu_ms or 0) * number, parameters=20_000_000 + number)
        for each in records
        for number in (4, 8)
        if (each.name, each.seconds) != ("retnet/fla", 50.0) or number == 4
    ]
    rows = cells(fastest_page.heads(both))
    assert len(rows) == 2 * len(MS)
    assert rows[0][:4] == ["sa/sdpa", "`causal`", "inference", "20,000,004 / 20,000,008"]
    assert rows[0][4:] == ["4.00 / 8.00", "20.00 / 40.00", "30.00 / 60.00", "160.00 / 320.00"]
    assert rows[2][5] == f"80.00 / {NOTHING}"
