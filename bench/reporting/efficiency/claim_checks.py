"""What checking a claim of the paper gives, and how its claims on growth are checked."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench.reporting.efficiency.analysis import Growth
from bench.reporting.efficiency.claim_view import View
from bench.reporting.efficiency.quantities import MEMORY, memory
from bench.reporting.formats import interval, two_decimals

RATIO_TOLERANCE = 0.15
EXPONENT_TOLERANCE = 0.1  # beside a power of the length, every curve has a term that matters at the shorter ones

SHORT_S, LONG_S = 10.0, 400.0

BOUNDED = ("retnet", "lightnet", "gsa", "kda")  # a state of fixed size, whatever the length

_Found = TypeVar("_Found")


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """What the records say about a claim.

    Attributes:
        ours: Our figure.
        holds: Whether the claim holds; None where the records cannot tell.
        evidence: The figures behind it.
        strength: ``weaker`` or ``stronger`` if the claim holds by another ratio than the paper's; otherwise empty.
        off: How far our figure is from the paper's, as a fraction, if both are ratios.
        host_bound: Whether the host takes longer than the GPU in a case behind the figure.
    """

    ours: str
    holds: bool | None
    evidence: str = ""
    strength: str = ""
    off: float | None = None
    host_bound: bool = False


Check = Callable[[View], ClaimResult]  # raises LookupError where a case that it needs has no figure


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of the paper in our words, with its figure, and how it is checked."""

    section: str
    says: str
    paper: str
    check: Check

    def judge(self, view: View) -> ClaimResult:
        """Check the claim; if a case that it needs has no figure, the result says so."""
        try:
            return self.check(view)
        except LookupError as error:
            return ClaimResult(ours="-", holds=None, evidence=str(error))


def near(ours: float, paper: float, tolerance: float) -> bool:
    """Tell whether two figures differ by at most a fraction, whichever is larger."""
    return max(ours / paper, paper / ours) - 1 <= tolerance


def found_of(names: Iterable[str], look_up: Callable[[str], _Found]) -> tuple[dict[str, _Found], list[str]]:
    """Return what is found, and why the rest is not; LookupError if nothing is."""
    found: dict[str, _Found] = {}
    missing = []
    for name in names:
        try:
            found[name] = look_up(name)
        except LookupError as error:
            missing.append(str(error))
    if not found:
        raise LookupError("; ".join(missing) or "nothing was measured")
    return found, missing


def time_grows(names: Callable[[View], Sequence[str]], power: float) -> Check:
    """Check with which power of the length the time of some mixers grows."""

    def check(view: View) -> ClaimResult:
        label, time = view.clock.label, view.clock.time
        return _grows(*found_of(names(view), lambda name: view.growth(name, time, label=label)), power)

    return check


def memory_grows(names: Callable[[View], Sequence[str]], power: float) -> Check:
    """Check with which power of the length the memory of some mixers grows."""

    def check(view: View) -> ClaimResult:
        return _grows(*found_of(names(view), lambda name: view.growth(name, memory, label=MEMORY)), power)

    return check


def _grows(found: dict[str, Growth], unknown: Sequence[str], power: float) -> ClaimResult:
    """Judge exponents by their intervals: each must contain the power, or come close to it; unknown ones are named."""
    off = [f"{name}: {_exponent(each)}" for name, each in found.items() if not _fits(each, power)]
    open_ = [
        f"{name}: {_exponent(each)} fits both" for name, each in found.items() if _fits(each, 1) and _fits(each, 2)
    ]
    exponents = [each.exponent for each in found.values()]
    ours = _exponent(*found.values()) if len(found) == 1 else interval(min(exponents), max(exponents), two_decimals)
    return ClaimResult(
        ours=f"exponent {ours}",
        holds=False if off else None if open_ else True,
        evidence="; ".join([*(off if len(found) > 1 else []), *open_, *unknown]),
    )


def _fits(growth: Growth, power: float) -> bool:
    return growth.low - EXPONENT_TOLERANCE <= power <= growth.high + EXPONENT_TOLERANCE


def _exponent(growth: Growth) -> str:
    return f"{growth.exponent:.2f} ({interval(growth.low, growth.high, two_decimals)})"
