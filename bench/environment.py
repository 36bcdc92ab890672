"""What a figure depends on: the processor, the libraries and the code. Read, never changed."""

import functools
import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import pynvml
import torch

import bench
import mixers
from bench.gpu import Card
from mixers.support.errors import UserError, unknown_name
from mixers.support.extras import DISTRIBUTIONS

PACKAGES = {"sbench": "sbench", "torch": "torch", "triton": "triton", "fla": "flash-linear-attention"}


def choose_device(name: str) -> str:
    """Return ``cuda`` or ``cpu``. ``auto`` is the GPU if there is one.

    Raises:
        UserError: There is no such kind of device, or no CUDA GPU.
    """
    if name not in ("auto", "cuda", "cpu"):
        raise unknown_name("device", name, ("auto", "cuda", "cpu"))
    if name == "cuda" and not torch.cuda.is_available():
        built = f"PyTorch {torch.__version__}"
        raise UserError(
            f"no CUDA GPU is visible to {built}", hint="Check `nvidia-smi`, and that this PyTorch is built for CUDA."
        )
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def processor_name(device_type: str) -> str:
    """Return the name of the GPU, or of the processor with the number of threads PyTorch uses."""
    if device_type == "cuda":
        return torch.cuda.get_device_name()
    lines = _read("/proc/cpuinfo").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.machine()}, {torch.get_num_threads()} threads"


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of the libraries that a record names; empty for one that is not installed."""
    return {name: _version(package) for name, package in PACKAGES.items()}


def environment(device_type: str) -> dict[str, Any]:
    """Describe this machine and its software."""
    return {
        "device": processor_name(device_type),
        "device_type": device_type,
        **(_gpu() if device_type == "cuda" else {}),
        "host_processor": processor_name("cpu"),
        "host_cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "transformers": _version("transformers"),
        **versions(),
        **{package: _version(package) for package in DISTRIBUTIONS.values()},
        "torch_build": torch.__version__,
        "source": source_digest(),
    }


def source_digest() -> str:
    """Return a digest of this suite's code, which identifies its revision without a git checkout."""
    digest = hashlib.sha256()
    for package in (bench, mixers):
        (folder,) = package.__path__
        for path in sorted(Path(folder).rglob("*.py")):
            if "reporting" in path.relative_to(folder).parts:
                continue  # reporting changes no figure
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def available_memory_gib() -> float:
    """Return the host memory that can be allocated without swapping, in GiB."""
    for line in _read("/proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) / 2**20
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def gpu_uuid() -> str:
    """Return the UUID of the current GPU, as NVML writes it."""
    return f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"


def _gpu() -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    card = Card(gpu_uuid())
    return {
        "gpu_uuid": gpu_uuid(),
        "gpu_memory_gib": round(properties.total_memory / 2**30, 1),
        "gpu_l2_mib": round(properties.L2_cache_size / 2**20, 1),
        "gpu_multiprocessors": properties.multi_processor_count,
        "gpu_power_limit_w": card.power_limit_w(),
        "gpu_max_sm_clock_mhz": card.max_sm_clock_mhz,
        "driver": pynvml.nvmlSystemGetDriverVersion(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""
