"""The sides of a comparison: each is one sweep, or several repeats of it, pooled by process. Needs no torch."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.efficiency.pooling import by_case, process_medians
from bench.efficiency.records import Record
from bench.efficiency.samples import Samples
from bench.efficiency.settings import Case, Setting
from bench.efficiency.store import read_header, read_records, read_samples
from bench.reporting.efficiency.agreement import Sweep, check_repeats
from bench.reporting.efficiency.quantities import launch_gaps_of
from mixers.support.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a comparison.

    Attributes:
        folders: Of its sweeps.
        planned: The cases that any of them was to measure.
        records: One for each case, pooled from the sweeps that have it.
        samples: One entry for each case and each process of each sweep.
        environment: What its sweeps say; different values of one name are joined.
    """

    folders: tuple[Path, ...]
    planned: frozenset[Case]
    records: dict[Case, Record]
    samples: dict[Case, list[Samples]]
    environment: dict[str, Any]

    @property
    def settings(self) -> list[Setting]:
        """All settings of its cases."""
        return list(dict.fromkeys(case.setting for case in self.records))

    def moved_to(self, setting: Setting) -> "Side":
        """Return this side with its only setting replaced, so its cases pair with cases of that setting."""
        (own,) = self.settings

        def moved(case: Case) -> Case:
            return dataclasses.replace(case, setting=setting)

        planned = frozenset(moved(case) for case in self.planned if case.setting == own)
        records = {moved(case): record for case, record in self.records.items()}
        samples = {moved(case): each for case, each in self.samples.items()}
        return dataclasses.replace(self, planned=planned, records=records, samples=samples)

    def gpu_ms(self, case: Case) -> list[list[float]]:
        """Return the samples of the GPU's time of each process that took some: one process of each sweep."""
        return [each.gpu_ms for each in self.samples.get(case, []) if each.gpu_ms]

    def process_medians(self, case: Case) -> list[float]:
        """Return the median single call of each process, in ms; none where there are none."""
        return process_medians(self.samples.get(case, []))


def read_sides(sides: Sequence[Sequence[Path]]) -> list[Side]:
    """Read the folders of each side.

    Raises:
        UserError: There are fewer than two sides, a folder is given twice, a file is missing or damaged, or the sweeps
            of one side are no repeats of one.
    """
    if len(sides) < 2:
        hint = "Blanks separate the sides, and commas join repeats of one: sbench compare A B, or A1,A2 B1,B2"
        raise UserError("a comparison needs two sides", hint=hint)
    seen: set[Path] = set()
    for folder in itertools.chain.from_iterable(sides):
        if folder.resolve() in seen:
            raise UserError(f"{folder} is given twice", hint="Give each folder once. Nothing differs from itself.")
        seen.add(folder.resolve())
    return [_read(folders) for folders in sides]


def _read(folders: Sequence[Path]) -> Side:
    sweeps = [
        Sweep(
            folder=folder,
            records=tuple(read_records(folder)),
            header=read_header(folder),
            samples=tuple(read_samples(folder)),
        )
        for folder in folders
    ]
    check_repeats(sweeps)
    records: dict[Case, list[Record]] = {}
    for record in itertools.chain.from_iterable(sweep.records for sweep in sweeps):
        records.setdefault(record.case, []).append(record)
    return Side(
        folders=tuple(folders),
        planned=frozenset(itertools.chain.from_iterable(sweep.header.cases for sweep in sweeps)),
        records={case: _pooled(repeats) for case, repeats in records.items()},
        samples=by_case(itertools.chain.from_iterable(sweep.samples for sweep in sweeps)),
        environment=_joined([sweep.header.environment for sweep in sweeps]),
    )


def _pooled(repeats: Sequence[Record]) -> Record:
    """Return one record of a case: one without a figure if any has none, otherwise with all that is noise in any.

    That is the record in which the gaps between launches count most, with the highest and the lowest clock. Its peak of
    memory is the highest.
    """
    failed = [record for record in repeats if record.status != "ok"]
    if failed and len(repeats) > 1:
        where = f"in {len(failed)} of {len(repeats)} sweeps"
        return dataclasses.replace(failed[0], error=": ".join(filter(None, (where, failed[0].error))))
    return dataclasses.replace(
        max(repeats, key=launch_gaps_of),
        peak_memory_gib=max(_known(each.peak_memory_gib for each in repeats), default=None),
        sm_clock_mhz=max(_known(each.sm_clock_mhz for each in repeats), default=None),
        sm_clock_mhz_min=min(_known(each.sm_clock_mhz_min for each in repeats), default=None),
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _joined(environments: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one environment: a value that all share stays as it is, others are joined in a fixed order."""
    names = dict.fromkeys(itertools.chain.from_iterable(environments))
    values = {name: [each.get(name) for each in environments] for name in names}
    return {
        name: each[0] if all(one == each[0] for one in each) else ", ".join(sorted({str(one) for one in each}))
        for name, each in values.items()
    }
