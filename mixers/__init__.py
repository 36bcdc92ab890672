"""What is measured: one file a mixer, found by its file name. Importing this package imports no torch."""

import importlib
import pkgutil
from typing import TYPE_CHECKING

from mixers.support.errors import unknown_name

if TYPE_CHECKING:
    from mixers.base import Mixer

_NOT_MIXERS = {"base", "stack"}


def names() -> list[str]:
    """Return the names of all mixers, in alphabetical order, without importing any."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg and m.name not in _NOT_MIXERS)


def load(name: str) -> "type[Mixer]":
    """Return the class of the mixer with this name.

    Raises:
        UserError: No mixer has this name.
        ImportError: A library that the mixer's file imports is missing.
    """
    if name not in names():
        raise unknown_name("mixer", name, names())
    module = importlib.import_module(f"mixers.{name}")
    from mixers.base import Mixer

    (mixer,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Mixer) and value.__module__ == module.__name__
    )
    return mixer


def unavailable() -> dict[str, str]:
    """Return the mixers whose file cannot be imported, with the reason: a library that is missing."""
    reasons = {}
    for name in names():
        try:
            load(name)
        except ImportError as error:
            reasons[name] = str(error)
    return reasons
