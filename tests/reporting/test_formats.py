import math

import pytest

from bench.reporting.formats import (
    cell,
    enumeration,
    interval,
    millions,
    ratio,
    rounded_down,
    significant,
    span,
    two_decimals,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (0.0, "0"),
        (0.001234, "0.00123"),
        (0.9996, "1.000"),
        (12.345, "12.3"),
        (123456.0, "123456"),
        (-0.05, "-0.0500"),
        (7, "7"),
        ("kda/fla", "kda/fla"),
    ],
)
def test_cells_have_three_significant_digits_and_no_exponent(value: object, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (significant(0.3), "0.300"),
        (significant(12345.0), "12300"),
        (significant(12345.0, digits=4), "12340"),
        (significant(1e-7), "0.000000100"),
        (significant(None), "-"),
        (ratio(1.23456), "1.235"),
        (ratio(0.0123456), "0.01235"),
        (two_decimals(36.416), "36.42"),
        (two_decimals(0.4, signed=True), "+0.40"),
        (two_decimals(None), "-"),
        (millions(20_012_345), "20.01"),
        (millions(None), "-"),
        (interval(0.98, 1.02, ratio), "0.980 to 1.020"),
        (interval(0.0, math.inf, ratio), "-"),
        (interval(None, 1.0, ratio), "-"),
        (span([21.2, 16.2, 11.918], significant), "11.9 to 21.2"),
        (span([11.918, 11.92], significant), "11.9"),
        (span([], significant), "-"),
        (rounded_down(281.9), "281"),
        (rounded_down(2.539), "2.53"),
        (rounded_down(10.0), "10"),
        (enumeration(["50"]), "50"),
        (enumeration(["50", "75"]), "50 and 75"),
        (enumeration(["50", "75", "100"]), "50, 75 and 100"),
    ],
)
def test_numbers_read_alike_in_every_report(text: str, expected: str) -> None:
    assert text == expected
