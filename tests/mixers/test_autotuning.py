"""Prepared configurations reach the autotuners of the library, and come out of them as they went in."""

import importlib
import inspect
import itertools
import json
import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import mixers
from mixers import autotuning
from mixers.autotuning import autotuners


@pytest.fixture
def _library_on_an_h200(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns that Triton finds no GPU
        importlib.import_module("fla.layers")
        importlib.import_module("mixers.kernels.fox.operator")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))


def prepared() -> dict[str, dict[str, Any]]:
    folder = autotuning.shipped("NVIDIA H200")
    return {path.stem: json.loads(path.read_text())["autotune_entries"] for path in folder.glob("*.json")}


def known() -> dict[str, dict[tuple[Any, ...], Any]]:
    """What the autotuners of each name know, by key."""
    choices: dict[str, dict[tuple[Any, ...], Any]] = {}
    for tuner in autotuners.autotuners():
        choices.setdefault(tuner.base_fn.__name__, {}).update(tuner.cache)
    return choices


@pytest.fixture
def _nothing_known(_library_on_an_h200: None) -> Iterator[None]:
    autotuning.forget_configurations()
    yield
    autotuning.forget_configurations()


@pytest.mark.usefixtures("_nothing_known")
def test_what_is_shipped_is_what_the_autotuners_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert autotuning.choices_made() == 0
    for package in autotuning.PACKAGES:
        autotuning.use_prepared_configurations(package)
    for name, entries in prepared().items():
        for entry in entries.values():
            chosen = known()[name][tuple(entry["autotune_key"])]
            assert chosen.kwargs == entry["config"]["kwargs"]
            assert chosen.num_warps == entry["config"]["num_warps"]
    assert autotuning.choices_made() >= sum(len(entries) for entries in prepared().values())
    assert autotuning.chosen_configurations() == {}  # none of them is a choice of this process


@pytest.mark.usefixtures("_nothing_known")
def test_a_gpu_without_any_gets_those_of_its_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    autotuning.use_prepared_configurations("fla", stand_ins=False)
    assert autotuning.choices_made() == 0
    autotuning.use_prepared_configurations("fla")
    tuner = next(each for each in autotuners.autotuners() if len(each.configs) > 1 and each.cache)
    monkeypatch.setattr(tuner, "best_config", next(iter(tuner.cache.values())), raising=False)
    assert "1 shipped for NVIDIA H200" in autotuning.origins()

    autotuning.forget_configurations()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    autotuning.use_prepared_configurations("fla")
    assert autotuning.choices_made() == 0


def test_every_model_with_a_folder_is_known_with_its_capability() -> None:
    assert {autotuning.shipped(name).name for name in autotuning.SHIPPED} == {
        path.name.removesuffix("-float32")
        for path in (Path(mixers.__path__[0]) / "tuned").iterdir()
        if list(path.glob("*.json"))
    }


@pytest.mark.usefixtures("_nothing_known")
def test_what_was_found_here_is_saved_and_wins_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import triton

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    name, entries = next((name, entries) for name, entries in prepared().items() if name.startswith("chunk_"))
    key = tuple(next(iter(entries.values()))["autotune_key"])
    tuner = next(each for each in autotuners.autotuners() if each.base_fn.__name__ == name)
    found = triton.Config({"made up": 5}, num_warps=7)
    monkeypatch.setattr(tuner, "best_config", found, raising=False)
    tuner.cache[key] = tuner.cache["another"] = found
    assert autotuning.origins().endswith("1 tuned here")
    autotuning.merge(autotuning.chosen_configurations(), autotuning.saved("NVIDIA H200"))
    autotuning.forget_configurations()

    autotuning.use_prepared_configurations("fla")
    assert known()[name][key].kwargs == {"made up": 5}
    assert known()[name][key].num_warps == 7
    monkeypatch.setattr(tuner, "best_config", tuner.cache[key], raising=False)
    assert "1 saved" in autotuning.origins()
    autotuning.forget_uses()
    assert autotuning.origins() == ""


class Kernel:
    """What an autotuner holds: compiling takes until all candidates are at it."""

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
    """Time three candidates, each for 0.05 s, and tell when that was."""
    import triton
    from triton.runtime.autotuner import Autotuner

    def time_it(_: Callable[[], object], **__: object) -> list[float]:
        began = time.monotonic()
        time.sleep(0.05)
        times.put((began, time.monotonic()))
        return [1.0]

    candidates = [triton.Config({}, num_warps=warps) for warps in (1, 2, 4)]
    tuner = Autotuner(Knowing(), Knowing.arg_names, candidates, ["x"], None, None, do_bench=time_it)
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


class Knowing:
    """A kernel that runs in any configuration."""

    arg_names = ("x", "offsets", "width", "length")

    def __init__(self) -> None:
        self.fn = lambda *_: None

    def run(self, *_: object, **__: object) -> None:
        pass


def test_training_settles_for_what_is_known_of_the_most_similar_arguments() -> None:
    import triton
    from triton.runtime.autotuner import Autotuner

    candidates = [triton.Config({}, num_warps=warps) for warps in (1, 2, 4, 8)]
    timed: list[int] = []

    def time_it(launch: Callable[[], object], **_: object) -> list[float]:
        launch()
        timed.append(len(timed))
        return [1.0 - 0.1 * len(timed)]  # the last is the fastest

    tuner = Autotuner(Knowing(), Knowing.arg_names, candidates, ["width", "length"], None, None, do_bench=time_it)
    x, offsets = torch.zeros(1, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.int64)
    with autotuning.compiling_side_by_side(settling=True):
        tuner.run(x, None, width=256, length=512)
    assert len(timed) == 4  # nothing is known: all are tried
    assert tuner.cache == {(256, 512, "torch.bfloat16"): candidates[3]}

    tuner.cache[(64, 512, "torch.float32")] = candidates[0]
    timed.clear()
    with autotuning.compiling_side_by_side(settling=True):
        tuner.run(x, offsets, width=256, length=1024)
    assert len(timed) == 2  # the two that are known, and no other
    choice = tuner.cache[(256, 1024, "torch.bfloat16", "torch.int64")]
    assert choice in (candidates[0], candidates[3])
    tuner.run(x, offsets, width=512, length=1024)
    assert len(timed) == 6  # and outside, a search


@pytest.mark.parametrize(("full_float32", "timed"), [(True, {4}), (False, {4, 8})])
def test_what_breaks_a_kernel_is_never_tried(
    monkeypatch: pytest.MonkeyPatch, full_float32: bool, timed: set[int]
) -> None:
    import triton
    from triton.runtime.autotuner import Autotuner

    class Backward:
        def __init__(self) -> None:
            def chunk_gla_bwd_kernel_dv(*_: object) -> None: ...

            self.fn = chunk_gla_bwd_kernel_dv

        def run(self, *_: object, **given: object) -> None:
            tried.add(given["num_warps"])

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
def test_what_fails_on_the_gpu_is_named_and_can_be_left_out(failure: RuntimeError) -> None:
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
    tuner = Autotuner(Knowing(), Knowing.arg_names, candidates, ["x"], None, None, do_bench=time_it)
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
    tuner = Autotuner(Knowing(), Knowing.arg_names, candidates, ["x"], None, None, do_bench=time_it)
    with pytest.raises(torch.AcceleratorError, match="out of memory"), autotuning.compiling_side_by_side():
        tuner.run(5)


def test_merging_keeps_what_is_there(tmp_path: Path) -> None:
    for entries in ({"a": 1, "b": 2}, {"b": 3, "c": 4}):
        autotuning.merge({"kernel": {"kernel_name": "kernel", "autotune_entries": entries}}, tmp_path / "folder")
    (path,) = (tmp_path / "folder").iterdir()
    assert json.loads(path.read_text()) == {"kernel_name": "kernel", "autotune_entries": {"a": 1, "b": 3, "c": 4}}


def test_a_folder_for_each_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert autotuning.shipped("NVIDIA H200").name == "nvidia-h200"
    assert autotuning.shipped("NVIDIA H100 80GB HBM3").name == "nvidia-h100-80gb-hbm3"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert autotuning.saved("NVIDIA H200") == tmp_path / "sbench" / "tuned" / "nvidia-h200"
