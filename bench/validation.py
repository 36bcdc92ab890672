"""Reading JSON into frozen dataclasses: every field must be there, of the declared type, and none besides."""

import functools
from typing import Any, TypeVar

Value = TypeVar("Value")

# What a dataclass that is read from JSON declares as its ``__pydantic_config__``. Whole numbers pass as floats;
# infinite values and NaN, which Python's JSON lets through, do not.
STRICT: dict[str, Any] = {"strict": True, "extra": "forbid", "allow_inf_nan": False}


def parse(kind: type[Value], text: str | bytes) -> Value:
    """Return the value of a type that JSON text holds.

    Args:
        kind: A dataclass, or any type that pydantic knows.
        text: JSON.

    Raises:
        pydantic.ValidationError: The text is not JSON or does not fit; a `ValueError`, which lists every fault.
    """
    return _adapter(kind).validate_json(text)  # type: ignore[no-any-return, arg-type]


def first_fault(error: ValueError) -> str:
    """Return the first fault that `parse` found, as one line with the field's name."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors()[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else fault["msg"]


@functools.cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter  # takes a tenth of a second, which `--help` need not wait for

    return TypeAdapter(kind)
