"""Repairs the folder of a sweep, so that it can continue. Imports no torch.

A case is kept if it has one record and, where the record has figures, the samples behind it. A killed process leaves
half a line, or samples without a record. A copied or edited folder may lack samples, hold damaged lines or have two
records of one case. What is not kept is measured again.
"""

import collections
import contextlib
import dataclasses
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.efficiency.records import Record
from bench.efficiency.samples import Samples
from bench.efficiency.settings import Case
from bench.efficiency.store import RECORDS_FILE, SAMPLES_FILE, parse_record, parse_samples, whole_row
from bench.files import remedy, write_atomically
from mixers.support.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """What a folder holds after its repair.

    Attributes:
        records: In the order in which they were measured.
        samples: Those behind them.
        lost: Why cases have to be measured again, with their number; none if nothing was lost.
    """

    records: list[Record]
    samples: list[Samples]
    lost: dict[str, int]


def repair(folder: Path) -> Repaired:
    """Keep the cases that are whole, and remove everything else.

    Raises:
        UserError: A record is from another schema, or a file cannot be written.
    """
    try:
        samples = {(each.case, each.process): each for each in _samples(folder / SAMPLES_FILE)}
        records, damaged = _records(folder / RECORDS_FILE)
        kept, lost = _whole(records.values(), timed={case for case, process in samples if process == 1})
        _write(folder / RECORDS_FILE, b"".join(line for line, record in records.items() if record.case in kept))
        behind = [each for each in samples.values() if each.case in kept]
        times = "".join(json.dumps(dataclasses.asdict(each)) + "\n" for each in behind)
        _write(folder / SAMPLES_FILE, times.encode())
    except OSError as error:
        hint = f"{remedy(error)}, then try again."
        raise UserError(f"{folder} cannot be written: {error.strerror}", hint=hint) from None
    lost |= {"damaged records": damaged} if damaged else {}
    return Repaired(records=[each for each in records.values() if each.case in kept], samples=behind, lost=lost)


def _records(path: Path) -> tuple[dict[bytes, Record], int]:
    """Return each distinct whole line with its record, and the number of damaged lines, without one that is cut off."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = {line: number for number, line in enumerate(lines, start=1) if whole_row(line) is not None}
    damaged = sum(whole_row(line) is None for line in lines if line.endswith(b"\n"))
    return {line: parse_record(line, path, number=number) for line, number in whole.items()}, damaged


def _samples(path: Path) -> Iterator[Samples]:
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for number, line in enumerate(lines, start=1):
        with contextlib.suppress(UserError):  # a damaged line; without samples the case is measured again
            if line.endswith(b"\n"):
                yield parse_samples(line, path, number=number)


def _whole(records: Collection[Record], *, timed: Collection[Case]) -> tuple[set[Case], dict[str, int]]:
    """Return the cases that are kept, and how many are not for which reason."""
    counts = collections.Counter(record.case for record in records)
    doubled = {case for case, count in counts.items() if count > 1}
    without = {each.case for each in records if each.status == "ok" and each.case not in timed} - doubled
    lost = {"two records of a case": len(doubled), "records without samples": len(without)}
    return counts.keys() - doubled - without, {reason: count for reason, count in lost.items() if count}


def _write(path: Path, content: bytes) -> None:
    if path.exists() and content != path.read_bytes():
        write_atomically(path, content)
