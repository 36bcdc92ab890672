"""How the paper's claims about memory are checked. Each function returns a check or is one."""

from bench.reporting.efficiency.claim_checks import BOUNDED, LONG_S, RATIO_TOLERANCE, Check, ClaimResult, near
from bench.reporting.efficiency.claim_view import View
from bench.reporting.formats import cell, enumeration

MEMORY_TOLERANCE = 0.02


def memory_is(mixer: str, seconds: float, paper: float) -> Check:
    """Check a mixer's peak memory against the paper's figure in GiB."""

    def check(view: View) -> ClaimResult:
        ours = view.gib(view.named(mixer), seconds)
        # The paper gives some figures in two decimals only.
        holds = near(ours, paper, MEMORY_TOLERANCE) or round(ours, 2) == paper
        return ClaimResult(
            ours=f"{cell(ours)} GiB",
            holds=holds if view.papers_conditions else None,
            evidence=f"off by {ours / paper - 1:+.1%}" if view.papers_conditions else "not the paper's conditions",
        )

    return check


def less_memory_than_attention(mixer: str, paper: float) -> Check:
    """Check a ratio: under the paper's conditions against its figure, under others that it is above 1."""

    def check(view: View) -> ClaimResult:
        above, below = view.gib(view.attention, LONG_S), view.gib(view.named(mixer), LONG_S)
        ours = above / below
        evidence = f"{cell(above)} / {cell(below)} GiB, {ours / paper - 1:+.0%}"
        close = near(ours, paper, RATIO_TOLERANCE)
        holds = close if view.papers_conditions else ours > 1 + MEMORY_TOLERANCE
        strength = "" if close or not holds else "weaker" if ours < paper else "stronger"
        return ClaimResult(ours=f"{cell(ours)} x", holds=holds, evidence=evidence, strength=strength)

    return check


def least_memory(mixer: str) -> Check:
    """Check that no mixer takes less memory than this one, by more than the tolerance; equal ones share the place."""

    def check(view: View) -> ClaimResult:
        values = {name: view.gib(name, LONG_S) for name in (view.attention, *view.others)}
        name, least = view.named(mixer), min(values.values())
        lowest = [each for each in values if near(values[each], least, MEMORY_TOLERANCE)]
        sharing = [each for each in lowest if each != name]
        if name not in lowest:
            evidence = f"lowest: {enumeration(sharing)}, {cell(least)} GiB"
        else:
            evidence = f"shared with {enumeration(sharing)}" if sharing else ""
        return ClaimResult(ours=f"{cell(values[name])} GiB", holds=name in lowest, evidence=evidence)

    return check


def others_stay_below(limit_gib: float) -> Check:
    """Check that every mixer but softmax attention takes less memory than a limit at the long length."""

    def check(view: View) -> ClaimResult:
        values = {name: view.gib(name, LONG_S) for name in view.others}
        if not values:
            raise LookupError("no other mixer was measured")
        most = max(values, key=lambda name: values[name])
        holds = values[most] < limit_gib
        return ClaimResult(ours=f"at most {cell(values[most])} GiB", holds=holds, evidence=f"most: {most}")

    return check


def bounded_take_more_than_fox(view: View) -> ClaimResult:
    """Check that every mixer with a bounded state takes more memory than FoX at the long length."""
    fox = view.gib(view.named("fox"), LONG_S)
    values = {view.named(mixer): view.gib(view.named(mixer), LONG_S) for mixer in BOUNDED}
    least = min(values, key=lambda name: values[name])
    evidence = f"least: {least}, {cell(values[least])} GiB against {cell(fox)} GiB"
    holds = values[least] > (1 + MEMORY_TOLERANCE) * fox
    return ClaimResult(ours=f"at least {cell(values[least] / fox)} x", holds=holds, evidence=evidence)
