"""What is measured: one file a mixer, found by its file name. Importing this package imports no torch."""

import importlib
import pkgutil
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mixers.support.errors import unknown_name

if TYPE_CHECKING:
    from mixers.base import Mixer

GROUPS = ("all", "paper", "linear", "attention")  # names for several mixers, which `expand` takes

_CONTRACT = ("base", "stack")  # the modules of this folder that are no mixers


def names() -> list[str]:
    """Return the names of all mixers, in alphabetical order, without importing any."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg and m.name not in _CONTRACT)


def load(name: str) -> "type[Mixer]":
    """Return the class of the mixer with this name.

    Raises:
        UserError: No mixer has this name.
        ImportError: The mixer is unavailable. A library may be missing, or the file may be no complete mixer.
    """
    if name not in names():
        raise unknown_name("mixer", name, names())
    from mixers.base import Mixer

    try:
        module = importlib.import_module(f"mixers.{name}")
    except ImportError:
        raise
    except Exception as error:  # a file in this folder may raise anything, and must break no other mixer
        raise ImportError(f"{type(error).__name__}: {error}") from error
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Mixer) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ImportError(f"its file defines {len(found)} subclasses of Mixer, not one")
    (mixer,) = found
    if missing := mixer.missing():
        raise ImportError(f"{mixer.__name__} lacks {', '.join(missing)}")
    return mixer


def unavailable() -> dict[str, str]:
    """Return the reason for each mixer that cannot be loaded: a missing library, or a mistake in its file."""
    reasons = {}
    for name in names():
        try:
            load(name)
        except ImportError as error:
            reasons[name] = str(error)
    return reasons


def available() -> list[str]:
    """Return the mixers whose libraries are installed, in the order of publication, as in the paper."""
    missing = unavailable()
    return sorted((name for name in names() if name not in missing), key=lambda name: load(name).arxiv)


def expand(chosen: Iterable[str]) -> list[str]:
    """Return names of mixers, each once: those chosen, and for a name of `GROUPS` the available mixers in it.

    Args:
        chosen: Mixers, perhaps with an implementation, such as ``kda/reference``, and groups.

    Raises:
        UserError: A name is neither a mixer nor a group.
    """
    found: dict[str, None] = {}
    for name in chosen:
        if name in GROUPS:
            found |= dict.fromkeys(each for each in available() if name == "all" or name in load(each).groups)
        elif (mixer := name.partition("/")[0]) in names():
            found[name] = None
        else:
            raise unknown_name("mixer", mixer, [*names(), *GROUPS])
    return list(found)
