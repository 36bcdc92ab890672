"""Hands prepared kernel configurations to Triton's autotuners, and reads what these chose.

Configurations are read into the autotuners once. flash-linear-attention's own look-up covers only some of its kernels.
It also builds its key anew at every launch, which would lengthen the measured time of every short sequence.
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

    They save minutes of autotuning and make runs repeatable. A kernel without one for its key is tuned as usual.

    Args:
        package: One of `PACKAGES`, whose modules must have been imported.
        stand_ins: Whether to use, where nothing better is known, the configurations of another GPU of the same compute
            capability, and in full float32 those for TF32.
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
                    _ORIGINS[id(config)] = (source, config)
                    tuner.cache[tuple(entry["autotune_key"])] = config


def _folders(*, stand_ins: bool) -> Iterator[tuple[str, Path]]:
    """Yield the origin and the folder of this GPU's configurations; later ones win."""
    gpu, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    for full_float32 in (False, True) if is_full_float32() and stand_ins else (is_full_float32(),):
        for other in (name for name in SHIPPED if SHIPPED[name] == capability and name != gpu and stand_ins):
            yield f"shipped for {other}", shipped(other, full_float32=full_float32)
        yield "shipped", shipped(gpu, full_float32=full_float32)
        yield "saved", saved(gpu, full_float32=full_float32)


# The origin of each configuration handed out, by its identity. The configuration is kept too, so that no other one can
# get the same identity.
_ORIGINS: dict[int, tuple[str, Any]] = {}


def origins() -> str:
    """Return the origins of the configurations that the kernels ran with last: ``11 shipped, 2 tuned here``."""
    used = [tuner.best_config for tuner in autotuners() if len(tuner.configs) > 1 and hasattr(tuner, "best_config")]
    counts = Counter(_ORIGINS.get(id(config), ("tuned here",))[0] for config in used)
    return ", ".join(f"{counts[source]} {source}" for source in sorted(counts))


def forget_uses() -> None:
    """Make `origins` count only the kernels that run from now on."""
    for tuner in autotuners():
        vars(tuner).pop("best_config", None)


def choices_made() -> int:
    """Return how many choices the autotuners know, including the prepared ones. Each search adds one."""
    return sum(len(tuner.cache) for tuner in known_autotuners(len(sys.modules)))


def forget_configurations() -> None:
    """Make the autotuners forget all choices, prepared ones and their own."""
    for tuner in autotuners():
        tuner.cache.clear()


def chosen_configurations() -> Files:
    """Return what the autotuners themselves have chosen so far: the content of its file for each kernel's name."""
    files: Files = {}
    for tuner in autotuners():
        name = tuner.base_fn.__name__
        entries = files.setdefault(name, {"kernel_name": name, "autotune_entries": {}})["autotune_entries"]
        for key, config in list(tuner.cache.items()):  # another thread may add to it
            if id(config) in _ORIGINS:
                continue
            digest = hashlib.md5(json.dumps(key, separators=(",", ":")).encode(), usedforsecurity=False).hexdigest()
            settings = ("kwargs", "num_warps", "num_stages", "num_ctas", "maxnreg")
            entries[digest] = {
                "autotune_key": list(key),
                "config": {setting: getattr(config, setting) for setting in settings},
            }
    return {name: content for name, content in files.items() if content["autotune_entries"]}
