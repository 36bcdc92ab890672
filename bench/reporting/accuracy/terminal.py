"""The accuracy table on the terminal: a compact block for each encoder and split. Needs no torch."""

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from bench.reporting.accuracy.differing import differing
from bench.reporting.accuracy.table import AccuracyTable, Cell, Key
from bench.reporting.accuracy.words import DEMONSTRATION, ends, gpu_ms, mixer_name, signed, split_name, spread
from bench.reporting.formats import millions, span, two_decimals

_LENGTHS = 7  # of audio, in one block


def render(table: AccuracyTable) -> Group:
    """Return what the terminal shows: a block for each encoder and split, the pairs that differ, and the notes."""
    parts: list[Text | Table] = [Text(DEMONSTRATION, style="bold yellow")] if table.demo else []
    for column in table.columns:
        for split in table.splits:
            cells = {key: cell for key, cell in table.cells.items() if (key.column, key.split) == (column, split)}
            parts += [_title(cells), _block(table, cells), Text()] if cells else []
        parts += _cost_blocks(table, column)
    parts += [Text(line) for line in differing(table)]
    parts += [Text(note, style="dim") for note in table.notes]
    return Group(*parts)


def _cost_blocks(table: AccuracyTable, column: str) -> list[Text | Table]:
    """Return what the rows of an encoder cost: a block for every few lengths, to fit 80 characters."""
    if table.costs is None:
        return []
    costs, parts = table.costs, list[Text | Table]()
    directions = len(table.directions) > 1
    rows = dict.fromkeys(key.row for key in table.cells if key.column == column)
    for start in range(0, len(costs.seconds), _LENGTHS):
        chosen = slice(start, start + _LENGTHS)
        block = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
        for name in ("mixer", *(("direction",) if directions else ())):
            block.add_column(name, no_wrap=True)
        for seconds in costs.seconds[chosen]:
            block.add_column(f"{seconds:g} s", justify="right", no_wrap=True)
        for row in rows:
            times = map(gpu_ms, costs.of(row, column)[chosen])
            block.add_row(mixer_name(row), *([row.direction] if directions else []), *times)
        parts += [block, Text()]
    return [Text(f"{column}: GPU ms by length of audio", style="bold"), *parts]


def _title(cells: Mapping[Key, Cell]) -> Text:
    (key, first), *_ = cells.items()
    folds = f", {first.folds} folds" if first.folds else ""
    tested = f"{first.utterances:,} utterances, {first.speakers:,} speakers{folds}"
    return Text(f"{key.column}, {split_name(key.split)}: {tested}", style="bold")


def _block(table: AccuracyTable, cells: Mapping[Key, Cell]) -> Table:
    """Return one encoder on one split, narrow enough for 80 characters."""
    block = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
    directions, beside = len(table.directions) > 1, any(cell.paper is not None for cell in cells.values())
    block.add_column("mixer", no_wrap=True)
    if directions:
        block.add_column("direction", no_wrap=True)
    block.add_column("M", justify="right")
    for name in ("macro-F", "", "95 %", "UAR", *(("paper", "diff") if beside else ())):
        block.add_column(name, justify="right", no_wrap=True)
    for (row, column, _), cell in cells.items():
        paper = [two_decimals(cell.paper), signed(cell.difference)] if beside else []
        block.add_row(
            mixer_name(row),
            *([row.direction] if directions else []),
            span(table.parameters_of(row.mixer, [column]), millions),
            two_decimals(cell.ours),
            spread(cell),
            ends(cell.low, cell.high),
            two_decimals(cell.recall),
            *paper,
        )
    return block
