"""Which pairs of mixers differ, in words."""

from collections.abc import Iterator

from bench.accuracy.evaluation import intervals
from bench.reporting.accuracy.table import AccuracyTable
from bench.reporting.accuracy.words import row_name, seeds, signed, split_name
from bench.reporting.formats import interval, two_decimals


def differing(table: AccuracyTable) -> Iterator[str]:
    """Yield how many pairs were compared and how many differ, then each that does."""
    if not table.pairs:
        return
    found = [pair for pair in table.pairs if pair.comparison.verdict != "no difference told"]
    yield (
        f"{len(found)} of {len(table.pairs)} pairs differ at {intervals.ALPHA:.0%}, with Holm's control for "
        f"{len(table.pairs)} comparisons"
    )
    for pair in found:
        points = pair.comparison.difference
        span = interval(100 * points.low, 100 * points.high, signed)
        yield (
            f"  {pair.column}, {split_name(pair.split)}: {row_name(table, pair.first)} {pair.comparison.verdict} than "
            f"{row_name(table, pair.second)} by {two_decimals(100 * abs(points.value))} points "
            f"({span}), p = {pair.comparison.p:.2g}, {seeds(pair.seeds)}"
        )
