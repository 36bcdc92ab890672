"""Tells how far two sweeps of the same code agree: ``python reports/repeats.py FILE.json HOST BEFORE AFTER``.

It adds a line for the pair to the file. HOST is any name for the machine. Each verdict of "faster" or "slower" between
two sweeps of the same code is a false alarm. Needs no torch.
"""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.efficiency.store import read_header, read_pooled, read_records
from bench.reporting.efficiency.case_verdict import SERIES
from bench.reporting.efficiency.comparison import compare
from bench.reporting.efficiency.crossings import crossings
from bench.reporting.efficiency.verdict import medians_agree

Row = Mapping[str, Any]


def agreement(host: str, before: Path, after: Path) -> dict[str, object]:
    """Return the verdicts between two sweeps, and how many of their crossings in GPU time meet."""
    header = read_header(before)
    return {
        "device": header.device,
        "host": host,
        "started_at": read_records(before)[0].started_at,
        "processes": header.plan.processes,
        **{by: _verdicts(before, after, by) for by in SERIES},
        "crossings": _crossings(before, after),
    }


def _verdicts(before: Path, after: Path, by: str) -> dict[str, int]:
    judgements = compare(before, after, by=by).judgements
    counts = Counter(each.verdict for each in judgements)
    return {
        "cases": len(judgements),
        "false": counts["faster"] + counts["slower"],
        "noisy": counts["noisy"],
        "within 1 %": sum(map(medians_agree, judgements)),
    }


def _crossings(before: Path, after: Path) -> dict[str, int]:
    sides = [_by_pair(crossings(read_pooled(folder))) for folder in (before, after)]
    pairs = sides[0].keys() & sides[1].keys()
    return {"pairs": len(pairs), "meet": sum(_meet(*(side[pair] for side in sides)) for pair in pairs)}


def _by_pair(table: pd.DataFrame) -> dict[frozenset[str], Row]:
    rows = table[table["quantity"] == "GPU time"].to_dict("records")
    return {frozenset((row["ahead"], row["behind"])): {str(name): row[name] for name in row} for row in rows}


def _meet(one: Row, other: Row) -> bool:
    """Tell whether both sweeps may have the same truth: the same one ahead, or lengths of equality that overlap."""
    (low, high), (other_low, other_high) = ((row["low (s)"], row["high (s)"]) for row in (one, other))
    if pd.isna(low) or pd.isna(other_low):
        return one["ahead"] == other["ahead"] and pd.isna(one["from (s)"]) == pd.isna(other["from (s)"])
    return max(low, other_low) <= min(high, other_high)


if __name__ == "__main__":
    file, host, before, after = sys.argv[1:]
    line = json.dumps(agreement(host, Path(before), Path(after)))
    with Path(file).open("a", encoding="utf-8") as lines:
        lines.write(f"{line}\n")
