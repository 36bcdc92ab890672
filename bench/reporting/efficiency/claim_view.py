"""The records of one setting, as the paper's claims ask for them."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.efficiency.records import Record
from bench.reporting.efficiency.analysis import growth
from bench.reporting.efficiency.quantities import Quantity, time_as_in_paper


@dataclass(frozen=True, kw_only=True)
class View:
    """The records of one setting, as the paper's claims ask for them. A figure that is not there is a LookupError.

    Attributes:
        records: One for each mixer and length.
        attention: Which implementation is softmax attention here, ``sa/eager`` or ``sa/sdpa``; others are left out.
        papers_conditions: Whether models and conditions are the paper's, so its figures in GiB must be reproduced.
        time: Which time of a record counts; by default as the paper took it, or a single call's if that is not known.
    """

    records: Sequence[Record]
    attention: str
    papers_conditions: bool
    time: Quantity = time_as_in_paper

    @property
    def others(self) -> list[str]:
        """The mixers that are not softmax attention."""
        return list(dict.fromkeys(each.name for each in self.records if each.mixer != "sa"))

    def named(self, mixer: str) -> str:
        """Return a mixer's name with its implementation."""
        found = [self.attention] if mixer == "sa" else [each for each in self.others if each.startswith(f"{mixer}/")]
        if not found:
            raise LookupError(f"{mixer} was not measured")
        return found[0]

    def ms(self, name: str, seconds: float) -> float:
        """Return a time in ms."""
        record = self._record(name, seconds)
        time = self.time(record)
        if time is None:
            raise LookupError(f"{name} at {seconds:g} s: {record.error or 'that time is not known'}")
        return time

    def gib(self, name: str, seconds: float) -> float:
        """Return a peak memory in GiB."""
        record = self._record(name, seconds)
        if record.peak_memory_gib is None:
            raise LookupError(f"{name} at {seconds:g} s: {record.status}")
        return record.peak_memory_gib

    def exponent(self, name: str, quantity: str) -> float:
        """Return the power of the length with which ``GPU time`` or ``peak memory`` grows."""
        table = growth([each for each in self.records if each.name == name])
        found = table[table["quantity"] == quantity] if len(table) else table
        if not len(found):
            raise LookupError(f"{name}: its {quantity} is not known at enough lengths")
        return float(found["exponent"].iloc[0])

    def _record(self, name: str, seconds: float) -> Record:
        found = [each for each in self.records if each.name == name and each.seconds == seconds]
        if not found:
            raise LookupError(f"{name} at {seconds:g} s was not measured")
        return found[0]
