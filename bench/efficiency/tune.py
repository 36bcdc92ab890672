"""Finds the fastest configuration of every kernel on this GPU, and saves it where sweeps look for it.

Compiling all candidates of all kernels takes minutes for each mixer. So each mixer and setting has a process of its
own, as many at once as there are cores, and compiles the candidates of a kernel side by side. The configurations found
are written every few seconds. The next search merges what an interrupted one left.
"""

import contextlib
import itertools
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import mixers
from bench.efficiency import subjects
from bench.efficiency.measurement.execution import PASSES, bind
from bench.efficiency.selection import GPU_SECONDS, check_sizes, choose_contestants
from bench.efficiency.settings import WIDTH, Contestant, Setting
from bench.environment import choose_device
from bench.speech import frames_of, samples_of
from mixers import autotuning, stack
from mixers.support.errors import UserError
from mixers.support.precision import DTYPES, use_precision

# The longest first: most kernels are tuned once, at their first length, and a sweep spends its time on the long ones.
# The others follow because some kernels are tuned for ranges of lengths, and some layers run other kernels below 65
# frames.
TUNED_FRAMES = (*(frames_of(samples_of(seconds)) for seconds in reversed(GPU_SECONDS)), 63)

AUTOTUNED = ("fla", "triton")  # implementations whose kernels Triton's autotuner chooses for

_MOST_BROKEN = 16  # choices in one search; each one restarts it

# What a sweep with the defaults runs, what the paper ran, and other usual comparisons.
SETTINGS = (
    *(
        Setting(preset="matched", precision=precision, pass_=pass_)
        for precision in ("bfloat16", "native", "float32")
        for pass_ in PASSES
    ),
    Setting(preset="released", precision="native"),
)


def choose(
    *,
    presets: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    passes: Sequence[str] | None = None,
    widths: Sequence[int] = (WIDTH,),
    heads: Sequence[int | None] = (None,),
) -> tuple[Setting, ...]:
    """Return the settings that are tuned, limited to the values given for each axis, in every size.

    Args:
        presets: By default all.
        precisions: By default all.
        passes: By default all.
        widths: As `choose_settings` takes them.
        heads: As `choose_settings` takes them.

    Raises:
        UserError: No setting with one of these values is tuned, or a size does not fit.
    """
    check_sizes(widths=widths, heads=heads)
    wanted = [
        (axis, values)
        for axis, values in (("preset", presets), ("precision", precisions), ("pass_", passes))
        if values is not None
    ]
    chosen = tuple(each for each in SETTINGS if all(getattr(each, axis) in values for axis, values in wanted))
    for axis, values in wanted:
        for value in values:
            if value not in {getattr(each, axis) for each in chosen}:
                tuned = "; ".join(each.label for each in SETTINGS)
                hint = f"These settings are tuned: {tuned}. tf32 uses the configurations of native."
                raise UserError(f"no setting with this value is tuned: {value}", hint=hint)
    return tuple(
        replace(each, width=width, heads=number) for each, width, number in itertools.product(chosen, widths, heads)
    )


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The result of tuning.

    Attributes:
        folders: Where the configurations are.
        failed: How many searches failed.
    """

    folders: tuple[Path, ...]
    failed: int


def tune(
    names: Sequence[str],
    root: Path | None,
    *,
    settings: Sequence[Setting] = SETTINGS,
    again: bool = False,
    on_search_ended: Callable[[str, bool], object],
) -> Tuned:
    """Tune the mixers' kernels on the GPU and merge the configurations found into this GPU's folders.

    Args:
        names: Mixers or implementations, as for a sweep; none for those a sweep measures by default.
        root: Parent of the folders, one of them for full float32; None for where sweeps look.
        settings: Each mixer is tuned in each of them.
        again: Whether to search also for known configurations.
        on_search_ended: Called with a line on each search that ended, its error included, and whether it failed.

    Raises:
        UserError: There is no GPU, or nothing to tune.
    """
    for name in names:
        if len(parts := mixers.parts(name.partition("/")[0])) > 1:
            raise UserError(
                f"{name}: a hybrid has no kernels of its own", hint=f"Tune its mixers: sbench tune {' '.join(parts)}"
            )
    contestants = choose_contestants(names, settings=settings, device_type="cuda")
    choose_device("cuda")
    chosen = [each for each in contestants if each.implementation in AUTOTUNED and _runs(each, on_search_ended)]
    if not chosen:
        raise UserError(
            f"{', '.join(names)}: nothing to tune", hint=f"Only {' and '.join(AUTOTUNED)} implementations are tuned."
        )
    gpu = torch.cuda.get_device_name()
    folders = {
        each: autotuning.saved(gpu, full_float32=each)
        if root is None
        else root / autotuning.shipped(gpu, full_float32=each).name
        for each in sorted({contestant.setting.precision == "float32" for contestant in chosen})
    }
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(len(chosen), len(os.sched_getaffinity(0))),
        mp_context=context,
        max_tasks_per_child=1,  # a process cannot change its precision
        initializer=mixers.use_files,
        initargs=(mixers.files(),),
    ) as pool:
        searches = [
            Search(
                contestant=each,
                folder=folders[each.setting.precision == "float32"] / f"{each.mixer}-{number}",
                again=again,
            )
            for number, each in enumerate(chosen)
        ]
        failed = _run(searches, pool, on_search_ended)
    found = tuple(folder for folder in folders.values() if folder.is_dir())
    for folder in found:
        _merge_searches(folder)
    return Tuned(folders=found, failed=failed)


def _runs(contestant: Contestant, on_search_ended: Callable[[str, bool], object]) -> bool:
    """Tell whether an implementation runs here in this setting. If not, the reason is told."""
    reason = subjects.unavailable(contestant, device_type="cuda")
    if reason:
        on_search_ended(f"{contestant.name}, {contestant.setting.label}: left out, {reason}", False)
    return not reason


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search for one mixer in one setting.

    Attributes:
        contestant: The mixer and the setting.
        folder: Where the configurations found go.
        again: Whether to search also for known configurations.
        without: Choices that broke a kernel before.
    """

    contestant: Contestant
    folder: Path
    again: bool
    without: tuple[autotuning.BrokenChoiceError, ...] = ()


def _run(searches: Sequence[Search], pool: Executor, on_search_ended: Callable[[str, bool], object]) -> int:
    """Run all searches; return how many failed. If a choice breaks a kernel, the search starts again without it."""
    failed = 0
    running = {pool.submit(_search, each): each for each in searches}
    try:
        while running:
            future = next(as_completed(running))
            each, error = running.pop(future), future.exception()
            contestant, note = each.contestant, f": {error}" if error else ""
            failed += error is not None
            if isinstance(error, autotuning.BrokenChoiceError) and len(each.without) < _MOST_BROKEN:
                each = replace(each, without=(*each.without, error))
                with contextlib.suppress(BrokenProcessPool):  # a process was killed
                    running[pool.submit(_search, each)] = each
                    failed -= 1
                    note += "; started again without it"
            on_search_ended(f"{contestant.name}, {contestant.setting.label}{note}", bool(note))
    except KeyboardInterrupt:
        for future in running:
            future.cancel()
        for child in multiprocessing.active_children():
            child.kill()  # this breaks the pool, so that it starts nothing more
        raise
    return failed


def _merge_searches(folder: Path) -> None:
    """Merge what the searches found into one file for each kernel, and remove their folders."""
    for search in sorted(path for path in folder.iterdir() if path.is_dir()):
        whole = sorted(search.glob("*.json"))
        autotuning.merge({path.stem: json.loads(path.read_text()) for path in whole}, folder)
        shutil.rmtree(search)


def _search(search: Search) -> None:
    """Run one mixer in one setting, so that the autotuners choose."""
    contestant, setting = search.contestant, search.contestant.setting
    use_precision(setting.precision)
    model = stack.build(
        contestant.mixer,
        implementation=contestant.implementation,
        preset=setting.preset,
        width=setting.width,
        heads=setting.heads,
    )
    model = model.to("cuda", DTYPES[setting.precision]).train(setting.pass_ == "training")
    autotuning.forget_configurations()
    for package in () if search.again else autotuning.PACKAGES:
        autotuning.use_prepared_configurations(package, stand_ins=False)
    with saving_choices(search.folder), autotuning.compiling_side_by_side(without=search.without):
        for frames in TUNED_FRAMES:
            x = torch.randn(1, frames, model.width, device="cuda", dtype=DTYPES[setting.precision])
            bind(model, x, pass_=setting.pass_)()
            torch.cuda.synchronize()


@contextlib.contextmanager
def saving_choices(folder: Path, *, every_s: float = 5.0) -> Iterator[None]:
    """Write what the autotuners choose to a folder, every few seconds and at the end."""
    ended = threading.Event()

    def save() -> None:
        while not ended.wait(every_s):
            autotuning.merge(autotuning.chosen_configurations(), folder)

    saver = threading.Thread(target=save, daemon=True)
    saver.start()
    try:
        yield
    finally:
        ended.set()
        saver.join()
        autotuning.merge(autotuning.chosen_configurations(), folder)
