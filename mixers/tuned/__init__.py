"""Kernel configurations found for a GPU: one folder a GPU model, one file a kernel.

The files have flash-linear-attention's own format, so they serve it through ``FLA_CONFIG_DIR`` too. Here they are read
into the autotuners once instead: the library's look-up covers only those of its kernels that are decorated for it, and
builds its key anew at every launch, which would be measured with every short sequence.
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch


def folder_of(gpu: str) -> Path:
    """Return the folder of a GPU's configurations: ``NVIDIA H200`` gives ``mixers/tuned/nvidia-h200``."""
    return Path(__file__).parent / re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")


def use_prepared_configurations() -> None:
    """Hand this GPU's prepared configurations to the autotuners of ``fla``, which must have been imported.

    They spare minutes of autotuning and make runs repeatable. A kernel without one for its key is tuned as always.
    """
    if not torch.cuda.is_available():
        return
    import triton

    folder = folder_of(torch.cuda.get_device_name())
    for tuner in _autotuners():
        path = folder / f"{tuner.base_fn.__name__}.json"
        if path.exists():
            for entry in json.loads(path.read_text())["autotune_entries"].values():
                chosen = dict(entry["config"])
                tuner.cache[tuple(entry["autotune_key"])] = triton.Config(chosen.pop("kwargs"), **chosen)


def forget_configurations() -> None:
    """Let the autotuners choose anew, whatever was prepared or chosen before."""
    for tuner in _autotuners():
        tuner.cache.clear()


def chosen_configurations() -> dict[str, dict[str, Any]]:
    """Return what the autotuners have chosen so far: for each kernel's name the content of its file."""
    files: dict[str, dict[str, Any]] = {}
    for tuner in _autotuners():
        name = tuner.base_fn.__name__
        entries = files.setdefault(name, {"kernel_name": name, "autotune_entries": {}})["autotune_entries"]
        for key, config in tuner.cache.items():
            digest = hashlib.md5(json.dumps(key, separators=(",", ":")).encode(), usedforsecurity=False).hexdigest()
            settings = ("kwargs", "num_warps", "num_stages", "num_ctas", "maxnreg")
            entries[digest] = {
                "autotune_key": list(key),
                "config": {setting: getattr(config, setting) for setting in settings},
            }
    return {name: content for name, content in files.items() if content["autotune_entries"]}


def _autotuners() -> Iterator[Any]:
    """Yield every autotuner in the library's modules, each once; other decorators may lie around it."""
    from triton.runtime.autotuner import Autotuner, Heuristics

    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        for kernel in list(vars(module).values()) if name.startswith("fla.") else ():
            while isinstance(kernel, Autotuner | Heuristics) and id(kernel) not in seen:
                seen.add(id(kernel))
                if isinstance(kernel, Autotuner):
                    yield kernel
                kernel = kernel.fn
