"""The tables of the pages that help to choose a mixer, from the committed records. Needs no torch."""

import functools
from collections.abc import Callable
from pathlib import Path

from accuracy_tables import highest_at, table

import mixers
from bench.efficiency.records import Record
from bench.efficiency.settings import WIDTH
from bench.efficiency.store import read_records
from bench.reporting.efficiency import end_to_end_page, fastest_page
from bench.reporting.efficiency.fastest_page import AT_S, fastest, length_label, nearest, smallest
from bench.reporting.efficiency.overview import mixers_of
from bench.reporting.formats import enumeration

H100 = Path(__file__).parent / "nvidia-h100"
NOT_MEASURED = "It was not measured yet."

_ENCODERS = {"xlsr-random": "XLS-R 300M", "whisper-base-random": "Whisper base"}
_SETTINGS = [(direction, pass_) for pass_ in ("inference", "training") for direction in ("causal", "alternating")]


def choice() -> str:
    """Return which mixer to take for clips of three lengths, what that changes of the whole, and what it is worth.

    Mixers are those of the sweep with encoders, or of the default sweep until there is one.
    """
    whole = H100 / "end-to-end"
    records = read_records(whole if whole.is_dir() else H100 / "bfloat16")
    alike = [each for each in mixers_of(records) if (each.width, each.pass_) == (WIDTH, "inference")]
    rows = []
    for seconds in AT_S:
        at = nearest(alike, seconds)
        changes = end_to_end_page.changes(records, at)
        rows.append(
            (
                length_label(seconds, measured=at),
                fastest(alike, at),
                smallest(alike, at),
                *(changes.get(name, "not measured yet") for name in _ENCODERS),
                *(highest_at(kind, seconds) for kind in ("salient", "change")),
            )
        )
    behind = [f"gain behind {name}" for name in _ENCODERS.values()]
    filled = table(("audio", "fastest", "smallest", *behind, "finds an emotion (%)", "knows their order (%)"), rows)
    return f"{filled}\n\n{_among_all()}"


def _among_all() -> str:
    """Return who is fastest among all mixers, or that they were not measured yet."""
    folder = _folder("alternating", "inference")
    records = _records("alternating", "inference")
    link = "[all {} mixers](reports/fastest.md)".format(len({each.mixer for each in records if each.status == "ok"}))
    if not folder.name.startswith("all-"):
        return "These are the paper's six mixers. [The others](reports/fastest.md) were not measured yet."
    lengths = {seconds: nearest(records, seconds) for seconds in AT_S}
    first = [f"{fastest(records, at)} at {length_label(seconds, measured=at)}" for seconds, at in lengths.items()]
    return f"These are the paper's six mixers. Among {link} the fastest are {enumeration(first)}."


def _records(direction: str, pass_: str) -> list[Record]:
    """Return the records of a setting: of the sweep of all mixers, or of the paper's six until there is one."""
    return [each for each in read_records(_folder(direction, pass_)) if each.pass_ == pass_]


def _folder(direction: str, pass_: str) -> Path:
    every = H100 / f"all-{direction}-{pass_}"
    return every if every.is_dir() else H100 / f"direction-{direction}"


def _every() -> list[Record]:
    return [each for setting in _SETTINGS for each in _records(*setting)]


def measured() -> str:
    """Return how many mixers were measured, which were not, and in which folders the records are."""
    ours = [name for name in mixers.names() if mixers.plugin(name) is None]
    folders = dict.fromkeys(_folder(*setting).name for setting in _SETTINGS)
    links = ", ".join(f"[{name}](nvidia-h100/{name}/results.csv)" for name in folders)
    return f"{fastest_page.missing(_every(), ours)} The records: {links}."


def ranks(direction: str, pass_: str) -> str:
    """Return what every mixer takes in a setting."""
    return fastest_page.ranks(_records(direction, pass_))


def heads() -> str:
    """Return the GPU time of the paper's mixers with 4 heads and with 8 at each length, of one card."""
    folder = H100 / "heads"
    return fastest_page.heads(read_records(folder)) if folder.is_dir() else NOT_MEASURED


def conformer() -> str:
    """Return what mixers take in Conformers."""
    folder = H100 / "conformer"
    return fastest_page.ranks(read_records(folder)) if folder.is_dir() else NOT_MEASURED


def picture() -> str:
    """Return the picture of all mixers, or of the paper's six until there is one."""
    folder = "all" if (H100 / "all" / "directions.png").is_file() else "directions"
    return f"![GPU time over the length of the audio, in each direction](nvidia-h100/{folder}/directions.png)"


TABLES: dict[str, Callable[[], str]] = {
    "choice": choice,
    "measured": measured,
    "picture": picture,
    "heads": heads,
    "conformer": conformer,
    "fastest": lambda: fastest_page.table(_every()),
    "slow": lambda: fastest_page.slow(_every()),
    **{
        f"ranks {direction} {pass_}": functools.partial(
            lambda *key: fastest_page.ranks(_records(*key)), direction, pass_
        )
        for direction, pass_ in _SETTINGS
    },
}
