"""Hands prepared kernel configurations to Triton's autotuners, and reads what these chose.

Configurations are read into the autotuners once: the library's own look-up covers only some of its kernels, and builds
its key anew at every launch, which would be measured with every short sequence.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from mixers.autotuning.autotuners import autotuners, breaks, known_autotuners
from mixers.autotuning.store import SHIPPED, Files, saved, shipped
from mixers.support.precision import is_full_float32


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
        for tuner in autotuners(package):
            path = folder / f"{tuner.base_fn.__name__}.json"
            if path.exists():
                for entry in json.loads(path.read_text())["autotune_entries"].values():
                    chosen = dict(entry["config"])
                    config = triton.Config(chosen.pop("kwargs"), **chosen)
                    if breaks(tuner, config):
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
    used = [tuner.best_config for tuner in autotuners() if len(tuner.configs) > 1 and hasattr(tuner, "best_config")]
    counts = Counter(_SOURCES.get(id(config), ("tuned here",))[0] for config in used)
    return ", ".join(f"{counts[source]} {source}" for source in sorted(counts))


def forget_uses() -> None:
    """Let `origins` count only kernels that run from now on."""
    for tuner in autotuners():
        vars(tuner).pop("best_config", None)


def choices_made() -> int:
    """Return how many choices the autotuners know, the prepared ones included; it grows by each search."""
    return sum(len(tuner.cache) for tuner in known_autotuners(len(sys.modules)))


def forget_configurations() -> None:
    """Let the autotuners choose anew, whatever was prepared or chosen before."""
    for tuner in autotuners():
        tuner.cache.clear()


def chosen_configurations() -> Files:
    """Return what the autotuners have chosen themselves so far: for each kernel's name the content of its file."""
    files: Files = {}
    for tuner in autotuners():
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
