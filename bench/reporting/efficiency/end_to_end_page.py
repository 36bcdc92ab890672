"""What a sweep with encoders says in a few lines: a table for a page, and a sentence. Pure functions of its records."""

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from bench.efficiency.records import Record
from bench.reporting.efficiency.overview import by_setting, mixers_of, other_parts_of
from bench.reporting.efficiency.quantities import Quantity, known, main_time
from bench.reporting.efficiency.whole import FUSED_ATTENTION, Block, Whole, blocks
from bench.reporting.formats import NOTHING, significant, span

_STORED = "sa/eager"


def table(records: Sequence[Record]) -> str:
    """Return a row in Markdown for each encoder, form and length: what the parts take, and what the mixer changes."""
    label, time = main_time(records)
    headers = (
        *("encoder", "audio (s)", "encoder (ms)", "mixers (ms)", "head (ms)", "share of the mixers (%)"),
        *(f"{label} against {FUSED_ATTENTION} (%)", "peak (GiB)", f"peak with {_STORED} (GiB)"),
    )
    rows = [
        _row(block, seconds, wholes, time)
        for block in _blocks(records, time)
        for seconds, wholes in _by_length(block).items()
    ]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def sentence(records: Sequence[Record]) -> str:
    """Return the mixer's share of the whole at the longest length, behind the encoder that takes the most memory."""
    label, time = main_time(records)
    largest = max(_blocks(records, time), key=lambda block: max(each.peak_gib for each in _every(block)))
    seconds, wholes = list(_by_length(largest).items())[-1]
    _, _, _, _, _, shares, changes, peak, stored = _row(largest, seconds, wholes, time)
    return (
        f"Behind {largest.label}, at {seconds} s, the mixer takes {shares} % of the whole system's {label}. Another "
        f"mixer than fused attention changes that time by {changes} %. The peak of memory is {peak} GiB, and {stored} "
        "GiB with attention that stores its scores."
    )


def changes(records: Sequence[Record], seconds: float) -> dict[str, str]:
    """Return what the fastest mixer in place of the slowest changes of the whole system's time, by the encoder's name.

    Attention that stores its scores is left out. Each form of an encoder is named: ``-1.2 % in one piece``.

    Args:
        records: Of a sweep with encoders.
        seconds: A length. An encoder for which it was not measured is left out.
    """
    _, time = main_time(records)
    found: dict[str, list[str]] = {}
    for block in _blocks(records, time):
        wholes = _by_length(block).get(f"{seconds:g}", {})
        ms = [each.ms(time) for name, each in wholes.items() if name != _STORED]
        if ms:
            found.setdefault(block.encoder_name, []).append(f"{100 * (min(ms) / max(ms) - 1):+.1f} % {block.form}")
    return {name: ", ".join(cells) for name, cells in found.items()}


def _blocks(records: Sequence[Record], time: Quantity) -> Iterator[Block]:
    """Yield those with a whole system."""
    for alike in by_setting(mixers_of(records)).values():
        for block in blocks(alike, other_parts_of(records), time):
            if any(_every(block)):
                yield block


def _every(block: Block) -> list[Whole]:
    return [whole for wholes in block.wholes.values() for whole in wholes.values()]


def _by_length(block: Block) -> dict[str, dict[str, Whole]]:
    """Return the whole systems of each length by the name of the mixer."""
    found: dict[float, dict[str, Whole]] = {}
    for name, wholes in block.wholes.items():
        for seconds, whole in wholes.items():
            found.setdefault(seconds, {})[name] = whole
    return {f"{seconds:g}": found[seconds] for seconds in sorted(found)}


def _row(block: Block, seconds: str, wholes: dict[str, Whole], time: Quantity) -> tuple[str, ...]:
    """Return the cells of one length; ranges are over the mixers, without attention that stores its scores."""
    fused, stored = wholes.get(FUSED_ATTENTION), wholes.get(_STORED)
    every = [whole for name, whole in wholes.items() if name != _STORED] or list(wholes.values())
    changes = [100 * (each.ms(time) / fused.ms(time) - 1) for each in every if each is not fused] if fused else []
    return (
        block.label,
        seconds,
        significant(known(every[0].encoder, time)),
        span((known(each.mixer, time) for each in every), significant),
        significant(known(every[0].head, time)),
        span((100 * each.shares(time)["mixer"] for each in every), lambda share: f"{share:.1f}"),
        span(changes, lambda change: f"{change:+.1f}"),
        span((each.peak_gib for each in every), significant),
        significant(stored.peak_gib) if stored else NOTHING,
    )
