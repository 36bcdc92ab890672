"""Runs work in child processes: what kills a child costs one result, and not the sweep.

Children are forked from a server that has imported PyTorch once and has not touched a GPU, so each starts in
milliseconds and with a CUDA context of its own.
"""

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from mixers.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

# What takes seconds to import and initialises no GPU. Where there is one, that includes what flash-linear-attention
# imports, though not the library itself, which asks the GPU for its name at once.
_PRELOADED = ["bench.efficiency.worker"]
_PRELOADED_FOR_GPUS = ["torch._dynamo", "transformers"]

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Death:
    """In place of a result: why the child that worked on the item ended."""

    reason: str


def run(
    work: Callable[[Sequence[Item]], Iterable[Result]], items: Sequence[Item], *, limit_s: float
) -> Iterator[Result | Death]:
    """Let a child work on the items, and another one on the rest whenever one dies or stops early.

    Args:
        work: Yields one result an item, in order; it and all it is given and gives must be picklable. Where it stops
            after some results, a fresh child does the rest.
        items: What is to be worked on.
        limit_s: Seconds that one result may take; a child that takes longer is killed.

    Yields:
        For each item its result, or how its child died.

    Raises:
        UserError: The work raised it.
    """
    remaining = list(items)
    while remaining:
        before = len(remaining)
        for outcome in _until_it_ends(work, tuple(remaining), limit_s=limit_s):
            remaining.pop(0)
            yield outcome
        if len(remaining) == before:
            raise RuntimeError(f"{work} gave no result for {remaining[0]}")


def start_server() -> None:
    """Start the server that children are forked from, if it does not run; it imports what it needs meanwhile."""
    # CUDA, once asked for its devices, is of no use in a fork: this makes PyTorch ask the driver's library instead.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    on_gpu = Path("/proc/driver/nvidia").exists()
    forkserver.set_forkserver_preload(_PRELOADED + (_PRELOADED_FOR_GPUS if on_gpu else []))
    forkserver.ensure_running()


def call(function: Callable[..., Result], *arguments: Any, limit_s: float = 600.0) -> Result:
    """Return what a function returns in a child.

    Raises:
        UserError: The function raised it.
        RuntimeError: The child died.
    """
    (outcome,) = run(partial(_once, function, arguments), [None], limit_s=limit_s)
    if isinstance(outcome, Death):
        raise RuntimeError(outcome.reason)
    return outcome


def _once(function: Callable[..., Result], arguments: Sequence[Any], _: object) -> Iterator[Result]:
    yield function(*arguments)


def _until_it_ends(
    work: Callable[[Sequence[Item]], Iterable[Result]], items: Sequence[Item], *, limit_s: float
) -> Iterator[Result | Death]:
    """Yield what one child gives, and last how it died if it did."""
    start_server()
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_serve, args=(sender, os.getcwd(), work, items), daemon=True)
    child.start()
    sender.close()
    try:
        for _ in items:
            if not receiver.poll(limit_s):
                yield Death(reason=f"no result within {limit_s:g} s; the process was killed")
                return
            try:
                outcome = receiver.recv()
            except EOFError:
                child.join()
                if child.exitcode:
                    yield Death(reason=_cause(child.exitcode))
                return
            if isinstance(outcome, UserError):
                raise outcome
            yield outcome
    finally:
        child.kill()
        child.join()
        receiver.close()


def _serve(
    connection: Connection, folder: str, work: Callable[[Sequence[Item]], Iterable[Result]], items: Sequence[Item]
) -> None:
    """Be the child: send every result the moment it exists."""
    os.chdir(folder)  # the server stays where it was started
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # the server dies with the parent, and this with it
    try:
        for result in work(items):
            connection.send(result)
    except UserError as error:
        connection.send(error)


def _cause(exit_code: int) -> str:
    """Return in words what a process died of."""
    if exit_code > 0:
        return f"the process exited with code {exit_code}"
    name = signal.Signals(-exit_code).name
    hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"the process was killed by {name}{hint}"
