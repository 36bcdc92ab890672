"""What a mixer can see and keep, which its cost must be weighed against. A pure function of records."""

from collections.abc import Sequence

import pandas as pd

from bench.efficiency.records import Record
from bench.reporting.efficiency.overview import names_of


def mechanisms(records: Sequence[Record]) -> pd.DataFrame:
    """Return for each mixer its size, how far back a frame sees in one pass, and what a layer keeps of the past.

    Records before schema version 5 know none of this, and give no row.
    """
    rows = []
    for name in names_of(records):
        first = next(record for record in records if record.name == name)
        if first.reach:
            rows.append(
                {
                    "mixer": name,
                    "parameters (M)": round((first.parameters or 0) / 1e6, 2),
                    "feed-forward width": first.feed_forward_width,
                    "whole model is causal": "yes" if first.causal else "no",
                    "how far a frame sees, if nothing is hidden": first.reach,
                    "numbers that a layer keeps": "grows with the length"
                    if first.state_numbers is None
                    else f"{first.state_numbers:,}",
                }
            )
    return pd.DataFrame(rows)
