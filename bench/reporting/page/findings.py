"""What a sweep found, in sentences: who is fastest and who is smallest, at which lengths, and how certain that is.

The rule is that of `bench.reporting.efficiency.choices`, at the lengths that were measured.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.efficiency.records import Record
from bench.reporting.efficiency.choices import Ranking, estimates, ranking
from bench.reporting.efficiency.quantities import MEMORY, Quantity, conclusive_time, main_time, memory, refusal
from bench.reporting.formats import cell, enumeration, span


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One answer.

    Attributes:
        where: At which lengths of audio, or in which test.
        who: Who is ahead; all who share the place.
        figure: The figure, with its unit.
        certainty: How far behind the others are, and whether noise explains that.
        less_precise: Whether a case behind it did not converge.
    """

    where: str
    who: str
    figure: str
    certainty: str
    less_precise: bool = False


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question with its answers.

    Attributes:
        title: For instance ``Fastest, by GPU time``.
        findings: One for each run of lengths with the same answer.
        refusal: Why there is no answer; otherwise empty.
    """

    title: str
    findings: tuple[Finding, ...]
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class _At:
    """Who is ahead at one length, and whether a case behind that did not converge."""

    seconds: float
    ranking: Ranking
    less_precise: bool


def questions(records: Sequence[Record]) -> list[Question]:
    """Return who is fastest and who is smallest.

    Args:
        records: Of one setting.
    """
    label, _ = main_time(records)
    times = [
        Question(title=f"Fastest, by {label}", findings=tuple(_findings(records, time, unit="ms")))
        for label, time in conclusive_time(records).items()
    ]
    nothing = Question(title=f"Fastest, by {label}", findings=(), refusal=refusal(records))
    small = Question(title=f"Smallest, by {MEMORY}", findings=tuple(_findings(records, memory, unit="GiB")))
    return [*(times or [nothing]), small]


def _findings(records: Sequence[Record], quantity: Quantity, *, unit: str) -> Iterator[Finding]:
    exact = quantity is memory
    for names, alike in itertools.groupby(_at(records, quantity), key=lambda at: frozenset(at.ranking.names)):
        run = list(alike)
        yield Finding(
            where=f"{span([at.seconds for at in (run[0], run[-1])], lambda seconds: f'{seconds:g}')} s",
            who=enumeration(sorted(names)),
            figure=f"{span([at.ranking.lowest for at in run], cell)} {unit}",
            certainty=_certainty([at.ranking for at in run], exact=exact),
            less_precise=not exact and any(at.less_precise for at in run),
        )


def _at(records: Sequence[Record], quantity: Quantity) -> Iterator[_At]:
    for seconds in sorted({record.seconds for record in records}):
        every = estimates(records, seconds, quantity)
        found = ranking(every, quantity)
        if found:
            behind = [case for name in found.names for case in every[name].beside]
            yield _At(seconds=seconds, ranking=found, less_precise=any(case.converged is False for case in behind))


def _certainty(rankings: Sequence[Ranking], *, exact: bool) -> str:
    shared = len(rankings[0].names) > 1
    equal = "They take the same. " if exact else "Noise explains their difference. "
    margins = [each.margin for each in rankings if each.margin is not None]
    if not margins:
        return equal.strip() if shared else "Nothing else has a figure here."
    following = " or ".join(dict.fromkeys(each.following for each in rankings if each.following))
    more = "more" if exact else "longer"
    line = f"The next, {following}, takes {span(margins, _percent)} % {more}"
    return f"{equal if shared else ''}{line}{'.' if exact else ': more than noise explains.'}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f}" if fraction >= 0.1 else f"{100 * fraction:.2g}"
