"""Searches for the fastest configuration of a kernel: all candidates are compiled at once, then timed one by one."""

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

# What PyTorch and Triton say of a GPU that has met an error, but for want of memory.
_OF_THE_GPU = re.compile(r"^(CUDA error|Triton Error \[CUDA\]): (?!out of memory)")

# Of a candidate, once at least; a quarter of what Triton takes when it does not wait for its turn.
_WARM_UP_MS, _TIMED_MS = 6, 25

_SIMILAR = 3  # choices: one would do, if it were certain that it fits in shared memory


class BrokenChoiceError(RuntimeError):
    """A kernel breaks with a choice, and with it this process's use of the GPU: only another one can go on.

    Attributes:
        kernel: Its name.
        choice: As Triton prints it.
    """

    def __init__(self, kernel: str, choice: str) -> None:
        super().__init__(kernel, choice)
        self.kernel, self.choice = kernel, choice

    def __str__(self) -> str:
        return f"{self.kernel} breaks with {self.choice}"


@contextlib.contextmanager
def compiling_side_by_side(*, settling: bool = False, without: Collection[BrokenChoiceError] = ()) -> Iterator[None]:
    """Let an autotuner that searches compile its candidates on all cores, before it times them one by one.

    No other process that does so times candidates on this GPU meanwhile: shared, it would choose among long ones by
    chance. Enter it once the kernels are imported: where Triton is not loaded, it does nothing.

    Args:
        settling: Whether it chooses among what it knows for the most similar arguments, and searches only if it knows
            nothing. For training, whose padded batches of any length would be searched for, where sweeps have prepared
            choices for one sequence.
        without: What is known to break, and is not tried.

    Raises:
        BrokenChoiceError: A candidate failed on the GPU while it was timed.
    """
    if "triton" not in sys.modules:
        yield
        return
    import triton
    from triton.runtime.autotuner import Autotuner

    prune, do_bench, bench = Autotuner.prune_configs, vars(Autotuner)["do_bench"], Autotuner._bench
    broken = {(each.kernel, each.choice) for each in without}

    def sound(tuner: Any, candidates: Sequence[Any]) -> list[Any]:
        name = tuner.base_fn.__name__
        return [each for each in candidates if not breaks(tuner, each) and (name, str(each)) not in broken]

    def prune_and_compile(tuner: Any, arguments: dict[str, Any]) -> Sequence[Any]:
        similar = _similar_choices(tuner, arguments) if settling else []
        candidates = sound(tuner, similar) or sound(tuner, prune(tuner, arguments))
        if not candidates:
            raise RuntimeError(f"{tuner.base_fn.__name__} breaks with every choice")
        with (
            ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
            triton.AsyncCompileMode(pool, ignore_errors=True),  # a candidate that fails will do so again when timed
        ):
            for each in candidates:
                tuner.fn.run(*tuner.nargs.values(), **(arguments | each.all_kwargs() | {"warmup": True}))
        return candidates

    def time_alone(tuner: Any) -> Callable[..., Any]:
        time_it = tuner._do_bench or functools.partial(triton.testing.do_bench, warmup=_WARM_UP_MS, rep=_TIMED_MS)

        def alone(*arguments: Any, **options: Any) -> Any:
            with _gpu_to_itself():
                return time_it(*arguments, **options)

        return alone

    def bench_or_tell(tuner: Any, *arguments: Any, config: Any, **options: Any) -> Any:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # what fails until here is not this candidate's doing
        try:
            return bench(tuner, *arguments, config=config, **options)
        except RuntimeError as error:
            if not _OF_THE_GPU.search(str(error)):
                raise
            raise BrokenChoiceError(tuner.base_fn.__name__, str(config)) from error

    Autotuner.prune_configs, Autotuner.do_bench = prune_and_compile, property(time_alone)
    Autotuner._bench = bench_or_tell
    try:
        yield
    finally:
        Autotuner.prune_configs, Autotuner.do_bench, Autotuner._bench = prune, do_bench, bench


@contextlib.contextmanager
def _gpu_to_itself() -> Iterator[None]:
    """Wait until no other process of this user is in here with this GPU."""
    gpu = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid if torch.cuda.is_available() else "none"
    with (Path(tempfile.gettempdir()) / f"sbench-{os.getuid()}-{gpu}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        yield


def _similar_choices(tuner: Any, arguments: dict[str, Any]) -> list[Any]:
    """Return what an autotuner chose for the arguments most like those of a launch."""
    given = {name: value for name, value in (tuner.nargs | arguments).items() if name in tuner.arg_names}
    dtypes = (str(value.dtype) for value in given.values() if hasattr(value, "dtype"))
    key = (*(given[name] for name in tuner.keys if name in given), *dtypes)  # as the autotuner makes it
    known = sorted(tuner.cache, key=lambda other: -SequenceMatcher(a=key, b=other, autojunk=False).ratio())
    return list({str(tuner.cache[other]): tuner.cache[other] for other in known}.values())[:_SIMILAR]
