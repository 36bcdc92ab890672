"""How reports write numbers. Imports no pandas, so comparing two sweeps starts fast."""

import math
from collections.abc import Callable, Iterable
from decimal import ROUND_FLOOR, Context, Decimal

NOTHING = "-"  # stands where there is no figure


def cell(value: object) -> str:
    """Return a cell of a table: floats to three significant digits, with all digits before the point; a dash for None.

    No float gets an exponent: ``0.00123``, ``12.3``, ``123456``.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, float):
        digits = 2 - math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0
        return f"{value:.{max(digits, 0)}f}"
    return str(value)


def significant(value: float | None, *, digits: int = 3) -> str:
    """Return a number rounded to its significant digits, without an exponent: ``0.300``, ``44.8``, ``12300``."""
    return NOTHING if value is None else f"{Decimal(f'{value:.{digits - 1}e}'):f}"


def rounded_down(value: float) -> str:
    """Return three significant digits of a number, never more than the number: ``281``, ``2.53``, ``10``."""
    return f"{Context(prec=3, rounding=ROUND_FLOOR).create_decimal_from_float(value):g}"


def four_digits(value: float | None) -> str:
    """Return four significant digits, enough to show a change of 1 %: ``0.3000``, ``12350``."""
    return significant(value, digits=4)


def yes_or_no(value: bool | None) -> str | None:
    """Return a word for a truth value; None where it is not known."""
    return None if value is None else ("no", "yes")[value]


def two_decimals(value: float | None, *, signed: bool = False) -> str:
    """Return a number to a hundredth: ``36.42``, with a sign ``+0.41``."""
    return NOTHING if value is None else f"{value:{'+' if signed else ''}.2f}"


def ratio(value: float) -> str:
    """Return a ratio to a thousandth; below 0.1 to four significant digits."""
    return f"{value:.3f}" if value >= 0.1 else four_digits(value)


def millions(count: float | None) -> str:
    """Return a count in millions to a hundredth: ``20.02``."""
    return NOTHING if count is None else f"{count / 1e6:.2f}"


def interval(low: float | None, high: float | None, number: Callable[[float], str]) -> str:
    """Return both ends of an interval, ``0.981 to 1.020``; a dash where an end is unknown or infinite."""
    if low is None or high is None or math.isinf(low) or math.isinf(high):
        return NOTHING
    return f"{number(low)} to {number(high)}"


def span(values: Iterable[float], number: Callable[[float], str]) -> str:
    """Return the smallest and the largest value, ``11.9 to 21.2``; one number where both read alike."""
    ordered = sorted(values)
    return " to ".join(dict.fromkeys(number(value) for value in ordered[:1] + ordered[-1:])) or NOTHING


def enumeration(items: Iterable[str]) -> str:
    """Return ``50``, ``50 and 75`` or ``50, 75 and 100``."""
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last
