"""A GPU: its clocks, temperature, throttling, energy, memory and processes by NVML, and when it is done. Never set."""

import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any

import psutil
import pynvml
import torch

POWER_CAP = "software power cap"

_REASONS = {
    POWER_CAP: pynvml.nvmlClocksEventReasonSwPowerCap,
    "hardware slowdown": pynvml.nvmlClocksEventReasonHwSlowdown,
    "software thermal": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    "hardware thermal": pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    "power brake": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
    "clocks set by a user": pynvml.nvmlClocksEventReasonApplicationsClocksSetting,
    "sync boost": pynvml.nvmlClocksEventReasonSyncBoost,
    "display clock": pynvml.nvmlClocksEventReasonDisplayClockSetting,
}


class Card:
    """One GPU, found by its UUID, since NVML counts devices that CUDA may not see. An unknown value is None."""

    def __init__(self, uuid: str) -> None:
        """Open it.

        Args:
            uuid: As ``nvidia-smi -L`` prints it: ``GPU-...``.
        """
        pynvml.nvmlInit()
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        self.max_sm_clock_mhz: int | None = self._ask(pynvml.nvmlDeviceGetMaxClockInfo, pynvml.NVML_CLOCK_SM)

    def sm_clock_mhz(self) -> int | None:
        """Return the clock of the multiprocessors at this moment."""
        return self._ask(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM)  # type: ignore[no-any-return]

    def temperature_c(self) -> int | None:
        """Return the temperature of the chip."""
        return self._ask(pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU)  # type: ignore[no-any-return]

    def throttle_reasons(self) -> set[str]:
        """Return what holds the clocks down at this moment, except idleness."""
        bits = self._ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons) or 0
        return {reason for reason, bit in _REASONS.items() if bits & bit}

    def energy_j(self) -> float | None:
        """Return the energy since the driver was loaded. It changes every tenth of a second or so."""
        millijoules = self._ask(pynvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if millijoules is None else millijoules / 1e3

    def power_limit_w(self) -> float | None:
        """Return the power limit in force."""
        milliwatts = self._ask(pynvml.nvmlDeviceGetEnforcedPowerLimit)
        return None if milliwatts is None else milliwatts / 1e3

    def used_gib(self) -> float:
        """Return the memory that all processes together hold on the device, contexts included."""
        return float(pynvml.nvmlDeviceGetMemoryInfo(self._handle).used / 2**30)

    def own_gib(self) -> float | None:
        """Return the memory that this process holds, its context included; None if NVML hides the processes."""
        used = self._processes().get(os.getpid())
        return None if used is None else used / 2**30

    def other_processes(self) -> int | None:
        """Return how many processes of others use the GPU; None if NVML hides them, as in most containers."""
        pids = self._processes().keys()
        return sum(not _of_this_sweep(pid) for pid in pids) if os.getpid() in pids else None

    def _processes(self) -> dict[int, int | None]:
        listed = self._ask(pynvml.nvmlDeviceGetComputeRunningProcesses) or []
        return {process.pid: process.usedGpuMemory for process in listed}

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return question(self._handle, *arguments)
        except pynvml.NVMLError:
            return None


def gpu_clock() -> float:
    """Return the time in seconds, once the GPU has done all it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def _of_this_sweep(pid: int) -> bool:
    """Tell whether a process is this one, or another worker of its sweep: the workers of a sweep have one parent."""
    if multiprocessing.parent_process() is None:
        return pid == os.getpid()
    try:
        return psutil.Process(pid).ppid() == os.getppid()
    except psutil.NoSuchProcess:
        return False
