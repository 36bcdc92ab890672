"""Children that crash, hang, or end early: each costs one result."""

import ctypes
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench.efficiency.isolation import Child, Death, Ready, call, run
from mixers.support.errors import UserError

LIMIT_S = 60.0


def obey(orders: Sequence[str]) -> Iterator[str]:
    for order in orders:
        if order == "segfault":
            ctypes.string_at(0)
        elif order == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif order == "hang":
            time.sleep(LIMIT_S)
        elif order == "exit":
            os._exit(3)
        elif order == "mistake":
            raise UserError("no such thing", hint="take another")
        elif order == "stop":
            yield f"stop {os.getpid()}"
            return
        yield f"{order} {os.getpid()}"


def show_progress(items: Sequence[int]) -> Iterator[int]:
    """As PyTorch's compiler does."""
    yield from importlib.import_module("tqdm").tqdm(items)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("segfault", "the process was killed by SIGSEGV"),
        ("kill", "the process was killed by SIGKILL, as the system does when memory runs out"),
        ("exit", "the process exited with code 3"),
        ("hang", "no result within 3 s; the process was killed"),
    ],
)
def test_what_kills_a_child_costs_one_result(order: str, reason: str) -> None:
    call(os.getpid)  # the server is up
    one, two, death, three, four = run(obey, ["one", "two", order, "three", "four"], limit_s=3)
    assert death == Death(reason=reason)
    assert [str(outcome).split()[0] for outcome in (one, two, three, four)] == ["one", "two", "three", "four"]
    pids = [str(outcome).split()[1] for outcome in (one, two, three, four)]
    assert pids[0] == pids[1] != pids[2] == pids[3]
    assert str(os.getpid()) not in pids


def prepared(orders: Sequence[str]) -> Iterator[str | Ready]:
    yield Ready()
    yield from obey(orders)


def test_a_child_can_be_assigned_other_work() -> None:
    child: Child[str, str] = Child(prepared, ["one", "two"])
    assert child.ready(limit_s=LIMIT_S) == Ready()
    before = list(child.results(limit_s=LIMIT_S))
    assert child.is_alive
    child.assign(prepared, ["three"])
    assert child.ready(limit_s=LIMIT_S) == Ready()
    after = list(child.results(limit_s=LIMIT_S))
    assert [str(outcome).split()[0] for outcome in before + after] == ["one", "two", "three"]
    assert len({str(outcome).split()[1] for outcome in before + after}) == 1

    child.assign(prepared, ["kill"])
    assert child.ready(limit_s=LIMIT_S) == Ready()
    assert list(child.results(limit_s=LIMIT_S)) == [
        Death(reason="the process was killed by SIGKILL, as the system does when memory runs out")
    ]
    assert not child.is_alive


def test_a_child_may_ask_for_a_fresh_one() -> None:
    outcomes = [str(outcome) for outcome in run(obey, ["one", "stop", "two"], limit_s=LIMIT_S)]
    assert [outcome.split()[0] for outcome in outcomes] == ["one", "stop", "two"]
    assert outcomes[0].split()[1] == outcomes[1].split()[1] != outcomes[2].split()[1]


def test_a_mistake_of_the_user_s_reaches_the_parent() -> None:
    outcomes = run(obey, ["one", "mistake", "two"], limit_s=LIMIT_S)
    assert str(next(outcomes)).startswith("one")
    with pytest.raises(UserError, match="no such thing") as caught:
        next(outcomes)
    assert caught.value.hint == "take another"


def test_a_child_goes_when_nobody_listens() -> None:
    outcomes = run(obey, ["one", "hang"], limit_s=LIMIT_S)
    pid = int(str(next(outcomes)).split()[1])
    assert isinstance(outcomes, Iterator)
    outcomes.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def obey_when_asked(orders: Sequence[str]) -> Iterator[str | Ready]:
    for order in orders:
        if order == "die early":
            os._exit(3)
    yield Ready(note={"pid": os.getpid()})
    yield from obey(orders)


def test_a_child_that_is_ready_waits_for_its_turn() -> None:
    children: list[Child[str, str]] = [Child(obey_when_asked, ["one", "two"]) for _ in range(2)]
    notes = [child.ready(limit_s=LIMIT_S) for child in children]
    for child, note in reversed(list(zip(children, notes, strict=True))):
        assert isinstance(note, Ready)
        assert list(child.results(limit_s=LIMIT_S)) == [f"{order} {note.note['pid']}" for order in ("one", "two")]


def test_a_fresh_child_goes_on_after_one_that_was_ready() -> None:
    orders = ["one", "kill", "two"]
    first: Child[str, str] = Child(obey_when_asked, orders)
    ready = first.ready(limit_s=LIMIT_S)
    assert isinstance(ready, Ready)
    one, death, two = run(obey, orders, limit_s=LIMIT_S, first=first)
    assert one == f"one {ready.note['pid']}"
    assert isinstance(death, Death)
    assert str(two).startswith("two ")


def test_a_child_that_dies_before_it_is_ready() -> None:
    child: Child[str, str] = Child(obey_when_asked, ["die early"])
    assert child.ready(limit_s=LIMIT_S) == Death(reason="the process exited with code 3")
    child.kill()


def test_a_child_that_is_not_ready_in_time() -> None:
    child: Child[str, str] = Child(obey, ["hang"])
    assert child.ready(limit_s=0.1) == Death(reason="no result within 0.1 s; the process was killed")
    child.kill()


def test_ctrl_c_in_a_terminal_reaches_the_parent_alone() -> None:
    """Compilers that a child starts would die of it, even where the child does not."""
    assert call(os.getpgrp) != os.getpgrp()


def start_a_compiler(items: Sequence[int]) -> Iterator[int]:
    for _ in items:
        yield subprocess.Popen(["sleep", "60"]).pid


def test_a_child_that_is_killed_takes_with_it_what_it_started() -> None:
    child: Child[int, int] = Child(start_a_compiler, [1])
    (compiler,) = child.results(limit_s=LIMIT_S)
    assert isinstance(compiler, int)
    status = Path(f"/proc/{compiler}/stat")
    assert status.exists()
    child.kill()
    end = time.monotonic() + LIMIT_S
    while status.exists() and " Z " not in status.read_text() and time.monotonic() < end:
        time.sleep(0.01)
    assert not status.exists() or " Z " in status.read_text()


def test_a_child_that_is_killed_leaves_nothing_to_complain_of() -> None:
    pytest.importorskip("tqdm")
    program = (
        "from bench.efficiency.isolation import run; from tests.efficiency.test_isolation import show_progress; "
        "print(list(run(show_progress, [1, 2], limit_s=60)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[1, 2]\n"
    assert "leaked" not in done.stderr


def test_children_start_fast() -> None:
    """They are forked from a process that has imported PyTorch, which alone takes seconds."""
    call(os.getpid)

    def started_s() -> float:
        began = time.perf_counter()
        assert call(torch_is_loaded)
        return time.perf_counter() - began

    assert min(started_s() for _ in range(5)) < 1.0  # a busy machine delays some, but not all


def torch_is_loaded() -> bool:
    return "torch" in sys.modules
