"""Searches compile side by side, time one candidate at a time, and leave out what breaks a kernel."""

import functools
import inspect
import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mixers import autotuning
from mixers.autotuning import autotuners


class Kernel:
    """A kernel whose candidates compile only if all do at once."""

    arg_names = ("x",)

    def __init__(self, candidates: int) -> None:
        self.fn = lambda x: x
        self.compiled: list[int] = []
        self._together = threading.Barrier(candidates)

    def run(self, _: int, *, warmup: bool, **candidate: int) -> None:
        from triton.runtime._async_compile import active_mode

        def compile_one() -> int:
            self._together.wait(timeout=30)
            return candidate["num_warps"]

        if warmup:
            mode = active_mode.get()
            assert mode
            functions = [compile_one, self.compiled.append, lambda *_: None]  # the last only in newer versions
            mode.submit(candidate["num_warps"], *functions[: len(inspect.signature(mode.submit).parameters) - 1])


def test_candidates_are_compiled_side_by_side_before_any_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    import triton
    from triton.runtime.autotuner import Autotuner

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4))
    kernel, known_when_timed = Kernel(4), []

    def time_it(_: Callable[[], object], **__: object) -> list[float]:
        known_when_timed.append(sorted(kernel.compiled))
        return [1.0]

    candidates = [triton.Config({}, num_warps=warps) for warps in (1, 2, 4, 8)]
    tuner = Autotuner(kernel, kernel.arg_names, candidates, ["x"], None, None, do_bench=time_it)
    with autotuning.compiling_side_by_side():
        tuner.run(5, warmup=False)
    assert known_when_timed == [[1, 2, 4, 8]] * 4


def search_with(times: "multiprocessing.Queue[tuple[float, float]]") -> None:
    """Time three candidates, each for 0.05 s, and put the start and end of each into the queue."""
    import triton
    from triton.runtime.autotuner import Autotuner

    def time_it(_: Callable[[], object], **__: object) -> list[float]:
        began = time.monotonic()
        time.sleep(0.05)
        times.put((began, time.monotonic()))
        return [1.0]

    candidates = [triton.Config({}, num_warps=warps) for warps in (1, 2, 4)]
    tuner = Autotuner(AnyConfiguration(), AnyConfiguration.arg_names, candidates, ["x"], None, None, do_bench=time_it)
    with autotuning.compiling_side_by_side():
        tuner.run(5)


def test_processes_that_search_time_their_candidates_in_turn() -> None:
    context = multiprocessing.get_context("fork")
    times = context.Queue()
    processes = [context.Process(target=search_with, args=(times,)) for _ in range(3)]
    for process in processes:
        process.start()
    spans = sorted(times.get(timeout=60) for _ in range(9))
    for process in processes:
        process.join()
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


class Compiled:
    """A compiled kernel. A GPU has too little memory for it with over 16 warps, and too few registers with over 8."""

    n_max_threads = 8 * 32

    def __init__(self, num_warps: int) -> None:
        self.metadata = SimpleNamespace(num_warps=num_warps, target=SimpleNamespace(warp_size=32))
        self._is_loaded = False

    def _init_handles(self) -> None:
        from triton.runtime.errors import OutOfResources

        warps = self.metadata.num_warps
        if warps > 16:
            raise OutOfResources(warps, 16, "shared memory")
        if not self._is_loaded and warps > 8:
            self._is_loaded = True
            raise OutOfResources(32 * warps, self.n_max_threads, "threads")


class AnyConfiguration:
    """A kernel that compiles in any configuration, and each once."""

    arg_names = ("x", "offsets", "width", "length")

    def __init__(self) -> None:
        self.fn = lambda *_: None
        self._compiled = functools.cache(Compiled)

    def run(self, *_: object, num_warps: int = 0, warmup: bool = False, **__: object) -> object:
        if not warmup:
            Compiled(num_warps)._init_handles()
        return self._compiled(num_warps)


def search(kernel: AnyConfiguration, *, warps: Sequence[int]) -> tuple[Any, list[int]]:
    """An autotuner of a kernel, and a list that it extends by the warps of each candidate that it has timed."""
    import triton
    from triton.runtime.autotuner import Autotuner

    timed: list[int] = []

    def time_it(launch: Callable[[], object], **_: object) -> list[float]:
        launch()
        timed.append(len(timed))
        return [1.0 + len(timed)]  # the first is the fastest

    candidates = [triton.Config({}, num_warps=each) for each in warps]
    return Autotuner(kernel, kernel.arg_names, candidates, ["length"], None, None, do_bench=time_it), timed


def test_training_searches_only_where_none_of_the_known_choices_can_run() -> None:
    tuner, timed = search(AnyConfiguration(), warps=(4, 2, 16, 32, 64))
    too_large = tuner.configs[2:]
    tuner.cache = {(length, "torch.float32"): each for length, each in zip((500, 501, 502), too_large, strict=True)}
    x = torch.zeros(1, dtype=torch.float32)
    with autotuning.compiling_side_by_side(settling=True):
        tuner.run(x, None, length=512)
        assert (len(timed), tuner.best_config) == (2, tuner.configs[0])
        for length in (600, 700):  # for which all known choices are as similar
            tuner.run(x, None, length=length)
            assert (len(timed), tuner.best_config) == (2, tuner.configs[0])


@pytest.mark.parametrize("is_kept", [False, True])  # as in Triton 3.7 and 3.8
def test_training_leaves_out_a_known_choice_that_does_not_compile(is_kept: bool) -> None:
    from triton.runtime._async_compile import active_mode
    from triton.runtime.errors import PTXASError

    class Halves(AnyConfiguration):
        """One that does not compile for two warps."""

        def run(self, *given: object, num_warps: int = 0, warmup: bool = False, **others: object) -> object:
            if num_warps != 2:
                return super().run(*given, num_warps=num_warps, warmup=warmup, **others)
            if warmup and (is_kept or active_mode.get()):
                return object()  # what compiles in the background
            raise PTXASError

    tuner, timed = search(Halves(), warps=(4, 2, 1))
    tuner.cache[(500, "torch.float32")] = tuner.configs[1]
    with autotuning.compiling_side_by_side(settling=True):
        tuner.run(torch.zeros(1, dtype=torch.float32), None, length=512)
        assert (len(timed), tuner.best_config) == (2, tuner.configs[0])


def test_training_chooses_among_the_choices_for_similar_arguments() -> None:
    import triton
    from triton.runtime.autotuner import Autotuner

    candidates = [triton.Config({}, num_warps=warps) for warps in (1, 2, 4, 8)]
    timed: list[int] = []

    def time_it(launch: Callable[[], object], **_: object) -> list[float]:
        launch()
        timed.append(len(timed))
        return [1.0 - 0.1 * len(timed)]  # the last is the fastest

    tuner = Autotuner(
        AnyConfiguration(), AnyConfiguration.arg_names, candidates, ["width", "length"], None, None, do_bench=time_it
    )
    x, offsets = torch.zeros(1, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.int64)
    with autotuning.compiling_side_by_side(settling=True):
        tuner.run(x, None, width=256, length=512)
    assert len(timed) == 4  # nothing is known: all are tried
    assert tuner.cache == {(256, 512, "torch.bfloat16"): candidates[3]}

    tuner.cache[(64, 512, "torch.float32")] = candidates[0]
    timed.clear()
    with autotuning.compiling_side_by_side(settling=True):
        tuner.run(x, offsets, width=256, length=1024)
    assert len(timed) == 2  # only the two that are known
    choice = tuner.cache[(256, 1024, "torch.bfloat16", "torch.int64")]
    assert choice in (candidates[0], candidates[3])
    tuner.run(x, offsets, width=512, length=1024)
    assert len(timed) == 6  # outside, it searches


@pytest.mark.parametrize(("full_float32", "timed"), [(True, {4}), (False, {4, 8})])
def test_a_choice_known_to_break_a_kernel_is_never_tried(
    monkeypatch: pytest.MonkeyPatch, full_float32: bool, timed: set[int]
) -> None:
    import triton
    from triton.runtime.autotuner import Autotuner

    class Backward:
        def __init__(self) -> None:
            def chunk_gla_bwd_kernel_dv(*_: object) -> None: ...

            self.fn = chunk_gla_bwd_kernel_dv

        def run(self, *_: object, **given: Any) -> object:
            tried.add(given["num_warps"])
            return Compiled(given["num_warps"])

    def time_it(launch: Callable[[], object], **_: object) -> list[float]:
        launch()
        return [1.0]

    monkeypatch.setattr(autotuners, "is_full_float32", lambda: full_float32)
    tried: set[object] = set()
    candidates = [triton.Config({"BK": 32, "BV": width}, num_warps=warps) for width, warps in ((64, 4), (128, 8))]
    tuner = Autotuner(Backward(), ("x", "K"), candidates, ["K"], None, None, do_bench=time_it)
    with autotuning.compiling_side_by_side():
        tuner.run(torch.zeros(1), K=64)
    assert tried == timed
    tuner.cache = {(128, "torch.float32"): candidates[0], (256, "torch.float32"): candidates[1]}
    tried.clear()
    with autotuning.compiling_side_by_side(settling=True):
        tuner.run(torch.zeros(1), K=64)
    assert tried == timed


@pytest.mark.parametrize(
    "failure",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nSearch for"),
        RuntimeError("Triton Error [CUDA]: misaligned address"),
    ],
)
def test_a_choice_that_fails_on_the_gpu_is_named_and_can_be_left_out(failure: RuntimeError) -> None:
    import triton
    from triton.runtime.autotuner import Autotuner

    def time_it(_: Callable[[], object], **__: object) -> list[float]:
        tried.append(next(numbers))
        if tried == [0, 1]:
            raise failure
        return [1.0]

    tried: list[int] = []
    numbers = itertools.count()
    candidates = [triton.Config({"BK": 32}, num_warps=warps) for warps in (2, 4, 8)]
    tuner = Autotuner(AnyConfiguration(), AnyConfiguration.arg_names, candidates, ["x"], None, None, do_bench=time_it)
    with (
        pytest.raises(autotuning.BrokenChoiceError, match="<lambda> breaks with BK: 32, num_warps: 4") as caught,
        autotuning.compiling_side_by_side(),
    ):
        tuner.run(5)
    tried.clear()
    with autotuning.compiling_side_by_side(without=[caught.value]):
        tuner.run(5)
    assert tried == [2, 3]
    assert tuner.configs_timings.keys() == {candidates[0], candidates[2]}
    tuner.cache.clear()
    every = [autotuning.BrokenChoiceError("<lambda>", str(each)) for each in candidates]
    with (
        pytest.raises(RuntimeError, match="<lambda> breaks with every"),
        autotuning.compiling_side_by_side(without=every),
    ):
        tuner.run(5)


def test_a_choice_that_lacks_memory_is_not_broken() -> None:
    import triton
    from triton.runtime.autotuner import Autotuner

    def time_it(_: Callable[[], object], **__: object) -> list[float]:
        raise torch.AcceleratorError("CUDA error: out of memory")

    candidates = [triton.Config({"BK": 32}, num_warps=warps) for warps in (2, 4)]
    tuner = Autotuner(AnyConfiguration(), AnyConfiguration.arg_names, candidates, ["x"], None, None, do_bench=time_it)
    with pytest.raises(torch.AcceleratorError, match="out of memory"), autotuning.compiling_side_by_side():
        tuner.run(5)
