"""Runs work in child processes, so that what kills a child costs one result and not the sweep.

Children are forked from a server that has imported PyTorch once and has not touched a GPU, so each starts in
milliseconds and with a CUDA context of its own.
"""

import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

import mixers
from mixers.support.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1

_END_LIMIT_S = 60.0  # from the last result of a piece of work to its end


@dataclass(frozen=True, kw_only=True)
class Death:
    """Stands in place of a result: why the child that worked on the item ended."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Ready:
    """Work may yield this before its first result: it is prepared and waits for its turn."""

    note: Any = None


Work = Callable[[Sequence[Item]], Iterable[Result | Ready]]


class Child(Generic[Item, Result]):
    """A process that works on items."""

    def __init__(self, work: Work[Item, Result], items: Sequence[Item]) -> None:
        """Start it.

        Args:
            work: Yields one result for each item, in order. It, its items and its results must be picklable.
            items: What it works on.
        """
        start_server()
        context = multiprocessing.get_context("forkserver")
        self._connection, theirs = context.Pipe()
        self._items = items
        here = os.getcwd(), mixers.files()
        self._process = context.Process(target=_serve, args=(theirs, *here, work, items), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def connection(self) -> Connection:
        """Where its messages arrive, to wait for several children at once."""
        return self._connection

    def ready(self, *, limit_s: float) -> Ready | Death:
        """Wait until its work is prepared. The work must yield ``Ready``.

        Raises:
            UserError: The work raised it.
        """
        message = self._receive(limit_s=limit_s)
        if isinstance(message, Ready | Death):
            return message
        return Death(reason="the process ended before it was ready")

    def results(self, *, limit_s: float) -> Iterator[Result | Death]:
        """Let it work; yield its results, and how it died if it did. After its results it waits for other work.

        Raises:
            UserError: The work raised it.
        """
        with contextlib.suppress(OSError):  # it has died, as the first receive will show
            self._connection.send(None)
        for _ in self._items:
            outcome = self._receive(limit_s=limit_s)
            if outcome is None:
                return
            if isinstance(outcome, Death):
                self.kill()
            yield outcome
            if isinstance(outcome, Death):
                return

    @property
    def is_alive(self) -> bool:
        """Whether the process is alive."""
        return self._process.is_alive()

    def assign(self, work: Work[Item, Result], items: Sequence[Item]) -> None:
        """Give it other work after all its results. It keeps its imports and its context on the GPU.

        Args:
            work: As for the first work.
            items: What it works on.
        """
        self._receive(limit_s=_END_LIMIT_S)  # the end of its earlier work
        self._items = items
        with contextlib.suppress(OSError):  # it has died, as the first receive will show
            self._connection.send((work, items))

    def kill(self) -> None:
        """End it at once, with the processes it has started, such as compilers."""
        if self._process.is_alive() and self._process.pid:
            with contextlib.suppress(ProcessLookupError):  # it does not lead a group yet
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _receive(self, *, limit_s: float) -> Any:
        """Return its next message, or how it died; None if its work ended well."""
        if not self._connection.poll(limit_s):
            return Death(reason=f"no result within {limit_s:g} s; the process was killed")
        try:
            outcome = self._connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            return Death(reason=_cause(self._process.exitcode)) if self._process.exitcode else None
        if isinstance(outcome, UserError):
            raise outcome
        return outcome


def run(
    work: Work[Item, Result], items: Sequence[Item], *, limit_s: float, first: Child[Item, Result] | None = None
) -> Iterator[Result | Death]:
    """Let a child work on the items. Whenever one dies or stops early, a fresh one does the rest.

    Args:
        work: Yields one result for each item, in order, and no ``Ready``. It may stop after some results.
        items: What it works on.
        limit_s: Seconds that one result may take. A child that takes longer is killed.
        first: A child that is ready to work on these items. It is left alive if it did them all, since ending a
            process takes some tenths of a second on a GPU.

    Yields:
        For each item its result, or how its child died.

    Raises:
        UserError: The work raised it.
    """
    remaining = list(items)
    while remaining:
        before = len(remaining)
        child, was_given = first or Child(work, tuple(remaining)), first is not None
        first = None
        try:
            for outcome in child.results(limit_s=limit_s):
                remaining.pop(0)
                yield outcome
        finally:
            if remaining or not was_given:
                child.kill()
        if len(remaining) == before:
            raise RuntimeError(f"{work} gave no result for {remaining[0]}")


def start_server() -> None:
    """Start the server that children are forked from, unless it runs. It imports PyTorch in the background."""
    # Once CUDA has been asked for its devices, a fork cannot use it. So PyTorch is to ask the driver's library.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    forkserver.set_forkserver_preload(["bench.efficiency.preloaded"])
    # A terminal or Slurm sends these signals to all processes at once. The command handles them and ends its children
    # itself, so the server and all children never see them. The tracker of resources starts first, since it unblocks.
    resource_tracker.ensure_running()
    old = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def call(function: Callable[..., Result], *arguments: Any, limit_s: float = 600.0) -> Result:
    """Call a function in a child and return its result.

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


def _serve(
    connection: Connection, folder: str, plugins: Sequence[Path], work: Work[Item, Result], items: Sequence[Item]
) -> None:
    """Run in the child: send every result the moment it exists."""
    os.chdir(folder)  # the server stays where it was started
    mixers.use_files(plugins)
    os.setpgid(0, 0)  # Ctrl-C in a terminal must reach the parent alone: it would kill a compiler started here
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # if the server dies, which dies with the parent
    assigned: tuple[Work[Item, Result], Sequence[Item]] | None = (work, items)
    while assigned:
        _do(connection, *assigned)
        assigned = None
        with contextlib.suppress(EOFError):  # the parent has closed the connection
            assigned = connection.recv()
        gc.unfreeze()
        gc.collect()  # what the earlier work has left
        gc.freeze()


def _do(connection: Connection, work: Work[Item, Result], items: Sequence[Item]) -> None:
    try:
        for result in work(items):
            connection.send(result)
            if isinstance(result, Ready):
                connection.recv()
        connection.send(None)
    except UserError as error:
        connection.send(error)


def _cause(exit_code: int) -> str:
    """Describe what a process died of."""
    if exit_code > 0:
        return f"the process exited with code {exit_code}"
    name = signal.Signals(-exit_code).name
    hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"the process was killed by {name}{hint}"
