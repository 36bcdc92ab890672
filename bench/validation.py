"""Reads JSON into frozen dataclasses: every field must be there, of the declared type, and no other."""

import functools
from typing import Any, TypeVar

Value = TypeVar("Value")

_MOST = 1_000_000

# The ``__pydantic_config__`` of a dataclass that is read from JSON. Whole numbers pass as floats. Infinite values and
# NaN, which Python's JSON accepts, do not pass.
STRICT: dict[str, Any] = {"strict": True, "extra": "forbid", "allow_inf_nan": False}


def parse(kind: type[Value], text: str | bytes) -> Value:
    """Parse JSON text into a value of a type.

    Args:
        kind: A dataclass, or any type that pydantic knows.
        text: JSON.

    Raises:
        pydantic.ValidationError: The text is not JSON or does not fit. It is a `ValueError` and lists every fault.
    """
    return _adapter(kind).validate_json(text)  # type: ignore[no-any-return, arg-type]


def check_counts(value: object, *names: str) -> None:
    """Check that attributes are numbers from 1 to a million: more epochs, frames or layers no machine can have.

    Raises:
        ValueError: One is not.
    """
    for name in names:
        if not 1 <= getattr(value, name) <= _MOST:
            raise ValueError(f"{name} is not between 1 and {_MOST:,}")


def check_positive(value: object, *names: str) -> None:
    """Check that attributes are positive, or None.

    Raises:
        ValueError: One is not.
    """
    for name in names:
        number = getattr(value, name)
        if number is not None and not number > 0:
            raise ValueError(f"{name} is not positive")


def check_distinct(value: object, *names: str) -> None:
    """Check that attributes are lists with something in them, each thing once.

    Raises:
        ValueError: One is not.
    """
    for name in names:
        items = getattr(value, name)
        if not 0 < len(set(items)) == len(items):
            raise ValueError(f"{name} is empty or repeats a value")


def first_fault(error: Exception) -> str:
    """Return the first fault that `parse` found, as one line with the field's name; the message of any other error."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    reason = fault["msg"].removeprefix("Value error, ")  # of a `__post_init__`
    return f"{place}: {reason}" if place else reason


@functools.cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter  # its import takes a tenth of a second, too long for `--help`

    return TypeAdapter(kind)
