"""A sweep: every contestant at every length. Each record is on disk the moment it exists.

`run` is the whole of it, from top to bottom. It yields an event for each thing that a command shows.

A first process of each contestant measures everything. If single calls are to be timed in several processes, rounds
follow. In each round a fresh process of one contestant after the other times them, so that a slow minute of the host
does not fall on one contestant alone.
"""

import contextlib
import dataclasses
import itertools
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.efficiency import inputs, isolation, worker
from bench.efficiency.processes import ContestantProcess, Processes
from bench.efficiency.recording import Recorder
from bench.efficiency.records import Record
from bench.efficiency.repair import repair
from bench.efficiency.samples import Measurement
from bench.efficiency.settings import Case, Plan, Setting
from bench.efficiency.store import SWEEP_FILE, Header, append_record, append_samples, read_header, start
from bench.efficiency.task import Source, Task
from bench.environment import choose_device, environment, processor_name
from bench.files import check_new, remedy, resume_command
from bench.locking import writing
from bench.plugins import find_again, used
from mixers import autotuning
from mixers.support.errors import UserError

# One case, compiling and autotuning included: on a GPU without prepared configurations a first case takes minutes.
CASE_LIMIT_S = 1800.0


@dataclass(frozen=True, kw_only=True)
class FolderMade:
    """The folder of a new sweep exists."""


@dataclass(frozen=True, kw_only=True)
class SettingStarted:
    """The contestants of one setting come next.

    Attributes:
        setting: Their values on the axes.
        process: Which process of each of them, from 1.
        input: What the mixers are fed.
        contestants: Names of those that miss a case.
    """

    setting: Setting
    process: int
    input: str
    contestants: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A contestant has compiled, or failed to. It happens on a GPU alone, before the first case of a setting."""

    contestant: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A case has been measured, and its record or, in later processes, its samples are on disk.

    Attributes:
        record: What the process found.
    """

    record: Record


Event = FolderMade | SettingStarted | Prepared | Measured


@dataclass(frozen=True, kw_only=True)
class Interrupted:
    """What an interrupted sweep left.

    Attributes:
        header: Its plan and environment.
        records: Those it has measured.
        timed: Which cases later processes have timed, with the number of the process.
        lost: Why cases are measured again, with their number.
    """

    header: Header
    records: Sequence[Record]
    timed: frozenset[tuple[Case, int]] = frozenset()
    lost: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def done(self) -> int:
        """How many cases are measured, those of each process counted."""
        return len(self.records) + len(self.timed)


def read_interrupted(folder: Path, *, allow_mixed: bool = False) -> Interrupted:
    """Repair the folder of a sweep that was interrupted, and read it. `bench.locking.writing` keeps others out.

    Args:
        folder: The sweep's.
        allow_mixed: Whether to continue under other conditions than it began with. Each record says which they were,
            except for the driver and the code.

    Raises:
        UserError: The folder is not a sweep's or cannot be written, a plug-in is not there, or the machine, a library,
            a plug-in or the code differs from what it began with.
    """
    header = read_header(folder)
    choose_device(header.plan.device_type)
    changed = find_again(header.plan.plugins, needed_by=folder)
    changed += header.changes(isolation.call(environment, header.plan.device_type))
    if changed and not allow_mixed:
        raise UserError(
            f"{folder} was measured under other conditions: {'; '.join(changed)}",
            hint="Start a new sweep, or mix the two with --allow-mixed.",
        )
    whole = repair(folder)
    timed = frozenset((each.case, each.process) for each in whole.samples if each.process > 1)
    return Interrupted(header=header, records=whole.records, timed=timed, lost=whole.lost)


def run(plan: Plan, folder: Path, *, interrupted: Interrupted | None = None) -> Generator[Event, None, None]:
    """Measure what is not measured yet; yield what happens.

    Close the iterator to end the sweep early: that ends its processes.

    Args:
        plan: What is measured.
        folder: Where it is recorded: a new folder, or that of the interrupted sweep.
        interrupted: The sweep to continue; None for a new one.

    Raises:
        UserError: The input cannot be made, a new folder exists already, or it cannot be written, for instance because
            the disk is full.
    """
    if interrupted is None:
        check_new(folder, resumable_with=SWEEP_FILE)
        plan = dataclasses.replace(plan, plugins=used(plan.mixers))
    header = interrupted.header if interrupted else None
    progress = _Progress(interrupted)
    rounds = range(1, plan.processes + 1)
    locking = contextlib.ExitStack()
    with locking, tempfile.TemporaryDirectory(prefix="sbench-") as scratch, Processes() as processes:
        sources = inputs.prepare(plan, Path(scratch))
        for process, part in itertools.product(rounds, plan.parts()):
            began_s = time.perf_counter()
            missing = _missing(part, process, sources, Path(scratch), progress)
            if process > 1 and not missing:
                continue
            if plan.device_type == "cuda":
                processes.start(missing)
            if header is None:
                header = Header(plan=plan, environment=isolation.call(environment, plan.device_type))
                start(header, folder)
                locking.enter_context(writing(folder))
                yield FolderMade()
            setting = part.contestants[0].setting
            yield SettingStarted(
                setting=setting,
                process=process,
                input=sources[setting.input_width].description,
                contestants=tuple(task.contestant.name for task in missing),
            )
            for task, answer in processes.wait_until_prepared():
                _save_note(answer, task, device=header.device)
                yield Prepared(contestant=task.contestant.name)
            for measurement in _measure(part, missing, processes, device=header.device, began_s=began_s):
                _append(folder, measurement, process=process)
                progress.add(measurement.record, process=process)
                yield Measured(record=measurement.record)


def prepare(*plans: Plan) -> None:
    """Compile what these plans need on the GPU, all contestants side by side, and measure nothing.

    Compilers keep their results on disk, and kernel configurations that were searched for are saved. So a later process
    starts fast.
    """
    device = isolation.call(processor_name, "cuda")
    with tempfile.TemporaryDirectory(prefix="sbench-") as scratch, Processes() as processes:
        processes.start(
            {
                task: lengths
                for plan in plans
                for task, lengths in _missing(
                    plan, 1, inputs.prepare(plan, Path(scratch)), Path(scratch), _Progress(None)
                ).items()
            }
        )
        for task, answer in processes.wait_until_prepared():
            _save_note(answer, task, device=device)


class _Progress:
    """What is measured already."""

    def __init__(self, interrupted: Interrupted | None) -> None:
        records = interrupted.records if interrupted else []
        self._with_figures = {record.case for record in records if record.status == "ok"}
        self._finished = {(record.case, 1) for record in records} | (interrupted.timed if interrupted else set())

    def add(self, record: Record, *, process: int) -> None:
        """Count a case as measured by a process."""
        self._finished.add((record.case, process))
        if process == 1 and record.status == "ok":
            self._with_figures.add(record.case)

    def is_missing(self, case: Case, process: int) -> bool:
        """Tell whether a process still has to measure a case. Later ones do not try where the first one failed."""
        return (case, process) not in self._finished and (process == 1 or case in self._with_figures)


def _missing(
    plan: Plan, process: int, sources: Mapping[int | None, Source], shared: Path, progress: _Progress
) -> dict[Task, tuple[float, ...]]:
    """Return the lengths that a process of each contestant has to measure, for those that have any."""
    lengths = {}
    for each in plan.contestants:
        source = sources[each.setting.input_width]
        task = Task(contestant=each, plan=plan, source=source, shared=shared, process=process)
        cases = {seconds: Case(name=each.name, setting=each.setting, seconds=seconds) for seconds in plan.seconds}
        lengths[task] = tuple(seconds for seconds, case in cases.items() if progress.is_missing(case, process))
    return {task: seconds for task, seconds in lengths.items() if seconds}


def _measure(
    plan: Plan, missing: Mapping[Task, Sequence[float]], processes: Processes, *, device: str, began_s: float
) -> Iterator[Measurement]:
    """Measure one contestant after the other.

    On a GPU each has its prepared process. On a CPU the processes would slow each other down, so each starts when it is
    its turn. A case that runs out of memory while other processes are alive is measured again at the end, alone.
    """
    crowded: dict[Task, list[float]] = {}
    broken: set[Task] = set()  # their processes may have lost their context on the GPU
    for position, (task, lengths) in enumerate(missing.items()):
        child = processes.take(task)
        alone = not processes.any_alive
        share_s = _share_s(plan, began_s=began_s, contestants_left=len(missing) - position)
        budgeted = dataclasses.replace(task, time_budget_s=share_s)
        for measurement in _in_process(budgeted, lengths, alone=alone, prepared=child, device=device):
            status = measurement.record.status
            if status in ("oom", "failed"):
                broken.add(task)
            if status == "oom" and not alone:
                crowded.setdefault(task, []).append(measurement.record.seconds)
            else:
                yield measurement
    processes.keep([] if crowded else [task for task in missing if task not in broken])
    for task, lengths in crowded.items():
        yield from _in_process(task, lengths, alone=True, device=device)


def _in_process(
    task: Task, lengths: Sequence[float], *, alone: bool, device: str, prepared: ContestantProcess | None = None
) -> Iterator[Measurement]:
    """Measure a contestant in its prepared process, or in a fresh one; a case that kills its process has failed."""
    outcomes = isolation.run(
        partial(worker.measure, task=task, alone=alone), lengths, limit_s=CASE_LIMIT_S, first=prepared
    )
    recorder = Recorder(task=task, device=device)
    for length, outcome in zip(lengths, outcomes, strict=True):
        if isinstance(outcome, isolation.Death):
            yield Measurement(record=recorder.record(length, status="failed", error=outcome.reason))
        else:
            yield outcome


def _share_s(plan: Plan, *, began_s: float, contestants_left: int) -> float | None:
    """Return the wall time that the next contestant may take: an even share of what is left."""
    if plan.time_budget_s is None:
        return None
    return (plan.time_budget_s - (time.perf_counter() - began_s)) / contestants_left


def _append(folder: Path, measurement: Measurement, *, process: int) -> None:
    try:
        if process == 1:
            append_record(folder, measurement.record, measurement.samples)
        elif measurement.samples:
            append_samples(folder, measurement.samples)
    except OSError as error:
        hint = f"Earlier records are kept. {remedy(error)}, then continue with: {resume_command('sweep', folder)}"
        raise UserError(f"{folder} cannot be written: {error.strerror}", hint=hint) from None


def _save_note(answer: isolation.Ready | isolation.Death, task: Task, *, device: str) -> None:
    """Keep the kernel configurations that a contestant had to search for, for the next sweep."""
    if isinstance(answer, isolation.Ready) and answer.note:
        full_float32 = task.contestant.setting.precision == "float32"
        with contextlib.suppress(OSError):  # then the next sweep searches again
            autotuning.merge(answer.note, autotuning.saved(device, full_float32=full_float32))
