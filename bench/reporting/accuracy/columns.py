"""The columns of the accuracy table: a pair of encoders each."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench.reporting import published
from bench.reporting.accuracy.evaluations import Encoders


def name_columns(encoders: Iterable[Encoders]) -> dict[Encoders, str]:
    """Return the column of each pair of encoders: the paper's for its pairs, otherwise one of its own.

    A folder is named by its last part, unless two folders share it.
    """
    distinct = list(dict.fromkeys(encoders))
    short = {each: _label(_last(each.speech), each.text and _last(each.text)) for each in distinct}
    counts = Counter(short.values())
    return {each: label if counts[label] == 1 else _label(each.speech, each.text) for each, label in short.items()}


def _label(speech: str, text: str | None) -> str:
    if text == published.TEXT and speech in published.COLUMNS:
        return speech
    return f"{speech}, no text" if text is None else f"{speech} + {text}"


def _last(name: str) -> str:
    return Path(name).name if Path(name).is_absolute() else name
