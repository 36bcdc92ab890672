"""Searches for the fastest configuration of a kernel: compiles all candidates at once, then times them one by one."""

import contextlib
import fcntl
import functools
import os
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import torch

from mixers.autotuning.autotuners import breaks
from mixers.support import patches

# What PyTorch and Triton say after an error of the GPU, other than a lack of memory.
_GPU_ERROR = re.compile(r"^(CUDA error|Triton Error \[CUDA\]): (?!out of memory)")

# For each candidate, which runs at least once. They are a quarter of Triton's own, since processes wait for each other.
_WARM_UP_MS, _TIMED_MS = 6, 25

_SIMILAR = 3  # choices that are timed, where one of them can run


class BrokenChoiceError(RuntimeError):
    """A kernel breaks with a choice. This process cannot use the GPU any more; another process can continue.

    Attributes:
        kernel: Its name.
        choice: The configuration, as Triton prints it.
    """

    def __init__(self, kernel: str, choice: str) -> None:
        super().__init__(kernel, choice)
        self.kernel, self.choice = kernel, choice

    def __str__(self) -> str:
        return f"{self.kernel} breaks with {self.choice}"


@contextlib.contextmanager
def compiling_side_by_side(*, settling: bool = False, without: Collection[BrokenChoiceError] = ()) -> Iterator[None]:
    """Let an autotuner that searches compile its candidates on all cores, before it times them one by one.

    No two processes that do so time candidates on one GPU at once: on a shared GPU the choice among long kernels would
    be chance. Enter it after the kernels are imported. Without Triton loaded it does nothing.

    Args:
        settling: Whether an autotuner chooses among the choices it knows for the most similar arguments, and searches
            only if none of them can run. This is for training: its padded batches can have any length, and every length
            would start a search. Sweeps have prepared choices for single sequences.
        without: Choices that are known to break a kernel, and are not tried.

    Raises:
        BrokenChoiceError: A candidate failed on the GPU while it was timed.
    """
    if "triton" not in sys.modules:
        yield
        return
    broken = {(each.kernel, each.choice) for each in without}

    def prune_and_compile(prune: Callable[..., Any], tuner: Any, arguments: dict[str, Any]) -> Sequence[Any]:
        similar = _sound(tuner, _similar_choices(tuner, arguments), broken) if settling else []
        for start in range(0, len(similar), _SIMILAR):
            few = similar[start : start + _SIMILAR]
            _compile_together(tuner, few, arguments)
            if running := [each for each in few if _can_run(tuner, each, arguments)]:
                return running
        candidates = _sound(tuner, prune(tuner, arguments), broken)
        if not candidates:
            raise RuntimeError(f"{tuner.base_fn.__name__} breaks with every choice")
        _compile_together(tuner, candidates, arguments)
        return candidates

    with patches.autotuner_methods(prune_configs=prune_and_compile, do_bench=_time_alone, bench=_name_what_breaks):
        yield


def _sound(tuner: Any, candidates: Sequence[Any], broken: Collection[tuple[str, str]]) -> list[Any]:
    """Return the candidates that are not known to break the kernel."""
    name = tuner.base_fn.__name__
    return [each for each in candidates if not breaks(tuner, each) and (name, str(each)) not in broken]


def _compile_together(tuner: Any, candidates: Sequence[Any], arguments: dict[str, Any]) -> None:
    import triton

    with (
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
        triton.AsyncCompileMode(pool, ignore_errors=True),  # a candidate that fails will fail again when timed
    ):
        for each in candidates:
            _compile(tuner, each, arguments)


def _compile(tuner: Any, candidate: Any, arguments: dict[str, Any]) -> Any:
    """Return the compiled kernel, which Triton keeps."""
    return tuner.fn.run(*tuner.nargs.values(), **(arguments | candidate.all_kwargs() | {"warmup": True}))


def _can_run(tuner: Any, candidate: Any, arguments: dict[str, Any]) -> bool:
    """Tell whether a candidate compiles, and its kernel fits into the GPU's shared memory and registers."""
    from triton.errors import TritonError

    try:
        kernel = _compile(tuner, candidate, arguments)
        kernel._init_handles()  # where Triton checks that, but the registers only once
    except (TritonError, AttributeError):  # Triton 3.7 and 3.8 keep an object without it where compiling failed
        return False
    threads: int = kernel.metadata.num_warps * kernel.metadata.target.warp_size
    return bool(threads <= kernel.n_max_threads)


def _time_alone(tuner: Any) -> Callable[..., Any]:
    """Return the function that times a candidate of an autotuner, while no other process does."""
    import triton

    time_it = tuner._do_bench or functools.partial(triton.testing.do_bench, warmup=_WARM_UP_MS, rep=_TIMED_MS)

    def alone(*arguments: Any, **options: Any) -> Any:
        with _gpu_to_itself():
            return time_it(*arguments, **options)

    return alone


def _name_what_breaks(bench: Callable[..., Any], tuner: Any, *arguments: Any, config: Any, **options: Any) -> Any:
    """Time a candidate, and name it if the GPU fails."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # earlier work that fails is not this candidate's fault
    try:
        return bench(tuner, *arguments, config=config, **options)
    except RuntimeError as error:
        if not _GPU_ERROR.search(str(error)):
            raise
        raise BrokenChoiceError(tuner.base_fn.__name__, str(config)) from error


@contextlib.contextmanager
def _gpu_to_itself() -> Iterator[None]:
    """Wait until no other process of this user holds this lock for this GPU."""
    gpu = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid if torch.cuda.is_available() else "none"
    with (Path(tempfile.gettempdir()) / f"sbench-{os.getuid()}-{gpu}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        yield


def _similar_choices(tuner: Any, arguments: dict[str, Any]) -> list[Any]:
    """Return what an autotuner chose so far, first for the arguments most similar to those of a launch."""
    given = {name: value for name, value in (tuner.nargs | arguments).items() if name in tuner.arg_names}
    dtypes = (str(value.dtype) for value in given.values() if hasattr(value, "dtype"))
    key = (*(given[name] for name in tuner.keys if name in given), *dtypes)  # as the autotuner makes it
    known = sorted(tuner.cache, key=lambda other: -SequenceMatcher(a=key, b=other, autojunk=False).ratio())
    return list({str(tuner.cache[other]): tuner.cache[other] for other in known}.values())
