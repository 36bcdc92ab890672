"""What tables and figures both need to know of a sweep: its mixers, its baseline, its settings and its title."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.efficiency.records import Record
from bench.efficiency.settings import RANDOM_INPUT, Setting
from mixers.support.errors import UserError

# What the others are compared with: softmax attention as the paper measured it, or its plain equations without that.
BASELINES = ("sa/eager", "sa/reference")

CPU_NOTICE = "Measured on the CPU, in plain PyTorch: no guide to GPU speed"


def names_of(records: Sequence[Record]) -> list[str]:
    """Return each mixer/implementation once, in the order of first appearance."""
    return list(dict.fromkeys(record.name for record in records))


def mixers_of(records: Sequence[Record]) -> list[Record]:
    """Return the records of mixers, without those of the other parts of a whole system."""
    return [record for record in records if record.part == "mixer"]


def other_parts_of(records: Sequence[Record]) -> list[Record]:
    """Return the records of encoders and heads."""
    return [record for record in records if record.part != "mixer"]


def baseline_name(records: Sequence[Record]) -> str | None:
    """Return the name that the others are compared with; None where the sweep had no such case."""
    names = names_of(records)
    return next((name for name in BASELINES if name in names), None)


def distinguish(settings: Iterable[Setting]) -> dict[Setting, str]:
    """Return for each setting, once and in order, what tells it from the others: ``float32 training``.

    A single setting has an empty text. Bare numbers and states get a word: ``batch 8``, ``100 text tokens``.
    """
    distinct = list(dict.fromkeys(settings))
    rows = [dataclasses.asdict(setting) for setting in distinct]
    varying = [axis for axis in rows[0] if len({row[axis] for row in rows}) > 1] if rows else []
    words = {"batch": "batch {}", "text_tokens": "{} text tokens", "cache": "{} cache", "width": "width {}"}
    words |= {"heads": "{} heads"}
    return {
        setting: " ".join(words.get(axis, "{}").format("usual" if row[axis] is None else row[axis]) for axis in varying)
        for setting, row in zip(distinct, rows, strict=True)
    }


def by_setting(records: Sequence[Record]) -> dict[Setting, list[Record]]:
    """Return the records of each setting, in the order of first appearance."""
    groups: dict[Setting, list[Record]] = {}
    for record in records:
        groups.setdefault(record.setting, []).append(record)
    return groups


def check_same(field: str, folders: Sequence[Path], sweeps: Sequence[Sequence[Record]], *, hint: str) -> None:
    """Refuse sweeps of different machines or inputs, whose figures must not be compared.

    Raises:
        UserError: They differ in the field. The hint says what helps.
    """
    found = [", ".join(sorted({str(getattr(record, field)) for record in records})) for records in sweeps]
    if len(set(found)) > 1:
        what = "; ".join(f"{folder}: {values}" for folder, values in zip(folders, found, strict=True))
        raise UserError(f"the sweeps do not have the same {field}: {what}", hint=hint)


def title_of(records: Sequence[Record]) -> str:
    """Return what all cases of one setting share, and on a CPU a second line with a warning.

    Execution, cache and input are named only where they are not the default: eager, warm and random.
    """
    first = records[0]
    setting = f"{first.device}, {first.setting.label}"
    setting += "" if first.input == RANDOM_INPUT else f", {first.input}"
    return f"{setting}\n{CPU_NOTICE}" if first.device_type == "cpu" else setting
