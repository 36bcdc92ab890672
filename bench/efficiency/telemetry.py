"""The GPU as NVML shows it while a case runs: clocks, temperature, throttling, energy, processes. Read, never set."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

Value = TypeVar("Value")

# nvbench voids samples below this share of the clock, which a card does not fall to under a load of matrix products
# alone.
LOWEST_CLOCK = 0.75

_READING_EVERY_S = 0.02  # a reading takes up to some milliseconds, in which nothing is measured

# Under matrix products without a pause a card reaches its power cap within a tenth of a second, and then its times
# depend on how warm it is and what it did before. So it gets a pause, as in nvbench, of up to three windows of samples.
_LONGEST_REST_S = 0.06

_POWER_CAP = "software power cap"

_REASONS = {
    _POWER_CAP: pynvml.nvmlClocksEventReasonSwPowerCap,
    "hardware slowdown": pynvml.nvmlClocksEventReasonHwSlowdown,
    "software thermal": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    "hardware thermal": pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    "power brake": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
    "clocks set by a user": pynvml.nvmlClocksEventReasonApplicationsClocksSetting,
    "sync boost": pynvml.nvmlClocksEventReasonSyncBoost,
    "display clock": pynvml.nvmlClocksEventReasonDisplayClockSetting,
}


class Card:
    """One GPU, found by its UUID, since NVML counts devices that CUDA may not see. What it does not tell is None."""

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
        """Return what holds the clocks down at this moment, idleness left out."""
        bits = self._ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons) or 0
        return {reason for reason, bit in _REASONS.items() if bits & bit}

    def energy_j(self) -> float | None:
        """Return the energy taken since the driver was loaded, which moves on every tenth of a second or so."""
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
        """Return the memory that this process holds, its context included; None where NVML hides the processes."""
        used = self._processes().get(os.getpid())
        return None if used is None else used / 2**30

    def other_processes(self) -> int | None:
        """Return how many processes of others use the GPU; None where NVML hides them, as in most containers."""
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


def _of_this_sweep(pid: int) -> bool:
    """Tell whether a process belongs to the command that this one belongs to."""
    try:
        return os.getpgid(pid) == os.getpgid(0)
    except ProcessLookupError:
        return False


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What the GPU was like while a case was timed. None where it was not read or NVML does not tell.

    Attributes:
        sm_clock_mhz: Median of the readings.
        sm_clock_mhz_min: The lowest.
        temperature_c: The highest.
        throttle_reasons: All that were seen, with commas between them.
        energy_j: Energy of one call, from the counter's first movement to its last while single calls were timed.
        power_w: Mean power over that time.
        energy_s: How long that was; the counter moves every 0.1 s or so, and each end is known to about 0.02 s.
    """

    sm_clock_mhz: float | None = None
    sm_clock_mhz_min: float | None = None
    temperature_c: float | None = None
    throttle_reasons: str = ""
    energy_j: float | None = None
    power_w: float | None = None
    energy_s: float | None = None


class Monitor:
    """Reads a card now and then while a case runs."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._last_s = 0.0
        self._calls = 0
        self._clocks: list[int] = []
        self._low_clocks: list[int] = []  # of void windows, which count where a card has no others
        self._temperatures: list[int] = []
        self._reasons: set[str] = set()
        self._capped = False
        self._energies: list[tuple[float, int, float]] = []  # joules, calls so far and time, at each movement

    def observe(self, calls: int) -> int:
        """Take a reading, unless the last one has only just been.

        Args:
            calls: Calls made since this was last asked, whose energy counts; 0 where that is not of interest.

        Returns:
            1 where the clock is below three quarters of the card's highest, else 0.
        """
        self._calls += calls
        if time.perf_counter() - self._last_s < _READING_EVERY_S:
            return 0
        if calls:
            energy, now = self._card.energy_j(), time.perf_counter()
            if energy is not None and (not self._energies or energy > self._energies[-1][0]):
                self._energies.append((energy, self._calls, now))
        clock, temperature = self._card.sm_clock_mhz(), self._card.temperature_c()
        reasons = self._card.throttle_reasons()
        self._reasons |= reasons
        self._capped = _POWER_CAP in reasons
        self._last_s = time.perf_counter()
        if temperature is not None:
            self._temperatures.append(temperature)
        if clock is None:
            return 0
        if clock < LOWEST_CLOCK * (self._card.max_sm_clock_mhz or 0):
            self._low_clocks.append(clock)
            return 1  # and the window is void
        self._clocks.append(clock)
        return 0

    def rest(self) -> None:
        """Leave the card idle for as long as its power cap held it down at the last reading, up to 0.06 s."""
        end = time.perf_counter() + _LONGEST_REST_S
        while self._capped and time.perf_counter() < end:
            time.sleep(_READING_EVERY_S)
            self._capped = _POWER_CAP in self._card.throttle_reasons()

    def conditions(self) -> Conditions:
        """Return what all readings say together."""
        # The first value was read in the midst of an interval of the counter; from its first movement on it counts.
        moved = self._energies[1:]
        joules, calls, seconds = (
            (last - first for first, last in zip(moved[0], moved[-1], strict=True)) if moved else (0.0, 0, 0.0)
        )
        clocks = self._clocks or self._low_clocks
        return Conditions(
            sm_clock_mhz=statistics.median(clocks) if clocks else None,
            sm_clock_mhz_min=min(clocks, default=None),
            temperature_c=max(self._temperatures, default=None),
            throttle_reasons=", ".join(sorted(self._reasons)),
            energy_j=joules / calls if calls else None,
            power_w=joules / seconds if calls else None,
            energy_s=seconds if calls else None,
        )
