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


@functools.cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter  # takes a tenth of a second, which `--help` need not wait for

    return TypeAdapter(kind)
