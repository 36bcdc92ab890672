"""The GPU as NVML shows it while a case runs: clocks, temperature, throttling, energy, processes. Read, never set."""

import statistics
import time
from dataclasses import dataclass

from bench.gpu import POWER_CAP, Card

# nvbench voids samples below this share of the highest clock. Matrix products alone do not bring a card that low.
LOWEST_CLOCK = 0.75

_READING_EVERY_S = 0.02  # a reading takes up to some milliseconds, and nothing is measured meanwhile

# Under matrix products without a pause, a card reaches its power cap within a tenth of a second. Its times then depend
# on how warm it is and what it did before. So it gets a pause of up to three windows of samples, as in nvbench.
_LONGEST_PAUSE_S = 0.06


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The state of the GPU while a case was timed. None where it was not read or NVML does not report it.

    Attributes:
        sm_clock_mhz: Median of the readings.
        sm_clock_mhz_min: The lowest.
        temperature_c: The highest.
        throttle_reasons: All that were seen, separated by commas.
        energy_j: Energy of one call, from the counter's first change to its last while the GPU's time was taken.
        power_w: Mean power over that time.
        energy_s: That time. The counter changes every 0.1 s or so, and each end is known to about 0.02 s.
    """

    sm_clock_mhz: float | None = None
    sm_clock_mhz_min: float | None = None
    temperature_c: float | None = None
    throttle_reasons: str = ""
    energy_j: float | None = None
    power_w: float | None = None
    energy_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Occupancy:
    """Who uses the GPU and its memory. None where NVML does not report it.

    Attributes:
        process_gib: Memory of this process, its context included.
        device_gib: Memory of all processes.
        other_processes: Number of processes of others.
    """

    process_gib: float | None = None
    device_gib: float | None = None
    other_processes: int | None = None


class Monitor:
    """Reads a card from time to time while a case runs."""

    def __init__(self, card: Card) -> None:
        self._card = card
        self._last_s = 0.0
        self._calls = 0
        self._clocks: list[int] = []
        self._low_clocks: list[int] = []  # of void windows; they count if a card has no others
        self._temperatures: list[int] = []
        self._reasons: set[str] = set()
        self._capped = False
        self._energies: list[tuple[float, int, float]] = []  # joules, calls so far and time, at each change

    def observe(self, calls: int) -> int:
        """Take a reading, unless the last one is less than 0.02 s old.

        Args:
            calls: Calls made since the last time whose energy counts; 0 if it does not count.

        Returns:
            1 if the clock is below three quarters of the card's highest, otherwise 0.
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
        self._capped = POWER_CAP in reasons
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

    def pause(self) -> None:
        """Leave the card idle while its power cap holds it down, up to 0.06 s, if it did so at the last reading."""
        end = time.perf_counter() + _LONGEST_PAUSE_S
        while self._capped and time.perf_counter() < end:
            time.sleep(_READING_EVERY_S)
            self._capped = POWER_CAP in self._card.throttle_reasons()

    def conditions(self) -> Conditions:
        """Summarize all readings."""
        # The first value was read in the middle of an interval of the counter. Counting starts at its first change.
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
