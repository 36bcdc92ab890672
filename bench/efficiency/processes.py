"""The processes of a sweep on a GPU, one for each contestant.

All are started at once and compile side by side, since one after the other that takes minutes. Then one at a time
measures. A process that has measured in one setting can do so in the next one, because importing a mixer's library and
making a context on the GPU take far longer than a case.
"""

import multiprocessing.connection
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

from bench.efficiency import isolation, worker
from bench.efficiency.samples import Measurement
from bench.efficiency.task import Task

ContestantProcess = isolation.Child[float, Measurement]

# All cases of a contestant once, with the search for kernel configurations if none is prepared.
PREPARATION_LIMIT_S = 3600.0


class Processes:
    """The live processes of a sweep; all are killed at the end of the ``with`` block."""

    def __init__(self) -> None:
        self._waiting: dict[Task, ContestantProcess] = {}  # compiling, or waiting for their turn to measure
        self._used: dict[Task, ContestantProcess] = {}  # have had their turn in this setting
        self._idle: dict[object, ContestantProcess] = {}  # by `_kind`, kept for the next setting

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        _kill(self._waiting, self._used, self._idle)

    def start(self, lengths: Mapping[Task, Sequence[float]]) -> None:
        """Let a process prepare each task: a suitable idle one, otherwise a new one. End the other idle ones.

        Args:
            lengths: Seconds, for each task.
        """
        idle, self._idle = self._idle, {}
        suitable = {task: child for task in lengths if (child := idle.pop(_kind(task), None)) and child.is_alive}
        _kill(idle)
        for task, seconds in lengths.items():
            work = partial(worker.measure, task=task, prepare=True, alone=False)
            if task in suitable:
                suitable[task].assign(work, seconds)
            self._waiting[task] = suitable.get(task) or isolation.Child(work, seconds)

    def wait_until_prepared(self) -> Iterator[tuple[Task, isolation.Ready | isolation.Death]]:
        """Yield each task once its process is prepared or has died."""
        waiting = {child.connection: task for task, child in self._waiting.items()}
        while waiting:
            talking = multiprocessing.connection.wait(list(waiting), timeout=PREPARATION_LIMIT_S)
            for connection in [each for each in waiting if each in talking or not talking]:
                task = waiting.pop(connection)
                answer = self._waiting[task].ready(limit_s=0)
                if isinstance(answer, isolation.Death):
                    self._waiting.pop(task).kill()  # a fresh process will record the case that killed this one
                yield task, answer

    def take(self, task: Task) -> ContestantProcess | None:
        """Return the prepared process of a task whose turn it is; None if it has none."""
        child = self._waiting.pop(task, None)
        if child:
            self._used[task] = child
        return child

    @property
    def any_alive(self) -> bool:
        """Whether a process of this setting may be alive."""
        return bool(self._waiting or self._used)

    def keep(self, tasks: Collection[Task]) -> None:
        """Keep the processes of these tasks for the next setting, and end all others that have had their turn."""
        for task in [each for each in self._used if each in tasks]:
            self._idle[_kind(task)] = self._used.pop(task)
        _kill(self._used)


def _kind(task: Task) -> object:
    """Return what a process cannot change: its number, the library it has imported, the precision it began with."""
    return task.process, task.contestant.name, task.contestant.setting.precision


def _kill(*groups: dict[Task, ContestantProcess] | dict[object, ContestantProcess]) -> None:
    for group in groups:
        for child in group.values():
            child.kill()
        group.clear()
