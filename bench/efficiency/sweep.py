"""A sweep: every contestant at every length, each record on disk the moment it exists."""

import contextlib
import dataclasses
import multiprocessing.connection
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench.audio import check_recordings, find_recordings
from bench.efficiency import isolation, worker
from bench.efficiency.inputs import EncodedSpeech, Input, RandomFeatures, StoredFeatures, store, stored_at
from bench.efficiency.records import Record, Samples
from bench.efficiency.settings import Case, Plan
from bench.efficiency.store import Header, append_record, mend, read_header, start
from bench.efficiency.worker import Task
from bench.encoders import load_encoder
from bench.environment import choose_device, environment
from bench.files import resume_command
from mixers import autotuning
from mixers.base import MixerConfig
from mixers.support.errors import UserError
from mixers.support.precision import DTYPES

# One case, compiling and autotuning included: on a GPU without prepared configurations a first case takes minutes.
CASE_LIMIT_S = 1800.0

# All cases of a contestant once, with the search for kernel configurations where none is prepared.
PREPARATION_LIMIT_S = 3600.0

Outcome = tuple[Record, Samples | None]


def begin_folder(plan: Plan, folder: Path) -> None:
    """Make the folder of a new sweep on this machine.

    Raises:
        UserError: It exists or cannot be written.
    """
    start(Header(plan=plan, environment=isolation.call(environment, plan.device_type)), folder)


def resume(folder: Path, *, allow_mixed: bool = False) -> tuple[Plan, list[Record]]:
    """Return the plan of a sweep that was interrupted and what it has measured, its folder mended.

    Args:
        folder: The sweep's.
        allow_mixed: Whether to continue under other conditions than it began with; each record says which they were,
            but for the driver and the code.

    Raises:
        UserError: The folder is not a sweep's or cannot be written, or this is another machine, library or code than it
            began with.
    """
    header = read_header(folder)
    choose_device(header.plan.device_type)
    changed = header.changes(isolation.call(environment, header.plan.device_type))
    if changed and not allow_mixed:
        raise UserError(
            f"{folder} was measured under other conditions: {'; '.join(changed)}",
            hint="Start a new sweep, or mix the two with --allow-mixed.",
        )
    return header.plan, mend(folder)


class Rested:
    """Processes that have measured what they were to, for the parts of a sweep that follow.

    Importing a mixer's library and making a context on the GPU takes far longer than a case.
    """

    def __init__(self) -> None:
        self._children: dict[object, isolation.Child[float, Outcome]] = {}

    def __enter__(self) -> "Rested":
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children.values():
            child.kill()
        self._children.clear()

    def add(self, task: Task, child: isolation.Child[float, Outcome]) -> None:
        """Take over a process."""
        self._children[_kind(task)] = child

    def take(self, tasks: Iterable[Task]) -> dict[Task, isolation.Child[float, Outcome]]:
        """Return those that can go on with tasks, and end the others."""
        taken = {task: child for task in tasks if (child := self._children.pop(_kind(task), None)) and child.rests}
        self.__exit__()
        return taken


def _kind(task: Task) -> object:
    """Return what a process cannot change: the library that it has imported, and the precision that it began with."""
    return task.contestant.name, task.contestant.setting.precision


def make_input(plan: Plan, scratch: Path) -> Input:
    """Return what the plan feeds the mixers.

    Recordings are encoded at all lengths here, in a process of their own, so that neither the time nor the memory of
    the encoder is near what is measured.

    Args:
        plan: What is to be measured.
        scratch: An empty folder for the features.

    Raises:
        UserError: The recordings or the encoder are not there, or one cannot be read.
    """
    if plan.audio is None:
        return RandomFeatures(width=MixerConfig().width, seed=plan.seed, device=plan.device_type)
    description = ""
    encoding = isolation.run(
        partial(store, make=partial(_encoded_speech, plan), folder=scratch), plan.seconds, limit_s=CASE_LIMIT_S
    )
    for seconds, outcome in zip(plan.seconds, encoding, strict=True):
        if isinstance(outcome, isolation.Death):
            torch.save(f"the encoder failed: {outcome.reason}", stored_at(scratch, seconds))
        else:
            description = outcome
    return StoredFeatures(folder=scratch, description=description or f"{plan.audio} through {plan.encoder}")


def _encoded_speech(plan: Plan) -> EncodedSpeech:
    assert plan.audio is not None
    assert plan.encoder is not None
    precisions = {contestant.setting.precision for contestant in plan.contestants}
    recordings = find_recordings(Path(plan.audio))
    check_recordings(recordings)
    encoder = load_encoder(
        plan.encoder,
        width=MixerConfig().width,
        device=plan.device_type,
        dtype=DTYPES[precisions.pop() if len(precisions) == 1 else "float32"],
        seed=plan.seed,
    )
    return EncodedSpeech(recordings=recordings, encoder=encoder, seed=plan.seed)


class Sweep:
    """A sweep in one setting at work: what is not done yet is measured and recorded, a contestant after the other.

    On a GPU a process for each contestant is started at once, and all compile side by side, since that takes minutes
    one after the other; then one at a time measures, while the others rest. On a CPU they would be in each other's
    way, so each is started when it is its turn.
    """

    def __init__(self, plan: Plan, source: Input, folder: Path, *, done: Sequence[Record], rested: Rested) -> None:
        """Find out what is to be done.

        Args:
            plan: What the sweep measures; a part of a plan, where that has several settings.
            source: Where the sequences come from.
            folder: Where the records go.
            done: Records that are there already.
            rested: Processes of the parts before, which on a GPU go on with this one, and then with the next.
        """
        self._plan = plan
        self._rested = rested
        self._folder = folder
        self._began = time.perf_counter()
        finished = {record.case for record in done}
        self._missing: dict[Task, tuple[float, ...]] = {}
        for each in plan.contestants:
            missing = tuple(
                length
                for length in plan.seconds
                if Case(name=each.name, setting=each.setting, seconds=length) not in finished
            )
            if missing:
                self._missing[Task(contestant=each, plan=plan, source=source)] = missing
        self._children: dict[Task, isolation.Child[float, Outcome]] = {}
        self._spent: dict[Task, isolation.Child[float, Outcome]] = {}

    @property
    def unfinished(self) -> list[str]:
        """Names of the contestants of which a case is missing."""
        return [task.contestant.name for task in self._missing]

    @property
    def _device(self) -> str:
        """The processor's name."""
        return str(read_header(self._folder).environment["device"])

    def __enter__(self) -> "Sweep":
        if self._plan.device_type == "cuda":
            rested = self._rested.take(self._missing)
            for task, lengths in self._missing.items():
                work = partial(worker.measure, task=task, prepare=True, alone=False)
                if task in rested:
                    rested[task].give(work, lengths)
                self._children[task] = rested.get(task) or isolation.Child(work, lengths)
        return self

    def __exit__(self, *_: object) -> None:
        for child in (*self._children.values(), *self._spent.values()):
            child.kill()

    def prepare(self) -> Iterator[str]:
        """Wait until every contestant has compiled, where that is done ahead; yield the name of each that is ready."""
        waiting = {child.connection: task for task, child in self._children.items()}
        while waiting:
            talking = multiprocessing.connection.wait(list(waiting), timeout=PREPARATION_LIMIT_S)
            for connection in [each for each in waiting if each in talking or not talking]:
                task = waiting.pop(connection)
                answer = self._children[task].ready(limit_s=0)
                if isinstance(answer, isolation.Death):
                    self._children.pop(task).kill()  # the case that it died of will say so
                elif answer.note:
                    self._save(answer.note)
                yield task.contestant.name

    def measure(self) -> Iterator[Record]:
        """Measure what is not done yet, and yield each record once it is on disk.

        A case that runs out of memory while other processes of the sweep are alive is measured again when they are
        gone, at the end.

        Raises:
            UserError: A record cannot be written, for instance because the disk is full.
        """
        crowded: dict[Task, list[float]] = {}
        sound = set(self._missing)
        for position, (task, lengths) in enumerate(self._missing.items()):
            child = self._children.pop(task, None)
            alone = child is None and not self._children and not self._spent
            self._spent |= {task: child} if child else {}
            budgeted = dataclasses.replace(task, time_budget_s=self._share(position))
            for record, samples in self._outcomes(budgeted, lengths, alone=alone, first=child):
                if record.status in ("oom", "failed"):
                    sound.discard(task)  # its process may have lost its context on the GPU
                if record.status == "oom" and not alone:
                    crowded.setdefault(task, []).append(record.seconds)
                else:
                    yield self._keep(record, samples)
        if not crowded:
            for task in sound & self._spent.keys():
                self._rested.add(task, self._spent.pop(task))
        for child in self._spent.values():
            child.kill()
        for task, remaining in crowded.items():
            for record, samples in self._outcomes(task, remaining, alone=True):
                yield self._keep(record, samples)

    def _outcomes(
        self,
        task: Task,
        lengths: Sequence[float],
        *,
        alone: bool,
        first: isolation.Child[float, Outcome] | None = None,
    ) -> Iterator[Outcome]:
        work = partial(worker.measure, task=task, alone=alone)
        outcomes = isolation.run(work, lengths, limit_s=CASE_LIMIT_S, first=first)
        for length, outcome in zip(lengths, outcomes, strict=True):
            if isinstance(outcome, isolation.Death):
                outcome = worker.lost(length, outcome.reason, task=task, device=self._device), None
            yield outcome

    def _share(self, position: int) -> float | None:
        """Return the wall time that the contestant at this position may take, an even share of what is left."""
        if self._plan.time_budget_s is None:
            return None
        left = self._plan.time_budget_s - (time.perf_counter() - self._began)
        return left / (len(self._missing) - position)

    def _keep(self, record: Record, samples: Samples | None) -> Record:
        try:
            append_record(self._folder, record, samples)
        except OSError as error:
            hint = f"What was measured before is kept. Make room, then: {resume_command('sweep', self._folder)}"
            raise UserError(f"{self._folder} cannot be written: {error.strerror}", hint=hint) from None
        return record

    def _save(self, found: dict[str, Any]) -> None:
        """Keep the kernel configurations that a contestant had to find, for next time."""
        with contextlib.suppress(OSError):  # then the next sweep finds them again
            full_float32 = self._plan.contestants[0].setting.precision == "float32"
            autotuning.merge(found, autotuning.saved(self._device, full_float32=full_float32))
