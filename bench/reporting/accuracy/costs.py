"""GPU times of sweeps beside the scores of a table: of the same mixer, direction, width and preset. Needs no torch."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.efficiency.records import Record
from bench.efficiency.store import read_records
from bench.reporting import published
from bench.reporting.accuracy.evaluations import Encoders, EvaluatedRun, Row
from bench.reporting.formats import enumeration
from mixers.support.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What the rows of a table cost.

    Attributes:
        seconds: Lengths of audio, rising.
        times: For a row and a column of the table, the record at each length that has a GPU time; none where nothing
            fits. All are of inference at batch 1, on one card and in one precision.
        conditions: That card and precision, in words.
        notes: What a reader must know.
    """

    seconds: tuple[float, ...]
    times: Mapping[tuple[Row, str], Mapping[float, Record]]
    conditions: str
    notes: tuple[str, ...]

    def of(self, row: Row, column: str) -> tuple[Record | None, ...]:
        """Return the record at each length; None where there is no time."""
        found = self.times.get((row, column), {})
        return tuple(found.get(seconds) for seconds in self.seconds)


@dataclass(frozen=True, kw_only=True)
class _Model:
    """What the runs of a row with one pair of encoders trained."""

    preset: str
    width: int
    implementations: frozenset[str]


def read_costs(
    folders: Sequence[Path], runs: Sequence[EvaluatedRun], rows: Iterable[Row], *, columns: Mapping[Encoders, str]
) -> Costs:
    """Return the GPU times of sweeps for the rows of a table.

    Args:
        folders: Those of the sweeps.
        runs: The runs of the table.
        rows: Its rows.
        columns: The column of each pair of encoders.

    Raises:
        UserError: A sweep cannot be read, no time is of a model that the runs trained, one case was measured twice, or
            the times are of several cards, precisions or other conditions.
    """
    every = [record for folder in folders for record in read_records(folder)]
    models = _models(runs, set(rows), columns)
    fitting = [each for each in every if any(_fits(each, row, model) for (row, _), model in models.items())]
    if not fitting:
        raise _nothing_fits(folders, every, models)
    fitting = _of_one_precision(fitting, {one.run.precision for one in runs})
    _check_alike(fitting)
    times: dict[tuple[Row, str], Mapping[float, Record]] = {
        key: _chosen([each for each in fitting if _fits(each, key[0], model)], model) for key, model in models.items()
    }
    times |= _means(times)
    return Costs(
        seconds=tuple(sorted({each.seconds for each in fitting})),
        times=times,
        conditions=_conditions(fitting[0]),
        notes=tuple(_notes(fitting, models, times)),
    )


def _models(
    runs: Sequence[EvaluatedRun], rows: set[Row], columns: Mapping[Encoders, str]
) -> dict[tuple[Row, str], _Model]:
    """Return what was trained, by row and column. A row that is of no mixer has none."""
    found: dict[tuple[Row, str], _Model] = {}
    for one in runs:
        for name in one.run.mixers:
            mixer, _, implementation = name.partition("/")
            key = Row(mixer, one.run.direction), columns[one.encoders]
            known = found[key].implementations if key in found else frozenset[str]()
            if key[0] in rows:
                found[key] = _Model(
                    preset=one.run.preset, width=one.run.width, implementations=known | {implementation}
                )
    return found


def _fits(record: Record, row: Row, model: _Model) -> bool:
    """Tell whether a record has a GPU time of a model, which has its preset's heads, in inference at batch 1."""
    of_model = record.mixer, record.direction, record.preset, record.width, record.heads
    wanted = row.mixer, row.direction, model.preset, model.width, None
    return of_model == wanted and (record.pass_, record.batch) == ("inference", 1) and record.gpu_ms is not None


def _of_one_precision(records: list[Record], precisions: set[str]) -> list[Record]:
    """Return the records in the precision of the runs, if the sweeps have several and the runs one of them."""
    same = [each for each in records if {each.precision} == precisions]
    return same or records


def _check_alike(records: Sequence[Record]) -> None:
    """Refuse times that cannot stand in one column."""
    conditions = dict.fromkeys(map(_conditions, records))
    if len(conditions) > 1:
        hint = "Give --costs only sweeps of one card and precision."
        raise UserError(f"the times are not alike: {'; '.join(conditions)}", hint=hint)
    seen: set[object] = set()
    for each in records:
        if each.case in seen:
            message = f"{each.case.label}, {each.setting.label} was measured twice"
            raise UserError(message, hint="Give --costs only one of the sweeps.")
        seen.add(each.case)


def _chosen(records: Sequence[Record], model: _Model) -> dict[float, Record]:
    """Return the record at each length of one implementation: of the runs', otherwise of any, the fastest.

    The fastest has a time at the longest length, and the least one there.
    """
    own = [each for each in records if each.implementation in model.implementations]
    by_name: dict[str, dict[float, Record]] = {}
    for each in own or records:
        by_name.setdefault(each.implementation, {})[each.seconds] = each
    return min(by_name.values(), key=lambda found: (-max(found), found[max(found)].gpu_ms or math.inf), default={})


def _means(times: Mapping[tuple[Row, str], Mapping[float, Record]]) -> dict[tuple[Row, str], Mapping[float, Record]]:
    """Return the times of the mean over the paper's encoders, for each row whose times are the same with all four."""
    found = {}
    for row in {row for row, _ in times}:
        four = [times.get((row, column)) for column in published.COLUMNS]
        if four[0] and all(each == four[0] for each in four):
            found[row, published.MEAN] = four[0]
    return found


def _notes(
    fitting: Sequence[Record],
    models: Mapping[tuple[Row, str], _Model],
    times: Mapping[tuple[Row, str], Mapping[float, Record]],
) -> Iterator[str]:
    widths = enumeration(map(str, sorted({model.width for key, model in models.items() if times[key]})))
    yield (
        f"GPU ms: the {fitting[0].preset} model without encoders and classifier, on the GPU alone, inference at batch "
        f"1, at width {widths}, on {_conditions(fitting[0])}. A dash: no such time."
    )
    others: dict[str, None] = {}
    for key, model in models.items():
        used = {each.implementation for each in times[key].values()} - model.implementations
        trained = enumeration(f"{key[0].mixer}/{each}" for each in sorted(model.implementations))
        others |= {f"{key[0].mixer}/{each} for {trained}": None for each in used}
    if others:
        yield f"GPU ms of the fastest implementation, where the runs' was not measured: {', '.join(others)}."
    unsure = [each for found in times.values() for each in found.values() if each.converged is False]
    if unsure:
        yield "~: a GPU time less precise than asked for."


def _conditions(record: Record) -> str:
    """Return what all times share: the card, the precision, and what is unusual."""
    parts = [f"{record.device} in {record.precision}"]
    parts += [] if record.execution == "eager" else [f"{record.execution} execution"]
    parts += [f"{record.text_tokens} text tokens"] if record.text_tokens else []
    parts += [] if record.cache == "warm" else [f"{record.cache} cache"]
    return ", ".join(parts)


def _nothing_fits(
    folders: Sequence[Path], records: Sequence[Record], models: Mapping[tuple[Row, str], _Model]
) -> UserError:
    timed = [each for each in records if each.gpu_ms is not None]
    if not timed:
        devices = enumeration(dict.fromkeys(each.device for each in records))
        has = f"no GPU time (of {devices})"
    else:
        has = _listed(
            {
                "pass": [each.pass_ for each in timed],
                "batch": [each.batch for each in timed],
                "preset": [each.preset for each in timed],
                "direction": [each.direction for each in timed],
                "width": [each.width for each in timed],
                "mixer": [each.mixer for each in timed],
            }
        )
    needs = _listed(
        {
            "pass": ["inference"],
            "batch": [1],
            "preset": [model.preset for model in models.values()],
            "direction": [row.direction for row, _ in models],
            "width": [model.width for model in models.values()],
            "mixer": [row.mixer for row, _ in models],
        }
    )
    where = enumeration(map(str, folders))
    measure = "measure with sbench sweep --preset, --direction and --width as the runs have them."
    hint = measure.capitalize() if timed else f"Only a GPU gives GPU times: {measure}"
    return UserError(f"no time in {where} fits the runs: it has {has}; the runs need {needs}", hint=hint)


def _listed(values: Mapping[str, Sequence[object]]) -> str:
    """Return each name with its distinct values: ``pass inference, width 512 and 1024``."""
    return ", ".join(f"{name} {enumeration(map(str, dict.fromkeys(found)))}" for name, found in values.items() if found)
