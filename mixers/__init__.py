"""What is measured: one file a mixer, found by its file name, and plug-ins. Importing this package imports no torch."""

import contextlib
import importlib
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from mixers.support import plugins
from mixers.support.errors import UserError, unknown_name

if TYPE_CHECKING:
    from mixers.base import Mixer

GROUPS = ("all", "paper", "linear", "attention")  # names for several mixers, which `expand` takes

_CONTRACT = ("base",)  # the module of this folder that is no mixer

JOIN = "+"  # between the mixers of a hybrid, which take turns as the blocks of a stack

_files: dict[str, Path] = {}  # the plug-ins of this process that are single files


def names() -> list[str]:
    """Return the names of all mixers, in alphabetical order, without importing any."""
    return sorted({*_ours(), *plugins.installed(), *_files})


def use_files(paths: Iterable[Path]) -> None:
    """Let these files be mixers in this process, each by its name without the ending, and no files named before.

    Raises:
        UserError: A file is missing, its name is no name for a mixer, or another mixer has this name.
    """
    _files.clear()
    for path in paths:
        add_file(path)


def add_file(path: Path) -> None:
    """Let one more file be a mixer in this process. A file that was added before is taken once.

    Raises:
        UserError: As `use_files`.
    """
    name = path.stem
    if path.is_dir():
        raise UserError(f"{path} is a folder", hint="Give a Python file with one mixer: --plugin my_mixer.py")
    if not path.is_file():
        raise UserError(f"no such plug-in: {path}", hint="Give a Python file with one mixer: --plugin my_mixer.py")
    if path.suffix != ".py" or not name.isidentifier():
        raise UserError(f"{path.name} gives no name for a mixer", hint="Name it in letters, digits and _: my_mixer.py")
    if name in _files and _files[name].exists() and path.samefile(_files[name]):
        return
    holder = "sbench itself" if name in _ours() else "a group of sbench" if name in GROUPS else ""
    holder = holder or " and ".join(map(plugins.distribution, plugins.installed().get(name, [])))
    holder = holder or (str(_files[name]) if name in _files else "")
    if holder:
        raise UserError(f"{path}: {holder} has the name {name} already", hint="Give the file another name.")
    _files[name] = path.absolute()


def files() -> tuple[Path, ...]:
    """Return the files that are mixers in this process, for `use_files` in another one."""
    return tuple(_files.values())


def parts(name: str) -> list[str]:
    """Return the mixers of a hybrid, ``kda+sa``, in the order of its blocks; otherwise the mixer alone."""
    return name.split(JOIN)


def plugin(name: str) -> plugins.Plugin | None:
    """Return where a third party's mixer comes from; None for our own, and for a hybrid, whose `parts` come apart."""
    if name in _files:
        return plugins.Plugin(mixer=name, origin=plugins.origin_of(_files[name]), file=str(_files[name]))
    if name in _ours() or name not in plugins.installed():
        return None
    return plugins.Plugin(mixer=name, origin=" and ".join(map(plugins.distribution, plugins.installed()[name])))


def load(name: str) -> "type[Mixer]":
    """Return the class of the mixer with this name. What its file prints while it is loaded goes to standard error.

    Args:
        name: A mixer, or two for a hybrid: ``kda+sa``.

    Raises:
        UserError: No mixer has this name, or it names no two different mixers.
        ImportError: The mixer is unavailable. A library may be missing, or the file may be no complete mixer.
    """
    if JOIN in name:
        return _load_hybrid(name)
    if name not in names():
        raise unknown_name("mixer", name, names())
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is the command's, which may print JSON
            mixer = _the_mixer_of(_import(name))
            missing = mixer.missing()
    except ImportError:
        raise
    except (Exception, SystemExit) as error:  # somebody's file may raise anything, and must break no other mixer
        raise ImportError(f"{type(error).__name__}: {error}") from error
    if missing:
        raise ImportError(f"{mixer.__name__} lacks {', '.join(missing)}")
    mixer.registered_as = name
    return mixer


def _load_hybrid(name: str) -> "type[Mixer]":
    both = parts(name)
    if len(both) != len(set(both)) or len(both) > 2:
        raise UserError(f"{name} is no hybrid of two mixers", hint="It has a block of each, for instance kda+sa.")
    from mixers.stack.hybrid import combine

    return combine(*map(load, both))


def require(name: str) -> "type[Mixer]":
    """Return the class of a mixer that a user asks for.

    Raises:
        UserError: No mixer has this name, or it is unavailable.
    """
    if JOIN in name:
        for each in parts(name):
            require(each)
    try:
        return load(name)
    except ImportError as error:
        of = plugin(name)
        place = f"mixers/{name}.py" if of is None else of.file or of.origin
        raise UserError(f"{name} is unavailable: {error}", hint=f"Install what it needs, or mend {place}.") from None


def unavailable() -> dict[str, str]:
    """Return the reason for each mixer that cannot be loaded: a missing library, or a mistake in its file."""
    reasons = {}
    for name in names():
        try:
            load(name)
        except ImportError as error:
            reasons[name] = str(error)
    for name in plugins.installed().keys() & set(_ours()):
        for entry in plugins.installed()[name]:
            reasons[f"{name} of {plugins.distribution(entry)}"] = f"sbench itself has a mixer {name}"
    return reasons


def available() -> list[str]:
    """Return the mixers whose libraries are installed, in the order of publication, as in the paper."""
    missing = unavailable()
    return sorted((name for name in names() if name not in missing), key=lambda name: load(name).arxiv)


def expand(chosen: Iterable[str]) -> list[str]:
    """Return names of mixers, each once: those chosen, and for a name of `GROUPS` the available mixers in it.

    Args:
        chosen: Mixers, perhaps with an implementation, such as ``kda/reference``, hybrids, and groups.

    Raises:
        UserError: A name is neither a mixer nor a group.
    """
    found: dict[str, None] = {}
    for name in chosen:
        if name in GROUPS:
            found |= dict.fromkeys(each for each in available() if name == "all" or name in load(each).groups)
        else:
            for each in parts(name.partition("/")[0]):
                if each not in names():
                    groups = GROUPS if name == each else ()  # a group has no implementation
                    raise unknown_name("mixer", each, [*names(), *groups])
            found[name] = None
    return list(found)


def _ours() -> list[str]:
    return [each.name for each in pkgutil.iter_modules(__path__) if not each.ispkg and each.name not in _CONTRACT]


def _import(name: str) -> object:
    """Return the module or the class of a mixer."""
    if name in _files:
        return plugins.load_file(_files[name])
    if name in _ours():
        return importlib.import_module(f"mixers.{name}")
    entry, *others = plugins.installed()[name]
    if others:
        owners = " and ".join(map(plugins.distribution, (entry, *others)))
        raise ImportError(f"{owners} both have a mixer of this name; uninstall one")
    if not name.isidentifier() or name in GROUPS:
        raise ImportError("its entry point needs a name of letters, digits and _ that is no group's")
    return entry.load()


def _the_mixer_of(found: object) -> "type[Mixer]":
    """Return the mixer that a module defines, or the class itself.

    Raises:
        ImportError: There is not exactly one.
    """
    from mixers.base import Mixer

    if not isinstance(found, ModuleType):
        if not (isinstance(found, type) and issubclass(found, Mixer)):
            raise ImportError(f"its entry point names {found!r}, which is no subclass of Mixer")
        return found
    defined = [
        value
        for value in vars(found).values()
        if isinstance(value, type) and issubclass(value, Mixer) and value.__module__ == found.__name__
    ]
    if len(defined) != 1:
        raise ImportError(f"its file defines {len(defined)} subclasses of Mixer, not one")
    return defined[0]
