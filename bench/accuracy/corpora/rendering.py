"""Shows the report on checked corpora on the terminal."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.accuracy.corpora.check import CorpusReport, Overlap, Report

_SHOWN = 3


def render(report: Report) -> Group:
    """Return a report for the terminal."""
    parts: list[RenderableType] = []
    for corpus in report.corpora:
        parts += [Text(corpus.spec, style="bold"), _table(corpus), *_lines(corpus)]
    parts += _overlap_lines(report.overlaps)
    return Group(*parts)


def _table(corpus: CorpusReport) -> Table:
    """Return a table with a column for each split, which fits a terminal; a column for each class would not."""
    table = Table()
    table.add_column("split")
    for split in corpus.splits:
        table.add_column(split.name, justify="right")
    table.add_row("utterances", *(f"{split.utterances:,}" for split in corpus.splits))
    table.add_row("hours", *(f"{split.seconds / 3600:.2f}" for split in corpus.splits))
    table.add_row("shortest (s)", *(f"{split.shortest_s:.2f}" for split in corpus.splits))
    table.add_row("longest (s)", *(f"{split.longest_s:.2f}" for split in corpus.splits))
    table.add_row("speakers", *(f"{split.speakers:,}" for split in corpus.splits))
    table.add_row("of unknown speaker", *(f"{split.of_unknown_speaker:,}" for split in corpus.splits))
    table.add_row("without text", *(f"{split.without_text:,}" for split in corpus.splits), end_section=True)
    for label in corpus.splits[0].classes:
        table.add_row(label, *(f"{split.classes[label]:,}" for split in corpus.splits))
    return table


def _lines(corpus: CorpusReport) -> Iterator[Text]:
    """Yield what the table does not show, as lines."""
    for (split, reason), count in corpus.left_out.items():
        yield Text(f"left out of {split or 'no split'}: {count:,}, {reason}")
    if corpus.without_audio:
        yield Text(f"recording missing: {_listed(corpus.without_audio)}", style="red")
    reasons: dict[tuple[str, str], list[str]] = {}
    for fault in corpus.faults:
        reasons.setdefault((fault.reason, fault.hint), []).append(fault.name)
    for (reason, hint), names in reasons.items():
        yield Text(f"{reason}: {_listed(names)}. {hint}", style="red")
    if corpus.silent:
        yield Text(f"silent: {_listed(corpus.silent)}", style="yellow")
    yield from (Text(remark, style="yellow") for remark in corpus.remarks)
    yield from _overlap_lines(corpus.overlaps)


def _overlap_lines(overlaps: Iterable[Overlap]) -> Iterator[Text]:
    for overlap in overlaps:
        pair = f"{overlap.first} and {overlap.second}"
        style = "yellow" if overlap.of_tests else "red"
        if overlap.names:
            yield Text(f"{pair} share utterances: {_listed(overlap.names)}", style=style)
        if overlap.speakers:
            yield Text(f"{pair} share speakers: {_listed(overlap.speakers)}", style=style)
        if overlap.of_unknown_speaker:
            count = f"{overlap.of_unknown_speaker:,}"
            yield Text(f"{pair}: utterances by unknown speakers, who may be in both: {count}", style="yellow")


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names):,} ({', '.join(names[:_SHOWN])}{more})"
