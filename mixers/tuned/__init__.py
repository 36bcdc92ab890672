"""Kernel configurations found for a GPU: one folder a GPU model, one file a kernel, of the library or our own.

The files have flash-linear-attention's own format, so they serve it through ``FLA_CONFIG_DIR`` too. Here they are read
into the autotuners once instead: the library's look-up covers only those of its kernels that are decorated for it, and
builds its key anew at every launch, which would be measured with every short sequence.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import torch

from mixers.precision import is_full_float32

PACKAGES = ("fla", "mixers.kernels")  # where kernels are that autotuners choose for

# GPUs whose configurations come with this package, and their compute capability. All models of that capability get
# them: they have the same multiprocessors, to which tiles and warps have to fit, and differ in memory and clocks.
SHIPPED = {"NVIDIA H100 80GB HBM3": (9, 0), "NVIDIA H200": (9, 0)}

Files = dict[str, dict[str, Any]]  # for each kernel's name the content of its file


def shipped(gpu: str, *, full_float32: bool = False) -> Path:
    """Return the folder of the configurations that come with this package: ``NVIDIA H200`` gives ``nvidia-h200``.

    Args:
        gpu: Its name.
        full_float32: Whether they are for products in full float32, in which others are the fastest, under the same
            keys.
    """
    return Path(__file__).parent / _slug(gpu, full_float32=full_float32)


def saved(gpu: str, *, full_float32: bool = False) -> Path:
    """Return the folder where this user keeps what was found on this machine; these win over the shipped ones."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "sbench" / "tuned" / _slug(gpu, full_float32=full_float32)


def _slug(gpu: str, *, full_float32: bool) -> str:
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-") + ("-float32" if full_float32 else "")


def use_prepared_configurations(package: str, *, stand_ins: bool = True) -> None:
    """Hand this GPU's prepared configurations to the autotuners of a package.

    They spare minutes of autotuning and make runs repeatable. A kernel without one for its key is tuned as always.

    Args:
        package: One of `PACKAGES`; what is used of it must have been imported.
        stand_ins: Whether, where nothing better is known, what was found for another GPU of the same compute capability
            will do, and in full float32 what was found for TF32.
    """
    if not torch.cuda.is_available():
        return
    import triton

    for source, folder in _folders(stand_ins=stand_ins):
        for tuner in _autotuners(package):
            path = folder / f"{tuner.base_fn.__name__}.json"
            if path.exists():
                for entry in json.loads(path.read_text())["autotune_entries"].values():
                    chosen = dict(entry["config"])
                    config = triton.Config(chosen.pop("kwargs"), **chosen)
                    if _breaks(tuner, config):
                        continue
                    _SOURCES[id(config)] = (source, config)
                    tuner.cache[tuple(entry["autotune_key"])] = config


def _folders(*, stand_ins: bool) -> Iterator[tuple[str, Path]]:
    """Yield where this GPU's configurations are, and what such are called; what comes later wins."""
    gpu, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    for full_float32 in (False, True) if is_full_float32() and stand_ins else (is_full_float32(),):
        for other in (name for name in SHIPPED if SHIPPED[name] == capability and name != gpu and stand_ins):
            yield f"shipped for {other}", shipped(other, full_float32=full_float32)
        yield "shipped", shipped(gpu, full_float32=full_float32)
        yield "saved", saved(gpu, full_float32=full_float32)


# Where each configuration handed out comes from; it is kept beside its source, so that no other one gets its identity.
_SOURCES: dict[int, tuple[str, Any]] = {}


def origins() -> str:
    """Return where the configurations come from that the kernels ran with last: ``11 shipped, 2 tuned here``."""
    used = [tuner.best_config for tuner in _autotuners() if len(tuner.configs) > 1 and hasattr(tuner, "best_config")]
    counts = Counter(_SOURCES.get(id(config), ("tuned here",))[0] for config in used)
    return ", ".join(f"{counts[source]} {source}" for source in sorted(counts))


def forget_uses() -> None:
    """Let `origins` count only kernels that run from now on."""
    for tuner in _autotuners():
        vars(tuner).pop("best_config", None)


def choices_made() -> int:
    """Return how many choices the autotuners know, the prepared ones included; it grows by each search."""
    return sum(len(tuner.cache) for tuner in _known_autotuners(len(sys.modules)))


def merge(found: Mapping[str, Any], folder: Path) -> None:
    """Add configurations to the files of a folder, which is made if need be; a new choice replaces the old one.

    Args:
        found: What `chosen_configurations` returned.
        folder: Where the files lie.

    Raises:
        OSError: A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in found.items():
        path = folder / f"{name}.json"
        before = json.loads(path.read_text())["autotune_entries"] if path.exists() else {}
        entries = dict(sorted((before | content["autotune_entries"]).items()))
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps({"kernel_name": name, "autotune_entries": entries}, indent=1) + "\n")
        partial.replace(path)  # whole, whoever reads it meanwhile


def forget_configurations() -> None:
    """Let the autotuners choose anew, whatever was prepared or chosen before."""
    for tuner in _autotuners():
        tuner.cache.clear()


def chosen_configurations() -> Files:
    """Return what the autotuners have chosen themselves so far: for each kernel's name the content of its file."""
    files: Files = {}
    for tuner in _autotuners():
        name = tuner.base_fn.__name__
        entries = files.setdefault(name, {"kernel_name": name, "autotune_entries": {}})["autotune_entries"]
        for key, config in list(tuner.cache.items()):  # which another thread may be adding to
            if id(config) in _SOURCES:
                continue
            digest = hashlib.md5(json.dumps(key, separators=(",", ":")).encode(), usedforsecurity=False).hexdigest()
            settings = ("kwargs", "num_warps", "num_stages", "num_ctas", "maxnreg")
            entries[digest] = {
                "autotune_key": list(key),
                "config": {setting: getattr(config, setting) for setting in settings},
            }
    return {name: content for name, content in files.items() if content["autotune_entries"]}


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
        return [each for each in candidates if not _breaks(tuner, each) and (name, str(each)) not in broken]

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


# What PyTorch and Triton say of a GPU that has met an error, but for want of memory.
_OF_THE_GPU = re.compile(r"^(CUDA error|Triton Error \[CUDA\]): (?!out of memory)")

# Choices that break a kernel, and with it the process: these read beyond its memory in full float32 at 256 a head
# (training with Triton 3.6 on an H200 and an H100, found by `sbench tune`).
_BROKEN: dict[str, Callable[[Any], bool]] = {
    "chunk_gla_bwd_kernel_dv": lambda config: (
        is_full_float32() and config.num_warps == 8 and config.kwargs["BK"] == 32 and config.kwargs["BV"] in (64, 128)
    ),
    "chunk_gsa_fwd_kernel_inter": lambda config: (
        is_full_float32() and config.num_warps == 8 and config.kwargs["BK"] == 64 and config.kwargs["BV"] == 32
    ),
}


def _breaks(tuner: Any, config: Any) -> bool:
    return tuner.base_fn.__name__ in _BROKEN and _BROKEN[tuner.base_fn.__name__](config)


# Of a candidate, once at least; a quarter of what Triton takes when it does not wait for its turn.
_WARM_UP_MS, _TIMED_MS = 6, 25


@contextlib.contextmanager
def _gpu_to_itself() -> Iterator[None]:
    """Wait until no other process of this user is in here with this GPU."""
    gpu = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid if torch.cuda.is_available() else "none"
    with (Path(tempfile.gettempdir()) / f"sbench-{os.getuid()}-{gpu}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        yield


_SIMILAR = 3  # choices: one would do, if it were certain that it fits in shared memory


def _similar_choices(tuner: Any, arguments: dict[str, Any]) -> list[Any]:
    """Return what an autotuner chose for the arguments most like those of a launch."""
    given = {name: value for name, value in (tuner.nargs | arguments).items() if name in tuner.arg_names}
    dtypes = (str(value.dtype) for value in given.values() if hasattr(value, "dtype"))
    key = (*(given[name] for name in tuner.keys if name in given), *dtypes)  # as the autotuner makes it
    known = sorted(tuner.cache, key=lambda other: -SequenceMatcher(a=key, b=other, autojunk=False).ratio())
    return list({str(tuner.cache[other]): tuner.cache[other] for other in known}.values())[:_SIMILAR]


@functools.lru_cache(maxsize=1)
def _known_autotuners(_: int) -> tuple[Any, ...]:
    """Look for the autotuners once for each number of modules that are loaded, since looking takes milliseconds."""
    return tuple(_autotuners())


def _autotuners(*packages: str) -> Iterator[Any]:
    """Yield each autotuner in the modules of packages, or of all, once; other decorators may lie around it."""
    inside = tuple(f"{package}." for package in packages or PACKAGES)
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(inside)]
    if not modules:
        return
    from triton.runtime.autotuner import Autotuner, Heuristics

    seen: set[int] = set()
    for module in modules:
        for kernel in list(vars(module).values()):
            while isinstance(kernel, Autotuner | Heuristics) and id(kernel) not in seen:
                seen.add(id(kernel))
                if isinstance(kernel, Autotuner):
                    yield kernel
                kernel = kernel.fn
