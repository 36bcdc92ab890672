"""A clock whose time passes only where something sleeps, so that a busy machine changes nothing."""

import pytest

from bench.efficiency.measurement import telemetry, windows


class Clock:
    """Stands in for the module `time`."""

    now_s = 100.0

    def perf_counter(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (telemetry, windows):
        monkeypatch.setattr(module, "time", made)
    return made
