"""Who is fastest, in tables and cells in Markdown for a page. Pure functions of the records of mixers.

What does not conform to its reference is no contestant. Mixers within the noise share a place.
"""

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from bench.efficiency.records import Record
from bench.reporting.efficiency.choices import Ranking, estimates, ranking
from bench.reporting.efficiency.figure2_panels import CROSSED
from bench.reporting.efficiency.overview import by_setting, names_of
from bench.reporting.efficiency.quantities import Quantity, gpu_time, known, memory, over_the_floor
from bench.reporting.formats import NOTHING, enumeration, significant, yes_or_no

AT_S = (10.0, 60.0, 400.0)

MOST_FLOORS = 3.0  # a default implementation that takes more times its floor asks for a better kernel


def nearest(records: Sequence[Record], seconds: float) -> float:
    """Return the length with a figure that is nearest, the shorter one of two; without any figure, of all lengths."""
    lengths = {each.seconds for each in records if each.status == "ok"} or {each.seconds for each in records}
    return min(lengths, key=lambda length: (abs(length - seconds), length))


def length_label(seconds: float, *, measured: float) -> str:
    """Return a length in words, and which one stands for it if it was not measured: ``60 s (measured at 50 s)``."""
    return f"{seconds:g} s" + ("" if measured == seconds else f" (measured at {measured:g} s)")


def fastest(records: Sequence[Record], seconds: float) -> str:
    """Return the mixers of a setting with the least GPU time, and the time: ``sa/sdpa (0.16 ms)``."""
    found = _first(records, seconds, gpu_time)
    return f"{enumeration(found.names)} ({found.lowest:.2f} ms)" if found else NOTHING


def smallest(records: Sequence[Record], seconds: float) -> str:
    """Return the mixers of a setting with the least peak memory, equal ones together, and the memory."""
    found = _first(records, seconds, memory)
    return f"{enumeration(found.names)} ({found.lowest:.3f} GiB)" if found else NOTHING


def table(records: Sequence[Record]) -> str:
    """Return a row for each setting and each length of `AT_S`: who is fastest, who shares the place, who is next."""
    headers = ("direction", "pass", "audio", "fastest", "GPU time (ms)", "as fast", "next", "peak (GiB)")
    rows = []
    for setting, alike in by_setting(records).items():
        for seconds in AT_S:
            at = nearest(alike, seconds)
            found = _first(alike, at, gpu_time)
            if found:
                (first,) = (each for each in alike if (each.name, each.seconds) == (found.names[0], at))
                behind = f"{found.following} (+{found.margin:.0%})" if found.following else NOTHING
                rows.append(
                    (
                        *(f"`{setting.direction}`", setting.pass_, length_label(seconds, measured=at), first.name),
                        *(f"{found.lowest:.2f}", ", ".join(found.names[1:]) or NOTHING, behind),
                        *(significant(memory(first)), conformity(first), _floors(first)),
                    )
                )
    return _markdown((*headers, *_JUDGED), rows)


def ranks(records: Sequence[Record], *, by_mixer: bool = False) -> str:
    """Return a row for each implementation of a setting, the fastest at the longest length first.

    A row has the GPU time at each length of `AT_S`, and at the longest one the memory and the ratio to the floor.

    Args:
        records: Of one setting.
        by_mixer: Keep the implementations of a mixer together, the mixers in the order of the records.
    """
    lengths = [nearest(records, seconds) for seconds in AT_S]
    cases = {(each.name, each.seconds): each for each in records}
    mixers = list(dict.fromkeys(each.mixer for each in records))
    rows = []
    for name in names_of(records):
        found = [cases.get((name, seconds)) for seconds in lengths]
        if last := found[-1]:
            key = (mixers.index(last.mixer) if by_mixer else 0, last.gpu_ms or float("inf"))
            cells = (*map(_time, found), significant(memory(last)), conformity(last), _floors(last))
            rows.append((key, (name, *cells)))
    labels = [f"{length_label(seconds, measured=at)}, ms" for seconds, at in zip(AT_S, lengths, strict=True)]
    headers = ("mixer", *labels, f"peak at {lengths[-1]:g} s (GiB)", *_JUDGED)
    return _markdown(headers, [cells for _, cells in sorted(rows, key=lambda row: row[0])])


def heads(records: Sequence[Record]) -> str:
    """Return a row for each implementation and setting: the GPU time with each number of heads, at each length."""
    numbers = sorted({each.heads for each in records if each.heads})
    lengths = sorted({each.seconds for each in records})
    cases = {(each.name, each.direction, each.pass_, each.heads, each.seconds): each for each in records}
    rows = []
    for name, direction, pass_ in dict.fromkeys(key[:3] for key in cases):
        found = [[cases.get((name, direction, pass_, number, each)) for number in numbers] for each in lengths]
        parameters = [f"{each.parameters:,}" if each and each.parameters else NOTHING for each in found[0]]
        times = (" / ".join(map(_time, row)) for row in found)
        rows.append((name, f"`{direction}`", pass_, " / ".join(parameters), *times))
    labels = [f"{seconds:g} s, ms" for seconds in lengths]
    headers = ("mixer", "direction", "pass", f"parameters with {' / '.join(map(str, numbers))} heads", *labels)
    return _markdown(headers, rows)


def slow(records: Sequence[Record]) -> str:
    """Return the implementations that take over `MOST_FLOORS` floors in any setting at the longest length of `AT_S`."""
    groups = by_setting(records)
    found = {
        name: [_at_the_end(alike, name) for alike in groups.values()]
        for name in names_of(records)
        if any(round(_at_the_end(alike, name) or 0, 1) > MOST_FLOORS for alike in groups.values())
    }
    if not found:
        return f"None takes over {MOST_FLOORS:g} times its floor."
    headers = ("times its floor", *(f"`{setting.direction}`, {setting.pass_}" for setting in groups))
    order = sorted(found, key=lambda name: -max(value or 0 for value in found[name]))
    return _markdown(headers, [(name, *(NOTHING if not v else f"{v:.1f}" for v in found[name])) for name in order])


def missing(records: Sequence[Record], mixers: Iterable[str]) -> str:
    """Return how many mixers were measured, which have no figure or were not measured, and what does not conform.

    Args:
        records: Of several settings.
        mixers: The names of all mixers that there are.
    """
    with_figures = {each.mixer for each in records if each.status == "ok"}
    statuses = {each.mixer: each.status for each in records if each.mixer not in with_figures}
    tried = [f"`{name}` ({status})" for name, status in statuses.items()]
    others = [name for name in mixers if name not in {*with_figures, *statuses}]
    lines = [f"{count_of(with_figures)} were measured."]
    lines += [f"Without a figure: {enumeration(tried)}."] if tried else []
    lines += [f"Not measured yet: {enumeration(f'`{name}`' for name in others)}."] if others else []
    wrong = dict.fromkeys(
        f"{each.name} (`{each.direction}`, {each.pass_}, error {each.conformity_error or 0:.2g})"
        for each in records
        if each.conforms is False
    )
    lines += [f"Left out, because it differs from its reference: {enumeration(wrong)}."] if wrong else []
    return " ".join(lines)


def count_of(mixers: Iterable[str]) -> str:
    """Return how many mixers and hybrids there are among some names: ``14 mixers and 1 hybrid``."""
    names = list(mixers)
    hybrids = sum("+" in name for name in names)
    counted = [f"{len(names) - hybrids} mixers", f"{hybrids} hybrid{'s' * (hybrids > 1)}"]
    return enumeration(counted if hybrids else counted[:1])


def conformity(record: Record) -> str:
    """Return whether an implementation gives what its reference gives, and the error: ``yes (0.0021)``."""
    word = yes_or_no(record.conforms) or "not checked"
    return word if record.conformity_error is None else f"{word} ({record.conformity_error:.2g})"


_JUDGED = ("conforms (error)", "times its floor")


def _first(records: Sequence[Record], seconds: float, quantity: Quantity) -> Ranking | None:
    measured_there = [each for each in records if each.seconds == seconds]
    return ranking(estimates(measured_there, seconds, quantity), quantity)


def _at_the_end(records: Sequence[Record], name: str) -> float | None:
    at = nearest(records, AT_S[-1])
    return next((over_the_floor(each) for each in records if (each.name, each.seconds) == (name, at)), None)


def _floors(record: Record) -> str:
    ratio = over_the_floor(record)
    return f"{ratio:.1f}" if ratio else NOTHING


def _time(record: Record | None) -> str:
    if record is None or not record.gpu_ms:
        return NOTHING if record is None else CROSSED.get(record.status, record.status)
    return f"{known(record, gpu_time):.2f}" + ("" if record.converged is not False else " ~")


def _markdown(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    return tabulate([list(row) for row in rows], headers=list(headers), tablefmt="github", disable_numparse=True)
