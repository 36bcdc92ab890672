"""Finds the fastest configuration of every kernel on this GPU, and keeps them where the sweep looks for them.

Compiling all candidates of all kernels takes minutes a mixer, so each mixer runs in each setting in a process of its
own, as many at once as there are cores, and compiles the candidates of a kernel side by side. What each finds is
written every few seconds, and the next search merges what an interrupted one left.
"""

import contextlib
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

from bench.efficiency.measurement.execution import PASSES, bind
from bench.efficiency.selection import GPU_SECONDS, choose_contestants
from bench.efficiency.settings import Contestant, Setting
from bench.environment import choose_device
from bench.speech import frames_of, samples_of
from mixers import autotuning, stack
from mixers.support.errors import UserError
from mixers.support.precision import DTYPES, use_precision

Tell = Callable[[str], object]

# The longest first: most kernels are tuned once, at the first length they meet, and the long ones are what a sweep
# spends its time on. The others follow because some kernels key on a bucket of the length, and below 65 frames
# some layers run other kernels.
TUNED_FRAMES = (*(frames_of(samples_of(seconds)) for seconds in reversed(GPU_SECONDS)), 63)

AUTOTUNED = ("fla", "triton")  # implementations whose kernels Triton's autotuner chooses for

_MOST_BROKEN = 16  # choices in one search, each of which begins it again

# What a sweep with the defaults runs, what the paper ran, and what else people compare.
SETTINGS = (
    *(
        Setting(preset="matched", precision=precision, pass_=pass_)
        for precision in ("bfloat16", "native", "float32")
        for pass_ in PASSES
    ),
    Setting(preset="released", precision="native"),
)


def choose(*, presets: str | None, precisions: str | None, passes: str | None) -> tuple[Setting, ...]:
    """Return the settings that are tuned, or those of them on the given places of each axis, commas between.

    Raises:
        UserError: On one of these places none is.
    """
    wanted = [
        (axis, [value.strip() for value in given.split(",")])
        for axis, given in (("preset", presets), ("precision", precisions), ("pass_", passes))
        if given is not None
    ]
    chosen = tuple(each for each in SETTINGS if all(getattr(each, axis) in values for axis, values in wanted))
    for axis, values in wanted:
        for value in values:
            if value not in {getattr(each, axis) for each in chosen}:
                hint = f"What is: {'; '.join(each.label for each in SETTINGS)}. tf32 runs as native is tuned."
                raise UserError(f"nothing is tuned in such a setting: {value}", hint=hint)
    return chosen


def tune(
    names: Sequence[str], root: Path | None, *, settings: Sequence[Setting] = SETTINGS, again: bool = False, tell: Tell
) -> tuple[tuple[Path, ...], int]:
    """Tune the mixers' kernels on the GPU and merge the configurations found into this GPU's folders.

    Args:
        names: Mixers or implementations, as for a sweep; none for what it measures by default.
        root: Where the folders lie, one for full float32; None for where sweeps look.
        settings: Each mixer is tuned in each.
        again: Whether to search also for what is known already.
        tell: Told the name of each search as it ends, and what went wrong in it.

    Returns:
        Those folders, and how many searches failed.

    Raises:
        UserError: There is no GPU, or nothing to tune.
    """
    contestants = choose_contestants(names, settings=settings, device_type="cuda")
    choose_device("cuda")
    chosen = [contestant for contestant in contestants if contestant.implementation in AUTOTUNED]
    if not chosen:
        raise UserError(
            f"{', '.join(names)}: nothing to tune", hint=f"What is: implementations {' and '.join(AUTOTUNED)}."
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
        min(len(chosen), len(os.sched_getaffinity(0))), mp_context=context, max_tasks_per_child=1
    ) as pool:  # a process keeps the precision it began with
        searches = [
            _Search(each, folders[each.setting.precision == "float32"] / f"{each.mixer}-{number}", again)
            for number, each in enumerate(chosen)
        ]
        failed = _run(searches, pool, tell)
    found = tuple(folder for folder in folders.values() if folder.is_dir())
    for folder in found:
        _merge_searches(folder)
    return found, failed


@dataclass(frozen=True)
class _Search:
    """A search for one mixer in one setting.

    Attributes:
        contestant: The mixer and the setting.
        folder: Where what it finds goes.
        again: Whether it looks also for what is known already.
        without: Choices that broke a kernel before.
    """

    contestant: Contestant
    folder: Path
    again: bool
    without: tuple[autotuning.BrokenChoiceError, ...] = ()


def _run(searches: Sequence[_Search], pool: Executor, tell: Tell) -> int:
    """Run them all, and those in which a choice broke a kernel once more without it; return how many failed."""
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
                with contextlib.suppress(BrokenProcessPool):  # since a process was killed
                    running[pool.submit(_search, each)] = each
                    failed -= 1
                    note += "; begun again without it"
            tell(f"{contestant.mixer}/{contestant.implementation}, {contestant.setting.label}{note}")
    except KeyboardInterrupt:
        for future in running:
            future.cancel()
        for child in multiprocessing.active_children():
            child.kill()  # which breaks the pool: it begins nothing more
        raise
    return failed


def _merge_searches(folder: Path) -> None:
    """Merge what the searches found into one file a kernel, and remove what they left."""
    for search in sorted(path for path in folder.iterdir() if path.is_dir()):
        whole = sorted(search.glob("*.json"))
        autotuning.merge({path.stem: json.loads(path.read_text()) for path in whole}, folder)
        shutil.rmtree(search)


def _search(search: _Search) -> None:
    """Run one mixer in one setting, so that the autotuners choose."""
    contestant, setting = search.contestant, search.contestant.setting
    use_precision(setting.precision)
    model = stack.build(contestant.mixer, implementation=contestant.implementation, preset=setting.preset)
    model = model.to("cuda", DTYPES[setting.precision]).train(setting.pass_ == "training")
    autotuning.forget_configurations()
    for package in () if search.again else autotuning.PACKAGES:
        autotuning.use_prepared_configurations(package, stand_ins=False)
    with keeping(search.folder), autotuning.compiling_side_by_side(without=search.without):
        for frames in TUNED_FRAMES:
            x = torch.randn(1, frames, model.width, device="cuda", dtype=DTYPES[setting.precision])
            bind(model, x, pass_=setting.pass_)()
            torch.cuda.synchronize()


@contextlib.contextmanager
def keeping(folder: Path, *, every_s: float = 5.0) -> Iterator[None]:
    """Write to a folder what the autotuners choose meanwhile, now and then and at the end."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(every_s):
            autotuning.merge(autotuning.chosen_configurations(), folder)

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
        autotuning.merge(autotuning.chosen_configurations(), folder)
