"""Imports flash-linear-attention, but for what no mixer needs of it: seconds less in every process that measures."""

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch

from mixers.autotuning.injection import use_prepared_configurations

_MODELS = "fla.models"  # language models, which import most of transformers; the library goes without them


@functools.cache
def fla_layers() -> ModuleType:
    """Import and return ``fla.layers``, with the kernel configurations prepared for this GPU in force."""
    with _taken_for_missing(_MODELS), _compiling_when_called():
        layers = importlib.import_module("fla.layers")
    use_prepared_configurations("fla")
    return layers


@contextlib.contextmanager
def _taken_for_missing(module: str) -> Iterator[None]:
    """Let importing a module fail meanwhile as if it were not installed, unless it is imported already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # which is how Python is told so
    try:
        yield
    finally:
        del sys.modules[module]


@contextlib.contextmanager
def _compiling_when_called() -> Iterator[None]:
    """Let functions that are decorated with `torch.compile` meanwhile be given to it by their first call.

    They are compiled no earlier else, but decorating them imports the compiler, and no mixer calls any.
    """
    compile_now = torch.compile

    def later(function: Callable[..., Any] | None = None, **options: Any) -> Callable[..., Any]:
        if function is None:
            return functools.partial(later, **options)
        compiled = functools.cache(lambda: compile_now(function, **options))
        return functools.wraps(function)(lambda *arguments, **named: compiled()(*arguments, **named))

    torch.compile = later  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compile = compile_now
