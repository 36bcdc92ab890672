"""What the records of one sweep say about the sweep as a whole. Tables and figures both ask here."""

from collections.abc import Sequence

from bench.efficiency.records import RANDOM_INPUT, Record

# What the others are compared with: softmax attention as the paper measured it, else its plain equations.
BASELINES = ("sa/eager", "sa/reference")

CPU_NOTICE = "Measured on the CPU, in plain PyTorch: no guide to GPU speed"


def names_of(records: Sequence[Record]) -> list[str]:
    """Return each mixer/implementation once, in the order of first appearance."""
    return list(dict.fromkeys(record.name for record in records))


def baseline_name(records: Sequence[Record]) -> str | None:
    """Return the name that the others are compared with; None where the sweep had no such case."""
    names = names_of(records)
    return next((name for name in BASELINES if name in names), None)


def title_of(records: Sequence[Record]) -> str:
    """Return what all cases of the sweep share, and on a CPU a second line that says what that means.

    Execution, cache and input are named only where they are not the default: eager, warm and random.
    """
    first = records[0]
    setting = f"{first.device}, {first.precision}, {first.preset} preset, {first.pass_}"
    setting += "" if first.execution == "eager" else f", {first.execution} execution"
    setting += "" if first.cache == "warm" else f", {first.cache} cache"
    setting += "" if first.input == RANDOM_INPUT else f", {first.input}"
    return f"{setting}\n{CPU_NOTICE}" if first.device_type == "cpu" else setting
