"""What an error of a library says: in one line, whether memory ran out, and how much was asked for."""

import re

import torch

_LONGEST_DESCRIPTION = 400  # characters

# PyTorch's words: "Tried to allocate 11.92 GiB" on a GPU, "you tried to allocate 12800000000 bytes" on a host.
_REQUEST = re.compile(r"tried to allocate ([\d.]+) (bytes|KiB|MiB|GiB)", re.IGNORECASE)
_UNITS_GIB = {"bytes": 2**-30, "KiB": 2**-20, "MiB": 2**-10, "GiB": 1.0}


def describe(error: BaseException) -> str:
    """Return the type and the first line of an error."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:_LONGEST_DESCRIPTION]


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an allocation failed, on a GPU or on the host."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def requested_gib(message: str) -> float | None:
    """Return the allocation that failed, in GiB, from PyTorch's message; None if the message does not say."""
    found = _REQUEST.search(message)
    return float(found[1]) * _UNITS_GIB[found[2]] if found else None
