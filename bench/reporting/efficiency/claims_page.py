"""The page on the paper's claims: tables for the paper's conditions, and for each setting with equal ones."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from bench.efficiency.noise import PROCESSES_NEEDED
from bench.efficiency.records import Record
from bench.efficiency.settings import OF_THE_PAPER
from bench.reporting.efficiency.claim_checks import (
    EXPONENT_TOLERANCE,
    LONG_S,
    RATIO_TOLERANCE,
    Claim,
    ClaimResult,
)
from bench.reporting.efficiency.claim_memory import MEMORY_TOLERANCE
from bench.reporting.efficiency.claim_view import PAPERS_PROTOCOL, SINGLE_CALLS, View
from bench.reporting.efficiency.claims import MEMORY_CLAIMS, TIME_CLAIMS
from bench.reporting.efficiency.overview import by_setting
from bench.reporting.formats import NOTHING, span


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table: its heads, and rows with a cell for each."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


_ATTENTION = ("sa/eager", "sa/sdpa")

_PREFACE = f"""# The paper's claims about efficiency

Sections 5 and 6 of "How Attention Shapes Emotion", claim by claim.

**Time.** Each figure has one clock, on both sides of a ratio.

- The verdict rests on the GPU's own time, which is the same on every host. A claim stands if noise does not explain the
  difference. Mixers within the noise share a place.
- Single calls depend on the host and differ between processes. They need {PROCESSES_NEEDED} processes for a verdict.
- The paper's figures are by its own protocol: a mean of single calls, on an H100 with an unknown host. Only the preset
  `released` repeats that protocol. Only there can the paper's figures be compared with ours. The last column but one
  says by how much ours are off.
- "Depends on the host": in a case behind the figure, the host takes longer to issue the call than the GPU to run it.
- Growth is judged by the 95 % interval of its exponent, from 100 s on. It stands if the interval contains the paper's
  exponent, or comes within {EXPONENT_TOLERANCE:g} of it.

**Memory.** Under the paper's conditions, a figure in GiB is reproduced if it is within {MEMORY_TOLERANCE:.0%}, a ratio
if it is within {RATIO_TOLERANCE:.0%}. Under equal conditions, a ratio stands if it is above 1 by more than
{MEMORY_TOLERANCE:.0%}. It may be weaker or stronger than the paper's.
"""


@dataclass(frozen=True, kw_only=True)
class Section:
    """The claims by one implementation of softmax attention in one setting.

    Attributes:
        title: The machine, the setting and the implementation.
        line: What takes KDA's advantage away; empty where that is not known.
        times, memory: The tables, each row with a cell for each head.
    """

    title: str
    line: str
    times: Grid
    memory: Grid


def sections(records: Sequence[Record]) -> Iterator[Section]:
    """Yield the claims for each setting of inference, by each implementation of softmax attention."""
    for setting, alike in by_setting(records).items():
        names = {each.name for each in alike} if setting.pass_ == "inference" else set()
        for attention in (each for each in _ATTENTION if each in names):
            view = View(records=alike, attention=attention, papers_conditions=setting == OF_THE_PAPER)
            title = f"{alike[0].device}, {setting.label}, softmax attention as {attention}"
            line = what_takes_the_advantage(alike)
            yield Section(title=title, line=line, times=_times(view), memory=_memory(view))


def render(records: Sequence[Record]) -> str:
    """Return ``claims.md``: tables for each setting of inference, by each implementation of softmax attention."""
    parts = [_PREFACE]
    for each in sections(records):
        parts.append(f"## {each.title}\n")
        parts += [f"{each.line}\n"] if each.line else []
        parts.append(f"Time:\n\n{_table(each.times)}\n\nMemory:\n\n{_table(each.memory)}\n")
    return "\n".join(parts)


def what_takes_the_advantage(records: Sequence[Record]) -> str:
    """Return in a line how much faster KDA is than both forms of attention by GPU time.

    Args:
        records: Of one setting.

    Returns:
        The line; empty if the models are not of equal size, or a time is not known.
    """
    ms = {each.name: each.gpu_ms for each in records if each.seconds == LONG_S and each.gpu_ms}
    kda = next((name for name in ms if name.startswith("kda/")), None)
    if kda is None or not ms.keys() >= set(_ATTENTION) or records[0].preset != "matched":
        return ""
    stored, fused = (ms[attention] / ms[kda] for attention in _ATTENTION)
    line = (
        f"At equal size, by GPU time at {LONG_S:g} s, KDA is {stored:.1f} x as fast as attention that stores its "
        f"scores (`sa/eager`), and {fused:.1f} x as fast as fused attention (`sa/sdpa`)."
    )
    return line + (
        " So most of its advantage goes with fused attention, not with equal size."
        if stored > 2 * max(fused, 1)
        else ""
    )


def _times(view: View) -> Grid:
    headers = (
        *("section", "claim", "paper", "by the GPU's clock", f"by single calls, {_processes(view.records)}"),
        *("by the paper's protocol", "verdict, by the GPU's clock", "the paper's figure compares with", "evidence"),
    )
    return Grid(heads=headers, rows=tuple(tuple(_time_row(claim, view)) for claim in TIME_CLAIMS))


def _time_row(claim: Claim, view: View) -> Iterator[str]:
    result = claim.judge(view)
    calls, protocol = (claim.judge(dataclasses.replace(view, clock=clock)) for clock in (SINGLE_CALLS, PAPERS_PROTOCOL))
    yield from (claim.section, claim.says, claim.paper, result.ours, calls.ours, protocol.ours)
    yield NOTHING if result.holds is None else ("does not stand", "stands")[result.holds]
    yield _comparable(protocol) if view.papers_conditions else "none: other conditions"
    yield result.evidence


def _processes(records: Iterable[Record]) -> str:
    """Return of how many processes single calls are, and what follows."""
    counts = [each.processes for each in records if each.latency_ms]
    number = span(counts, str)
    if min(counts, default=1) >= PROCESSES_NEEDED:
        return f"lowest to highest of {number} processes"
    return f"of {'one process' if number == '1' else f'{number} processes'}: no verdict"


def _comparable(protocol: ClaimResult) -> str:
    """Return what the paper's figure can be compared with, and how far off that is."""
    if protocol.ours == NOTHING:
        return "none: not known"
    text = "its protocol" if protocol.off is None else f"its protocol: {protocol.off:+.0%}"
    return f"{text}; depends on the host" if protocol.host_bound else text


def _memory(view: View) -> Grid:
    words = ("not reproduced", "reproduced") if view.papers_conditions else ("does not stand", "stands")
    rows = []
    for claim in MEMORY_CLAIMS:
        result = claim.judge(view)
        verdict = NOTHING if result.holds is None else words[result.holds]
        verdict += f", {result.strength}" if result.strength else ""
        rows.append((claim.section, claim.says, claim.paper, result.ours, verdict, result.evidence))
    return Grid(heads=("section", "claim", "paper", "ours", "verdict", "evidence"), rows=tuple(rows))


def _table(grid: Grid) -> str:
    return tabulate(grid.rows, headers=grid.heads, tablefmt="github", disable_numparse=True)
