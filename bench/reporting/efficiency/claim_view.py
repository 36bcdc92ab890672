"""The records of one setting, as the paper's claims ask for them, by one clock."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.efficiency.records import Record
from bench.reporting import published
from bench.reporting.efficiency.analysis import Growth, growth_of
from bench.reporting.efficiency.quantities import Quantity, gpu_time, latency, paper_time
from bench.reporting.formats import cell, interval


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A way to take a time.

    Attributes:
        label: What it is called where a figure is missing.
        time: The time by it.
        lowest, highest: Its lowest and highest figure of one process; None where no record can have them.
    """

    label: str
    time: Quantity
    lowest: Quantity | None = None
    highest: Quantity | None = None


GPU_CLOCK = Clock(label="GPU time", time=gpu_time)
SINGLE_CALLS = Clock(
    label="latency",
    time=latency,
    lowest=lambda record: record.latency_ms_low,
    highest=lambda record: record.latency_ms_high,
)
PAPERS_PROTOCOL = Clock(label="time by the paper's protocol", time=paper_time)


@dataclass(frozen=True, kw_only=True)
class View:
    """The records of one setting, as the paper's claims ask for them. A figure that is not there is a LookupError.

    Attributes:
        records: One for each mixer and length.
        attention: Which implementation is softmax attention here, ``sa/eager`` or ``sa/sdpa``; others are left out.
        papers_conditions: Whether models and conditions are the paper's, so its figures in GiB must be reproduced.
        clock: Which time of a record counts. Verdicts rest on the GPU's.
    """

    records: Sequence[Record]
    attention: str
    papers_conditions: bool
    clock: Clock = GPU_CLOCK

    @property
    def others(self) -> list[str]:
        """The paper's mixers that are not softmax attention: it claims nothing of others."""
        papers = [each for each in published.MIXERS if each != "sa"]
        return list(dict.fromkeys(each.name for each in self.records if each.mixer in papers))

    def named(self, mixer: str) -> str:
        """Return a mixer's name with its implementation."""
        found = [self.attention] if mixer == "sa" else [each for each in self.others if each.startswith(f"{mixer}/")]
        if not found:
            raise LookupError(f"{mixer} was not measured")
        return found[0]

    def timed(self, name: str, seconds: float) -> Record:
        """Return the record of a case whose time is known by this clock."""
        record = self._record(name, seconds)
        if self.clock.time(record) is None:
            raise LookupError(f"{name} at {seconds:g} s: {record.error or f'its {self.clock.label} is not known'}")
        return record

    def ms(self, record: Record) -> float:
        """Return the time of a record from `timed`."""
        time = self.clock.time(record)
        assert time is not None
        return time

    def milliseconds(self, record: Record) -> str:
        """Return its time in words, with the spread between processes where that is known."""
        low, high = self._ends(record)
        return f"{cell(self.ms(record))} ms{_in_brackets(low, high)}"

    def ratio(self, above: Record, below: Record) -> str:
        """Return a ratio of two times in words, with the widest spread that their processes allow."""
        (low, high), (least, most) = self._ends(above), self._ends(below)
        spread = _in_brackets(low / most, high / least) if low and high and least and most else ""
        return f"{cell(self.ms(above) / self.ms(below))} x{spread}"

    def _ends(self, record: Record) -> tuple[float | None, float | None]:
        low, high = self.clock.lowest, self.clock.highest
        return low(record) if low else None, high(record) if high else None

    def gib(self, name: str, seconds: float) -> float:
        """Return a peak memory in GiB."""
        record = self._record(name, seconds)
        if record.peak_memory_gib is None:
            raise LookupError(f"{name} at {seconds:g} s: {record.status}")
        return record.peak_memory_gib

    def growth(self, name: str, quantity: Quantity, *, label: str) -> Growth:
        """Return how a quantity of a mixer grows with the length."""
        found = growth_of(self.records, name, quantity)
        if found is None:
            raise LookupError(f"{name}: its {label} is not known at enough lengths")
        return found

    def _record(self, name: str, seconds: float) -> Record:
        found = [each for each in self.records if each.name == name and each.seconds == seconds]
        if not found:
            raise LookupError(f"{name} at {seconds:g} s was not measured")
        return found[0]


def _in_brackets(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({interval(low, high, cell)})"
