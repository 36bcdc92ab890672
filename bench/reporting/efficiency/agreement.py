"""Do sweeps agree in what makes their times comparable? Needs no torch."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.efficiency.pooling import by_case
from bench.efficiency.records import Record
from bench.efficiency.samples import Samples
from bench.efficiency.settings import Case, Setting
from bench.efficiency.store import BINDING, Header
from mixers.support.errors import UserError

# What both sides of a pair must share for their ratio to be about the code. Sides that differ in one of these, for
# instance in the GPU, are still compared, with a warning. Another number of parameters means another model.
_MUST_AGREE = ("device", "device_type", *(field.name for field in dataclasses.fields(Setting)), "input", "parameters")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The content of one folder that ``sbench sweep`` made."""

    folder: Path
    header: Header
    records: tuple[Record, ...]
    samples: tuple[Samples, ...]

    @property
    def settings(self) -> list[Setting]:
        """All settings of its plan, each once."""
        return list(dict.fromkeys(contestant.setting for contestant in self.header.plan.contestants))


def mismatches(before: Mapping[Case, Record], after: Mapping[Case, Record]) -> Iterator[str]:
    """Yield what differs in the common cases and makes their times not comparable: ``device: A -> B``."""
    common = [(before[case], after[case]) for case in before if case in after]
    for field in _MUST_AGREE:
        both = [(getattr(one, field), getattr(other, field)) for one, other in common]
        if field == "parameters":  # None where the model could not be built
            both = [pair for pair in both if None not in pair]
        differing = [(one, other) for one, other in both if one != other]
        if differing:
            changes = "; ".join(f"{one} -> {other}" for one, other in dict.fromkeys(differing))
            extent = "" if len(differing) == len(common) else f" ({len(differing)} of {len(common)} cases)"
            yield f"{field.rstrip('_')}: {changes}{extent}"


def check_repeats(sweeps: Sequence[Sweep]) -> None:
    """Check that sweeps are repeats of one, so that their processes may count as those of one side.

    Raises:
        UserError: They differ in device, versions, settings, input or model, or one is a copy of another.
    """
    for number, one in enumerate(sweeps):
        for other in sweeps[number + 1 :]:
            if _is_copy(one, other):
                message = f"{one.folder} and {other.folder} hold the same samples, so one is a copy of the other"
                raise UserError(message, hint="Measure repeats with `sbench sweep`, each in a folder of its own.")
            if differences := list(dict.fromkeys(_differences(one, other))):
                message = f"{one.folder} and {other.folder} are no repeats of one sweep: {'; '.join(differences)}"
                hint = "Commas join repeats of one side. Blanks separate the sides to compare: A1,A2 B1,B2"
                raise UserError(message, hint=hint)


def _is_copy(one: Sweep, other: Sweep) -> bool:
    """Tell whether two sweeps share the samples of a process. No two processes take ten equal times, the fewest."""
    samples = [
        {
            (case, each.process): (each.latency_ms, each.gpu_ms)
            for case, some in by_case(sweep.samples).items()
            for each in some
        }
        for sweep in (one, other)
    ]
    return any(samples[0][key] == samples[1][key] for key in samples[0].keys() & samples[1].keys())


def _differences(one: Sweep, other: Sweep) -> Iterator[str]:
    for name in BINDING:
        before, after = one.header.environment.get(name), other.header.environment.get(name)
        if before != after:
            yield f"{name}: {before} -> {after}"
    for sweep, beside in ((one, other), (other, one)):
        for setting in sweep.settings:
            if setting not in beside.settings:
                yield f"only {sweep.folder} has {setting.label}"
    yield from mismatches(*({record.case: record for record in sweep.records} for sweep in (one, other)))
