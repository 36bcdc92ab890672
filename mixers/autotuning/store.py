"""Kernel configurations on disk: one folder for each GPU model, one file for each kernel, the library's or our own.

The files have flash-linear-attention's format, so it can read them through ``FLA_CONFIG_DIR`` too.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# GPUs whose configurations come with this package, and their compute capability. All models of that capability use
# them: they differ in memory and clocks, but not in the multiprocessors, which tiles and warps have to fit.
SHIPPED = {"NVIDIA H100 80GB HBM3": (9, 0), "NVIDIA H200": (9, 0)}

Files = dict[str, dict[str, Any]]  # the content of its file for each kernel's name


def shipped(gpu: str, *, full_float32: bool = False) -> Path:
    """Return the folder of the configurations that come with this package: ``NVIDIA H200`` gives ``nvidia-h200``.

    Args:
        gpu: Its name.
        full_float32: Whether they are for products in full float32. The fastest ones differ there, under the same keys.
    """
    return Path(__file__).parents[1] / "tuned" / _slug(gpu, full_float32=full_float32)


def saved(gpu: str, *, full_float32: bool = False) -> Path:
    """Return the folder for what was found on this machine by this user, which wins over the shipped ones."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "sbench" / "tuned" / _slug(gpu, full_float32=full_float32)


def _slug(gpu: str, *, full_float32: bool) -> str:
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-") + ("-float32" if full_float32 else "")


def merge(found: Mapping[str, Any], folder: Path) -> None:
    """Add configurations to the files of a folder, which is made if missing. A new choice replaces the old one.

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
        partial.replace(path)  # so that readers always see a whole file
