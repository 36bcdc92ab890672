"""What the paper says of efficiency, claim by claim, against records: under its own conditions and under equal ones.

M. Casals-Salvador et al., "How Attention Shapes Emotion", sections 5 and 6. The paper measured on another machine, so
of times only ratios are compared. Its GB are GiB.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from bench.efficiency.records import Record
from bench.efficiency.settings import OF_THE_PAPER
from bench.reporting.efficiency.analysis import Quantity, gpu_time, growth, latency
from bench.reporting.efficiency.overview import by_setting
from bench.reporting.formats import cell

MEMORY_TOLERANCE = 0.02
RATIO_TOLERANCE = 0.15
NO_DIFFERENCE = 0.02  # a ratio so near to 1 tells none

SHORT_S, LONG_S = 10.0, 400.0

_PREFACE = f"""# The paper's claims about efficiency

Sections 5 and 6 of "How Attention Shapes Emotion", claim by claim. A figure in GiB counts as reproduced within
{MEMORY_TOLERANCE:.0%}, a ratio or an exponent within {RATIO_TOLERANCE:.0%}. Under equal conditions, which are not the
paper's, a ratio stands if it is above 1 by more than {NO_DIFFERENCE:.0%}, weaker or stronger than the paper's. The
paper measured on an H100, and nobody knows on which host, for which short calls wait: so times are compared as ratios
only. Exponents are those of the GPU's time and of peak memory from 100 s on.
"""


def as_the_paper(record: Record) -> float | None:
    """Return the time as the paper took it where that was done, else that of a single call, in ms."""
    return record.latency_ms if record.paper_ms is None else record.paper_ms


@dataclass(frozen=True, kw_only=True)
class View:
    """The records of one setting, seen as the paper's comparison.

    Attributes:
        records: One a mixer and length.
        attention: What stands for softmax attention, ``sa/eager`` or ``sa/sdpa``; other forms of it are left out.
        papers_own: Whether models and conditions are the paper's own, so that its figures in GiB must come out.
        time: Which time of a record counts; by default as the paper took it where that was done, else a single call's.
    """

    records: Sequence[Record]
    attention: str
    papers_own: bool
    time: Quantity = as_the_paper

    @property
    def others(self) -> list[str]:
        """The mixers that are not softmax attention."""
        return list(dict.fromkeys(each.name for each in self.records if each.mixer != "sa"))

    def named(self, mixer: str) -> str:
        """Return a mixer's name with its implementation."""
        found = [self.attention] if mixer == "sa" else [each for each in self.others if each.startswith(f"{mixer}/")]
        if not found:
            raise LookupError(f"{mixer} was not measured")
        return found[0]

    def ms(self, name: str, seconds: float) -> float:
        """Return a time in ms."""
        record = self._record(name, seconds)
        time = self.time(record)
        if time is None:
            raise LookupError(f"{name} at {seconds:g} s: {record.error or 'that time is not known'}")
        return time

    def gib(self, name: str, seconds: float) -> float:
        """Return a peak memory."""
        record = self._record(name, seconds)
        if record.peak_memory_gib is None:
            raise LookupError(f"{name} at {seconds:g} s: {record.status}")
        return record.peak_memory_gib

    def exponent(self, name: str, quantity: str) -> float:
        """Return the power of the length with which ``GPU time`` or ``peak memory`` grows."""
        table = growth([each for each in self.records if each.name == name])
        found = table[table["quantity"] == quantity] if len(table) else table
        if not len(found):
            raise LookupError(f"{name}: its {quantity} is not known at enough lengths")
        return float(found["exponent"].iloc[0])

    def _record(self, name: str, seconds: float) -> Record:
        found = [each for each in self.records if each.name == name and each.seconds == seconds]
        if not found:
            raise LookupError(f"{name} at {seconds:g} s was not measured")
        return found[0]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a claim.

    Attributes:
        ours: Our figure.
        holds: Whether it holds; None where that cannot be asked.
        evidence: For it.
        strength: ``weaker`` or ``stronger``, where it holds by another ratio than the paper's; else empty.
    """

    ours: str
    holds: bool | None
    evidence: str = ""
    strength: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One thing that the paper says, in our words, with its figure."""

    section: str
    says: str
    paper: str
    check: Callable[[View], Outcome]


def judge(claim: Claim, view: View) -> Outcome:
    """Check a claim; where a case that it needs has no figure, that is the outcome."""
    try:
        return claim.check(view)
    except LookupError as error:
        return Outcome(ours="-", holds=None, evidence=str(error))


def render(records: Sequence[Record]) -> str:
    """Return ``claims.md``: a table for the paper's own models, and one for each setting with equal ones."""
    parts = [_PREFACE]
    for setting, alike in by_setting(records).items():
        for attention in ("sa/eager", "sa/sdpa"):
            if any(each.name == attention for each in alike) and setting.pass_ == "inference":
                parts.append(f"## {alike[0].device}, {setting.label}, softmax attention as {attention}\n")
                for how, time in _times(alike).items():
                    view = View(records=alike, attention=attention, papers_own=setting == OF_THE_PAPER, time=time)
                    parts.append(f"Times: {how}.\n\n{_table(view)}\n")
    return "\n".join(parts)


def _times(records: Sequence[Record]) -> dict[str, Quantity]:
    """Return the times by which the claims are judged, by what they are called."""
    if any(each.paper_ms for each in records):
        return {"as the paper timed it": as_the_paper}
    return {"single calls": latency, "the GPU's own, which waits for no host": gpu_time}


def _table(view: View) -> str:
    rows = []
    for claim in CLAIMS:
        outcome = judge(claim, view)
        words = ("reproduced", "not reproduced") if view.papers_own else ("stands", "does not stand")
        verdict = "-" if outcome.holds is None else words[not outcome.holds]
        verdict += f", {outcome.strength}" if outcome.strength else ""
        rows.append((claim.section, claim.says, claim.paper, outcome.ours, verdict, outcome.evidence))
    headers = ("section", "claim", "paper", "ours", "verdict", "evidence")
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def _near(ours: float, paper: float, tolerance: float) -> bool:
    return max(ours / paper, paper / ours) - 1 <= tolerance


def _gib(mixer: str, seconds: float, paper: float) -> Callable[[View], Outcome]:
    def check(view: View) -> Outcome:
        ours = view.gib(view.named(mixer), seconds)
        holds = _near(ours, paper, MEMORY_TOLERANCE) or round(ours, 2) == paper  # it gives some in two decimals only
        return Outcome(
            ours=f"{cell(ours)} GiB",
            holds=holds if view.papers_own else None,
            evidence=f"off by {ours / paper - 1:+.1%}" if view.papers_own else "not the paper's conditions",
        )

    return check


def _ratio(
    dividend: Callable[[View], float], divisor: Callable[[View], float], paper: float, unit: str
) -> Callable[[View], Outcome]:
    def check(view: View) -> Outcome:
        above, below = dividend(view), divisor(view)
        ours = above / below
        evidence = f"{cell(above)} / {cell(below)} {unit}, {ours / paper - 1:+.0%}"
        near = _near(ours, paper, RATIO_TOLERANCE)
        holds = near if view.papers_own else ours > 1 + NO_DIFFERENCE
        strength = "" if near or not holds else "weaker" if ours < paper else "stronger"
        return Outcome(ours=f"{cell(ours)} x", holds=holds, evidence=evidence, strength=strength)

    return check


def _first(mixer: str, value: Callable[[View, str], float], unit: str) -> Callable[[View], Outcome]:
    """Check that a mixer has the lowest value of all."""

    def check(view: View) -> Outcome:
        values = {name: value(view, name) for name in (view.attention, *view.others)}
        best, name = min(values, key=lambda each: values[each]), view.named(mixer)
        evidence = f"lowest: {best}, {cell(values[best])} {unit}"
        return Outcome(ours=f"{cell(values[name])} {unit}", holds=best == name, evidence=evidence)

    return check


def _competitive(view: View) -> Outcome:
    ours = view.ms(view.attention, SHORT_S)
    times = {name: view.ms(name, SHORT_S) for name in view.others}
    best = min(times, key=lambda name: times[name])
    return Outcome(
        ours=f"{cell(ours)} ms",
        holds=ours <= (1 + RATIO_TOLERANCE) * times[best],
        evidence=f"fastest other: {best}, {cell(times[best])} ms",
    )


def _all_below(limit_gib: float) -> Callable[[View], Outcome]:
    def check(view: View) -> Outcome:
        values = {name: view.gib(name, LONG_S) for name in view.others}
        most = max(values, key=lambda name: values[name])
        holds = values[most] < limit_gib
        return Outcome(ours=f"at most {cell(values[most])} GiB", holds=holds, evidence=f"most: {most}")

    return check


def _power(names: Callable[[View], Sequence[str]], paper: float, quantity: str) -> Callable[[View], Outcome]:
    def check(view: View) -> Outcome:
        powers: dict[str, float] = {}
        evidence = []
        for name in names(view):
            try:
                powers[name] = view.exponent(name, quantity)
            except LookupError as error:
                evidence.append(str(error))
        if not powers:
            raise LookupError("; ".join(evidence))
        low, high = min(powers.values()), max(powers.values())
        off = [f"{name}: {power:.2f}" for name, power in powers.items() if abs(power - paper) > RATIO_TOLERANCE * paper]
        span = f"{low:.2f}" if len(powers) == 1 else f"{low:.2f} to {high:.2f}"
        return Outcome(ours=f"exponent {span}", holds=not off, evidence="; ".join([*off, *evidence]))

    return check


def _faster_than_attention(mixers: Sequence[str]) -> Callable[[View], Outcome]:
    def check(view: View) -> Outcome:
        limit = view.ms(view.attention, LONG_S)
        times = {view.named(mixer): view.ms(view.named(mixer), LONG_S) for mixer in mixers}
        slowest = max(times, key=lambda name: times[name])
        ours = f"{cell(limit / times[slowest])} x as fast at least"
        evidence = f"slowest: {slowest}, {cell(times[slowest])} ms against {cell(limit)} ms"
        return Outcome(ours=ours, holds=times[slowest] < limit, evidence=evidence)

    return check


def _more_memory_than_fox(view: View) -> Outcome:
    fox = view.gib(view.named("fox"), LONG_S)
    values = {view.named(mixer): view.gib(view.named(mixer), LONG_S) for mixer in _BOUNDED}
    least = min(values, key=lambda name: values[name])
    evidence = f"least: {least}, {cell(values[least])} GiB against {cell(fox)} GiB"
    return Outcome(ours=f"{cell(values[least] / fox)} x at least", holds=values[least] > fox, evidence=evidence)


def _attention_ms(view: View) -> float:
    return view.ms(view.attention, LONG_S)


_BOUNDED = ("retnet", "lightnet", "gsa", "kda")  # a state of fixed size, whatever the length

CLAIMS = (
    Claim(section="5", says="SA is competitive at 10 s", paper="0.55 ms", check=_competitive),
    Claim(
        section="5",
        says="SA takes far longer at 400 s than at 10 s",
        paper="48.59 / 0.55 = 88.3 x",
        check=_ratio(_attention_ms, lambda view: view.ms(view.attention, SHORT_S), 48.59 / 0.55, "ms"),
    ),
    Claim(
        section="5",
        says="KDA is faster than SA at 400 s",
        paper="48.59 / 5.96 = 8.15 x",
        check=_ratio(_attention_ms, lambda view: view.ms(view.named("kda"), LONG_S), 8.15, "ms"),
    ),
    Claim(
        section="5",
        says="KDA is the fastest of all at 400 s",
        paper="5.96 ms",
        check=_first("kda", lambda view, name: view.ms(name, LONG_S), "ms"),
    ),
    Claim(section="5", says="SA's memory at 10 s", paper="0.02 GiB", check=_gib("sa", SHORT_S, 0.02)),
    Claim(section="5", says="SA's memory at 400 s", paper="12.35 GiB", check=_gib("sa", LONG_S, 12.35)),
    Claim(section="5", says="FoX's memory at 400 s", paper="0.328 GiB", check=_gib("fox", LONG_S, 0.328)),
    Claim(
        section="5",
        says="FoX takes less memory than SA at 400 s",
        paper="37.6 x",
        check=_ratio(
            lambda view: view.gib(view.attention, LONG_S),
            lambda view: view.gib(view.named("fox"), LONG_S),
            37.6,
            "GiB",
        ),
    ),
    Claim(
        section="5",
        says="FoX takes the least memory of all at 400 s",
        paper="0.328 GiB",
        check=_first("fox", lambda view, name: view.gib(name, LONG_S), "GiB"),
    ),
    Claim(section="5", says="all efficient mixers stay below 1.50 GiB", paper="1.50 GiB", check=_all_below(1.5)),
    Claim(
        section="5",
        says="the time of the efficient mixers grows linearly",
        paper="exponent 1",
        check=_power(lambda view: view.others, 1.0, "GPU time"),
    ),
    Claim(
        section="5",
        says="the memory of the efficient mixers grows linearly",
        paper="exponent 1",
        check=_power(lambda view: view.others, 1.0, "peak memory"),
    ),
    Claim(
        section="5, 6",
        says="SA's time grows with the square of the length",
        paper="exponent 2",
        check=_power(lambda view: [view.attention], 2.0, "GPU time"),
    ),
    Claim(
        section="5, 6",
        says="SA's memory grows with the square of the length",
        paper="exponent 2",
        check=_power(lambda view: [view.attention], 2.0, "peak memory"),
    ),
    Claim(
        section="6",
        says="mixers with a bounded state are faster than SA at 400 s",
        paper="Figure 2",
        check=_faster_than_attention(_BOUNDED),
    ),
    Claim(
        section="6",
        says="FoX, though unbounded, is faster than SA at 400 s by its kernel",
        paper="Figure 2",
        check=_faster_than_attention(("fox",)),
    ),
    Claim(
        section="6",
        says="mixers with a bounded state take more memory than FoX at 400 s",
        paper="Figure 2",
        check=_more_memory_than_fox,
    ),
)
