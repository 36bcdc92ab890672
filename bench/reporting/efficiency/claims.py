"""What the paper says of efficiency, claim by claim.

M. Casals-Salvador et al., "How Attention Shapes Emotion", sections 5 and 6. The paper measured on another machine, so
only ratios of times are compared. Its GB are GiB.
"""

from dataclasses import dataclass

from bench.reporting.efficiency.claim_checks import (
    BOUNDED,
    LONG_S,
    SHORT_S,
    Check,
    ClaimResult,
    attention_is_competitive,
    bounded_take_more_than_fox,
    exponent_is,
    faster_than_attention,
    lowest_is,
    memory_is,
    others_stay_below,
    ratio_is,
)
from bench.reporting.efficiency.claim_view import View


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


def _attention_ms(view: View) -> float:
    return view.ms(view.attention, LONG_S)


CLAIMS = (
    Claim(section="5", says="SA is competitive at 10 s", paper="0.55 ms", check=attention_is_competitive),
    Claim(
        section="5",
        says="SA takes far longer at 400 s than at 10 s",
        paper="48.59 / 0.55 = 88.3 x",
        check=ratio_is(_attention_ms, lambda view: view.ms(view.attention, SHORT_S), 48.59 / 0.55, unit="ms"),
    ),
    Claim(
        section="5",
        says="KDA is faster than SA at 400 s",
        paper="48.59 / 5.96 = 8.15 x",
        check=ratio_is(_attention_ms, lambda view: view.ms(view.named("kda"), LONG_S), 8.15, unit="ms"),
    ),
    Claim(
        section="5",
        says="KDA is the fastest of all at 400 s",
        paper="5.96 ms",
        check=lowest_is("kda", lambda view, name: view.ms(name, LONG_S), unit="ms"),
    ),
    Claim(section="5", says="SA's memory at 10 s", paper="0.02 GiB", check=memory_is("sa", SHORT_S, 0.02)),
    Claim(section="5", says="SA's memory at 400 s", paper="12.35 GiB", check=memory_is("sa", LONG_S, 12.35)),
    Claim(section="5", says="FoX's memory at 400 s", paper="0.328 GiB", check=memory_is("fox", LONG_S, 0.328)),
    Claim(
        section="5",
        says="FoX takes less memory than SA at 400 s",
        paper="37.6 x",
        check=ratio_is(
            lambda view: view.gib(view.attention, LONG_S),
            lambda view: view.gib(view.named("fox"), LONG_S),
            37.6,
            unit="GiB",
        ),
    ),
    Claim(
        section="5",
        says="FoX takes the least memory of all at 400 s",
        paper="0.328 GiB",
        check=lowest_is("fox", lambda view, name: view.gib(name, LONG_S), unit="GiB"),
    ),
    Claim(section="5", says="all efficient mixers stay below 1.50 GiB", paper="1.50 GiB", check=others_stay_below(1.5)),
    Claim(
        section="5",
        says="the time of the efficient mixers grows linearly",
        paper="exponent 1",
        check=exponent_is(lambda view: view.others, 1.0, "GPU time"),
    ),
    Claim(
        section="5",
        says="the memory of the efficient mixers grows linearly",
        paper="exponent 1",
        check=exponent_is(lambda view: view.others, 1.0, "peak memory"),
    ),
    Claim(
        section="5, 6",
        says="SA's time grows with the square of the length",
        paper="exponent 2",
        check=exponent_is(lambda view: [view.attention], 2.0, "GPU time"),
    ),
    Claim(
        section="5, 6",
        says="SA's memory grows with the square of the length",
        paper="exponent 2",
        check=exponent_is(lambda view: [view.attention], 2.0, "peak memory"),
    ),
    Claim(
        section="6",
        says="mixers with a bounded state are faster than SA at 400 s",
        paper="Figure 2",
        check=faster_than_attention(BOUNDED),
    ),
    Claim(
        section="6",
        says="FoX is faster than SA at 400 s, thanks to its kernel",
        paper="Figure 2",
        check=faster_than_attention(("fox",)),
    ),
    Claim(
        section="6",
        says="mixers with a bounded state take more memory than FoX at 400 s",
        paper="Figure 2",
        check=bounded_take_more_than_fox,
    ),
)
