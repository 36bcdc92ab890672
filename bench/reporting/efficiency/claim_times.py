"""How the paper's claims about time are checked, by whichever clock a view has.

Each function returns a check or is one. Both sides of a ratio are by the same clock. A difference counts only where
noise does not explain it.
"""

from collections.abc import Sequence

from bench.efficiency.records import Record
from bench.reporting.efficiency.allowances import differ
from bench.reporting.efficiency.claim_checks import LONG_S, RATIO_TOLERANCE, SHORT_S, Check, ClaimResult, found_of
from bench.reporting.efficiency.claim_view import View
from bench.reporting.formats import cell, enumeration


def ratio_is(above: tuple[str, float], below: tuple[str, float], paper: float) -> Check:
    """Check that one case takes longer than another, each a mixer and a length, and by which ratio."""

    def check(view: View) -> ClaimResult:
        longer, shorter = (view.timed(view.named(mixer), seconds) for mixer, seconds in (above, below))
        return ClaimResult(
            ours=view.ratio(longer, shorter),
            holds=_below(view, shorter, longer),
            evidence=f"{cell(view.ms(longer))} / {cell(view.ms(shorter))} ms",
            off=view.ms(longer) / view.ms(shorter) / paper - 1,
            host_bound=_host_bound(longer, shorter),
        )

    return check


def fastest_is(mixer: str) -> Check:
    """Check that no mixer is faster than this one at the long length; equal ones share the place."""

    def check(view: View) -> ClaimResult:
        ours = view.timed(view.named(mixer), LONG_S)
        found, missing = found_of((view.attention, *view.others), lambda name: view.timed(name, LONG_S))
        best = min(found.values(), key=view.ms)
        sharing = [each.name for each in found.values() if each != ours and not differ(each, ours, view.clock.time)]
        notes = [f"shared with {enumeration(sharing)}"] if sharing and not _below(view, best, ours) else []
        return ClaimResult(
            ours=view.milliseconds(ours) + ("" if best == ours else f"; {best.name} {view.milliseconds(best)}"),
            holds=not _below(view, best, ours),
            evidence="; ".join([*notes, *missing]),
            host_bound=_host_bound(best, ours),
        )

    return check


def attention_is_competitive(view: View) -> ClaimResult:
    """Check that softmax attention is about as fast as the fastest other mixer at the short length."""
    ours = view.timed(view.attention, SHORT_S)
    found, missing = found_of(view.others, lambda name: view.timed(name, SHORT_S))
    best = min(found.values(), key=view.ms)
    return ClaimResult(
        ours=f"{view.milliseconds(ours)}; {best.name} {view.milliseconds(best)}",
        holds=view.ms(ours) <= (1 + RATIO_TOLERANCE) * view.ms(best),
        evidence="; ".join(missing),
        host_bound=_host_bound(best, ours),
    )


def faster_than_attention(mixers: Sequence[str]) -> Check:
    """Check that some mixers are faster than softmax attention at the long length."""

    def check(view: View) -> ClaimResult:
        attention = view.timed(view.attention, LONG_S)
        found, missing = found_of(mixers, lambda mixer: view.timed(view.named(mixer), LONG_S))
        slowest = max(found.values(), key=view.ms)
        return ClaimResult(
            ours=f"at least {view.ratio(attention, slowest)}" if len(mixers) > 1 else view.ratio(attention, slowest),
            holds=_below(view, slowest, attention),
            evidence="; ".join([f"{slowest.name}: {cell(view.ms(attention))} / {cell(view.ms(slowest))} ms", *missing]),
            host_bound=_host_bound(attention, slowest),
        )

    return check


def _below(view: View, lower: Record, higher: Record) -> bool:
    """Tell whether one case is faster than another by more than noise explains."""
    return view.ms(lower) < view.ms(higher) and differ(lower, higher, view.clock.time)


def _host_bound(*records: Record) -> bool:
    return any(record.launch_bound for record in records)
