"""What `sbench compare --json` prints."""

import dataclasses
from typing import Any

from bench.efficiency.settings import Case
from bench.reporting.efficiency.comparison import Comparison, Pair, Unpaired, listed


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison for programs: a row for each case, with or without a verdict."""
    return {
        "before": listed(comparison.before),
        "after": listed(comparison.after),
        "before_folders": comparison.before,
        "after_folders": comparison.after,
        "by": comparison.by,
        "warnings": comparison.warnings,
        "cases": [*map(_pair, comparison.pairs), *map(_unpaired, comparison.unpaired)],
        "environment": [dataclasses.asdict(change) for change in comparison.environment],
    }


def _pair(pair: Pair) -> dict[str, Any]:
    judgement = pair.judgement
    return _case(pair.before.case) | {
        "verdict": judgement.verdict if judgement else None,
        "reason": pair.refusal,
        "lost": False,
        "before_ms": judgement.median_before if judgement else None,
        "after_ms": judgement.median_after if judgement else None,
        "ratio": judgement.ratio if judgement else None,
        "ratio_low": judgement.low if judgement else None,
        "ratio_high": judgement.high if judgement else None,
        "before_gib": pair.before.peak_memory_gib,
        "after_gib": pair.after.peak_memory_gib,
    }


def _unpaired(unpaired: Unpaired) -> dict[str, Any]:
    figures = ("before_ms", "after_ms", "ratio", "ratio_low", "ratio_high", "before_gib", "after_gib")
    return {
        **_case(unpaired.case),
        "verdict": None,
        "reason": unpaired.reason,
        "lost": unpaired.lost,
        **dict.fromkeys(figures),
    }


def _case(case: Case) -> dict[str, Any]:
    setting = {name.rstrip("_"): value for name, value in dataclasses.asdict(case.setting).items()}
    return {"name": case.name, "seconds": case.seconds, "setting": setting}
