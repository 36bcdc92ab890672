"""The one exception for mistakes of a user. The command line prints it and exits with code 2."""

import difflib
from collections.abc import Iterable, Sequence
from typing import TypeVar

Name = TypeVar("Name", bound=str)


class UserError(ValueError):
    """A mistake that the user can correct: one line, and a hint how."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for an unknown name, with the nearest known name as a hint.

    Args:
        kind: What was asked for, for instance ``"mixer"``.
        name: The name that was given.
        known: The names that exist.
    """
    names = list(known)
    nearest = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    guess = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return UserError(f"unknown {kind} {name!r}", hint=f"{guess}Available: {', '.join(names)}.")


def choose(kind: str, name: str, known: Sequence[Name]) -> Name:
    """Return the known name that a user gives.

    Args:
        kind: As for `unknown_name`.
        name: The name that was given.
        known: The names that exist.

    Raises:
        UserError: There is no such name.
    """
    for each in known:
        if each == name:
            return each
    raise unknown_name(kind, name, known)
