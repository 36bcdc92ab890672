"""The page on the paper's claims: a table for the paper's conditions, and one for each setting with equal ones."""

from collections.abc import Sequence

from tabulate import tabulate

from bench.efficiency.records import Record
from bench.efficiency.settings import OF_THE_PAPER
from bench.reporting.efficiency.claim_checks import MEMORY_TOLERANCE, NO_DIFFERENCE, RATIO_TOLERANCE
from bench.reporting.efficiency.claim_view import View
from bench.reporting.efficiency.claims import CLAIMS
from bench.reporting.efficiency.overview import by_setting
from bench.reporting.efficiency.quantities import Quantity, gpu_time, latency, time_as_in_paper
from bench.reporting.formats import NOTHING

_PREFACE = f"""# The paper's claims about efficiency

Sections 5 and 6 of "How Attention Shapes Emotion", claim by claim.

- A figure in GiB is reproduced if it is within {MEMORY_TOLERANCE:.0%}, a ratio or an exponent if it is within
  {RATIO_TOLERANCE:.0%}.
- Under equal conditions, which are not the paper's, a ratio stands if it is above 1 by more than {NO_DIFFERENCE:.0%}.
  It may be weaker or stronger than the paper's.
- The paper measured on an H100 with an unknown host, and short calls wait for the host. So only ratios of times are
  compared.
- Exponents are those of GPU time and peak memory from 100 s on.
"""


def render(records: Sequence[Record]) -> str:
    """Return ``claims.md``: tables for each setting of inference, by each implementation of softmax attention."""
    parts = [_PREFACE]
    for setting, alike in by_setting(records).items():
        for attention in ("sa/eager", "sa/sdpa"):
            if any(each.name == attention for each in alike) and setting.pass_ == "inference":
                parts.append(f"## {alike[0].device}, {setting.label}, softmax attention as {attention}\n")
                for label, time in _times(alike).items():
                    papers = setting == OF_THE_PAPER
                    view = View(records=alike, attention=attention, papers_conditions=papers, time=time)
                    parts.append(f"Times: {label}.\n\n{_table(view)}\n")
    return "\n".join(parts)


def _times(records: Sequence[Record]) -> dict[str, Quantity]:
    """Return the times by which the claims are judged, with a label each."""
    if any(each.paper_ms for each in records):
        return {"as the paper timed it": time_as_in_paper}
    return {"single calls": latency, "GPU time, which does not depend on the host": gpu_time}


def _table(view: View) -> str:
    rows = []
    for claim in CLAIMS:
        result = claim.judge(view)
        words = ("reproduced", "not reproduced") if view.papers_conditions else ("stands", "does not stand")
        verdict = NOTHING if result.holds is None else words[not result.holds]
        verdict += f", {result.strength}" if result.strength else ""
        rows.append((claim.section, claim.says, claim.paper, result.ours, verdict, result.evidence))
    headers = ("section", "claim", "paper", "ours", "verdict", "evidence")
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
