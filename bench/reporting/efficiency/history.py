"""The same cases over several sweeps of one machine: when did each become faster or slower? Needs no torch.

A case is compared with the sweep of its last change, by the rules of `compare`. So a slow drift is found as well, once
it adds up to more than noise explains. A case that is faster or slower has changed. Later sweeps compare with that.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.efficiency.records import Record
from bench.efficiency.settings import Case, Setting
from bench.efficiency.store import read_header, read_pooled
from bench.reporting.efficiency.comparison import Comparison, compare
from bench.reporting.efficiency.overview import check_same, distinguish
from bench.reporting.efficiency.quantities import Quantity, gpu_time, latency
from bench.reporting.efficiency.verdict import Judgement
from mixers.support.errors import UserError

_TIMES: dict[str, Quantity] = {"gpu": gpu_time, "latency": latency}

# What may explain a change: the code, the libraries, the driver and the card.
_VERSIONS = ("sbench", "source", "torch_build", "triton", "fla", "driver", "gpu_uuid")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One sweep of a history.

    Attributes:
        folder: Where it is.
        began: When its first case was measured.
        versions: What may explain a change, as far as it is known.
    """

    folder: Path
    began: datetime
    versions: Mapping[str, str]

    @property
    def date(self) -> str:
        """Day and minute of its beginning, in UTC."""
        return f"{self.began:%Y-%m-%d %H:%M}"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A case in one sweep.

    Attributes:
        sweep: The number of the sweep, from 0.
        record: Its record.
        since: The sweep it is compared with: that of the last change, or the first one; None for the first one.
        judgement: What the samples of both say, in ms; None where they say nothing.
        reason: Why they say nothing; otherwise empty.
    """

    sweep: int
    record: Record
    since: int | None = None
    judgement: Judgement | None = None
    reason: str = ""

    @property
    def changed(self) -> bool:
        """Whether the case became faster or slower in this sweep."""
        return self.judgement is not None and self.judgement.verdict in ("faster", "slower")


@dataclass(frozen=True, kw_only=True)
class History:
    """Cases over several sweeps.

    Attributes:
        sweeps: The oldest first.
        by: The time that is compared: ``gpu`` or ``latency``.
        series: The points of each case that at least two sweeps have a record of.
        labels: What tells each setting from the others.
        warnings: What else differs between sweeps, so that their ratios are not about the code alone.
    """

    sweeps: tuple[Sweep, ...]
    by: str
    series: Mapping[Case, tuple[Point, ...]]
    labels: Mapping[Setting, str]
    warnings: tuple[str, ...]

    @property
    def time(self) -> Quantity:
        """The time that is compared."""
        return _TIMES[self.by]

    @property
    def changes(self) -> list[tuple[Case, Point]]:
        """Every change, the oldest first."""
        found = [(case, point) for case, points in self.series.items() for point in points if point.changed]
        return sorted(found, key=lambda change: change[1].sweep)

    @property
    def unknown(self) -> list[tuple[Case, Point]]:
        """Every point that says nothing, with its reason."""
        return [(case, point) for case, points in self.series.items() for point in points if point.reason]

    def only(self, names: Collection[str]) -> "History":
        """Return the history of some mixers or implementations: ``sa/sdpa``."""
        series = {case: points for case, points in self.series.items() if case.name in names}
        return dataclasses.replace(self, series=series)

    def name(self, case: Case) -> str:
        """Return mixer and implementation, and the setting where there are several."""
        return f"{case.name} {self.labels[case.setting]}".rstrip()


def read(folders: Sequence[Path], *, by: str | None = None) -> History:
    """Follow the cases of several sweeps over time.

    Args:
        folders: What ``sbench sweep`` made, in any order.
        by: ``gpu`` or ``latency``, as for `compare`; None for its choice in the oldest two sweeps with a common case.

    Raises:
        UserError: There is one folder, a folder is given twice or cannot be read, the sweeps are of several machines or
            inputs, no case is in two of them, or there is no such time.
    """
    _check_folders(folders)
    records = {folder: read_pooled(folder) for folder in folders}
    hint = "A history is of one machine. `sbench compare` compares two sweeps of any."
    for field in ("device", "input"):
        check_same(field, folders, list(records.values()), hint=hint)
    sweeps = sorted((_sweep(folder, records[folder]) for folder in folders), key=lambda sweep: sweep.began)
    found: dict[Case, list[tuple[int, Record]]] = {}
    for number, sweep in enumerate(sweeps):
        for record in records[sweep.folder]:
            found.setdefault(record.case, []).append((number, record))
    common = {case: each for case, each in found.items() if len(each) > 1}
    if not common:
        hint = "Cases are the same in mixer, implementation, setting and seconds."
        raise UserError("no case is in two of the sweeps", hint=hint)
    comparisons = _Comparisons([sweep.folder for sweep in sweeps], by)
    series = _follow(common, comparisons)
    return History(
        sweeps=tuple(sweeps),
        by=comparisons.by or "gpu",
        series=series,
        labels=distinguish(case.setting for case in common),
        warnings=comparisons.warnings,
    )


def _check_folders(folders: Sequence[Path]) -> None:
    if len(folders) < 2:
        raise UserError(
            "a history needs two sweeps or more", hint="Give the folders of the same sweep at several dates."
        )
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise UserError(f"{folder} is given twice", hint="Give each sweep once.")


def _sweep(folder: Path, records: Sequence[Record]) -> Sweep:
    environment = read_header(folder).environment
    began = [datetime.fromisoformat(record.started_at) for record in records]
    return Sweep(
        folder=folder,
        began=min(each.astimezone(UTC) if each.tzinfo else each.replace(tzinfo=UTC) for each in began),
        versions={name: str(environment[name]) for name in _VERSIONS if environment.get(name)},
    )


class _Comparisons:
    """The comparisons of pairs of sweeps by one time, each made once."""

    def __init__(self, folders: Sequence[Path], by: str | None) -> None:
        self.by = by
        self._folders = folders
        self._made: dict[tuple[int, int], Comparison] = {}

    def of(self, before: int, after: int) -> Comparison:
        """Return the comparison of two sweeps; the first one settles the time, unless it was given."""
        if (before, after) not in self._made:
            comparison = compare(self._folders[before], self._folders[after], by=self.by)
            self.by = comparison.by
            self._made[before, after] = comparison
        return self._made[before, after]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes sweeps not comparable, each reason once."""
        every = (warning for comparison in self._made.values() for warning in comparison.warnings)
        return tuple(dict.fromkeys(every))


def _follow(
    cases: Mapping[Case, Sequence[tuple[int, Record]]], comparisons: _Comparisons
) -> dict[Case, tuple[Point, ...]]:
    return {case: tuple(_points(case, each, comparisons)) for case, each in cases.items()}


def _points(case: Case, records: Sequence[tuple[int, Record]], comparisons: _Comparisons) -> Iterator[Point]:
    """Yield the points of a case, each compared with the sweep of its last change."""
    since: int | None = None
    for number, record in records:
        if since is None:
            point = Point(sweep=number, record=record)
        else:
            judgement, reason = _judged(case, comparisons.of(since, number))
            point = Point(sweep=number, record=record, since=since, judgement=judgement, reason=reason)
        yield point
        if record.status == "ok" and (since is None or point.changed):
            since = number


def _judged(case: Case, comparison: Comparison) -> tuple[Judgement | None, str]:
    for pair in comparison.pairs:
        if pair.before.case == case:
            return pair.judgement, pair.refusal
    return None, next((each.reason for each in comparison.unpaired if each.case == case), "not in both sweeps")
