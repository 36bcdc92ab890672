"""How a claim of the paper is checked: memory, ratios, ranks, limits and growth. Each function returns a check."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.reporting.efficiency.claim_view import View
from bench.reporting.formats import cell, interval, two_decimals

MEMORY_TOLERANCE = 0.02
RATIO_TOLERANCE = 0.15
NO_DIFFERENCE = 0.02  # a ratio so close to 1 shows no difference

SHORT_S, LONG_S = 10.0, 400.0

BOUNDED = ("retnet", "lightnet", "gsa", "kda")  # a state of fixed size, whatever the length


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """What the records say about a claim.

    Attributes:
        ours: Our figure.
        holds: Whether the claim holds; None where the records cannot tell.
        evidence: The figures behind it.
        strength: ``weaker`` or ``stronger`` if the claim holds by another ratio than the paper's; otherwise empty.
    """

    ours: str
    holds: bool | None
    evidence: str = ""
    strength: str = ""


Check = Callable[[View], ClaimResult]  # raises LookupError where a case that it needs has no figure


def memory_is(mixer: str, seconds: float, paper: float) -> Check:
    """Check a mixer's peak memory against the paper's figure in GiB."""

    def check(view: View) -> ClaimResult:
        ours = view.gib(view.named(mixer), seconds)
        # The paper gives some figures in two decimals only.
        holds = _near(ours, paper, MEMORY_TOLERANCE) or round(ours, 2) == paper
        return ClaimResult(
            ours=f"{cell(ours)} GiB",
            holds=holds if view.papers_conditions else None,
            evidence=f"off by {ours / paper - 1:+.1%}" if view.papers_conditions else "not the paper's conditions",
        )

    return check


def ratio_is(dividend: Callable[[View], float], divisor: Callable[[View], float], paper: float, *, unit: str) -> Check:
    """Check a ratio: under the paper's conditions against its figure, under others that it is above 1."""

    def check(view: View) -> ClaimResult:
        above, below = dividend(view), divisor(view)
        ours = above / below
        evidence = f"{cell(above)} / {cell(below)} {unit}, {ours / paper - 1:+.0%}"
        near = _near(ours, paper, RATIO_TOLERANCE)
        holds = near if view.papers_conditions else ours > 1 + NO_DIFFERENCE
        strength = "" if near or not holds else "weaker" if ours < paper else "stronger"
        return ClaimResult(ours=f"{cell(ours)} x", holds=holds, evidence=evidence, strength=strength)

    return check


def lowest_is(mixer: str, value: Callable[[View, str], float], *, unit: str) -> Check:
    """Check that a mixer has the lowest value of all."""

    def check(view: View) -> ClaimResult:
        values = {name: value(view, name) for name in (view.attention, *view.others)}
        best, name = min(values, key=lambda each: values[each]), view.named(mixer)
        evidence = f"lowest: {best}, {cell(values[best])} {unit}"
        return ClaimResult(ours=f"{cell(values[name])} {unit}", holds=best == name, evidence=evidence)

    return check


def attention_is_competitive(view: View) -> ClaimResult:
    """Check that softmax attention is about as fast as the fastest other mixer at the short length."""
    ours = view.ms(view.attention, SHORT_S)
    times = {name: view.ms(name, SHORT_S) for name in view.others}
    best = min(times, key=lambda name: times[name])
    return ClaimResult(
        ours=f"{cell(ours)} ms",
        holds=ours <= (1 + RATIO_TOLERANCE) * times[best],
        evidence=f"fastest other: {best}, {cell(times[best])} ms",
    )


def others_stay_below(limit_gib: float) -> Check:
    """Check that every mixer but softmax attention takes less memory than a limit at the long length."""

    def check(view: View) -> ClaimResult:
        values = {name: view.gib(name, LONG_S) for name in view.others}
        most = max(values, key=lambda name: values[name])
        holds = values[most] < limit_gib
        return ClaimResult(ours=f"at most {cell(values[most])} GiB", holds=holds, evidence=f"most: {most}")

    return check


def exponent_is(names: Callable[[View], Sequence[str]], paper: float, quantity: str) -> Check:
    """Check the power of the length with which a quantity of some mixers grows; those not known are named."""

    def check(view: View) -> ClaimResult:
        powers: dict[str, float] = {}
        unknown = []
        for name in names(view):
            try:
                powers[name] = view.exponent(name, quantity)
            except LookupError as error:
                unknown.append(str(error))
        if not powers:
            raise LookupError("; ".join(unknown))
        low, high = min(powers.values()), max(powers.values())
        off = [f"{name}: {power:.2f}" for name, power in powers.items() if abs(power - paper) > RATIO_TOLERANCE * paper]
        figure = two_decimals(low) if len(powers) == 1 else interval(low, high, two_decimals)
        return ClaimResult(ours=f"exponent {figure}", holds=not off, evidence="; ".join([*off, *unknown]))

    return check


def faster_than_attention(mixers: Sequence[str]) -> Check:
    """Check that some mixers are faster than softmax attention at the long length."""

    def check(view: View) -> ClaimResult:
        limit = view.ms(view.attention, LONG_S)
        times = {view.named(mixer): view.ms(view.named(mixer), LONG_S) for mixer in mixers}
        slowest = max(times, key=lambda name: times[name])
        ours = f"at least {cell(limit / times[slowest])} x as fast"
        evidence = f"slowest: {slowest}, {cell(times[slowest])} ms against {cell(limit)} ms"
        return ClaimResult(ours=ours, holds=times[slowest] < limit, evidence=evidence)

    return check


def bounded_take_more_than_fox(view: View) -> ClaimResult:
    """Check that every mixer with a bounded state takes more memory than FoX at the long length."""
    fox = view.gib(view.named("fox"), LONG_S)
    values = {view.named(mixer): view.gib(view.named(mixer), LONG_S) for mixer in BOUNDED}
    least = min(values, key=lambda name: values[name])
    evidence = f"least: {least}, {cell(values[least])} GiB against {cell(fox)} GiB"
    return ClaimResult(ours=f"at least {cell(values[least] / fox)} x", holds=values[least] > fox, evidence=evidence)


def _near(ours: float, paper: float, tolerance: float) -> bool:
    return max(ours / paper, paper / ours) - 1 <= tolerance
