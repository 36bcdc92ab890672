"""Mixers of third parties: in installed packages, and in single files. Imports no torch.

A package names its mixers in the entry-point group ``sbench.mixers``: each a module with one mixer, or its class.
"""

import functools
import hashlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "sbench.mixers"

_DIGITS = 12  # of a digest, as of the digest of this suite's code


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A mixer of a third party.

    Attributes:
        mixer: Its name: that of its entry point, or of its file without the ending.
        origin: Distribution and version: ``sbench-lru 0.2``. For a file, its name and the digest of its text:
            ``lru.py sha256:0123456789ab``.
        file: Path of the file; None for an installed package.
    """

    mixer: str
    origin: str
    file: str | None = None


@functools.cache
def installed() -> "dict[str, list[EntryPoint]]":
    """Return the mixers of installed packages by name. The packages are looked through once."""
    from importlib.metadata import entry_points  # its import takes longer than the rest of this package

    found: dict[str, list[EntryPoint]] = {}
    for each in entry_points(group=GROUP):
        found.setdefault(each.name, []).append(each)
    return found


def distribution(entry: "EntryPoint") -> str:
    """Return the name and the version of an entry point's distribution."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def origin_of(path: Path) -> str:
    """Return the name of a file and the digest of its text.

    Raises:
        OSError: It cannot be read.
    """
    return f"{path.name} sha256:{_digest(path.read_bytes())}"


def load_file(path: Path) -> ModuleType:
    """Return the module of a file. It runs when it is loaded for the first time, and when its text has changed.

    Raises:
        Exception: Whatever the file raises.
    """
    text = path.read_bytes()
    name = f"sbench_plugin_{path.stem}_{_digest(text)}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(compile(text, path, "exec"), vars(module))  # exactly the text that its digest is of
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:_DIGITS]
