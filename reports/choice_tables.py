"""The tables of the pages that help to choose a mixer, from the committed records. Needs no torch."""

import csv
import functools
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

from accuracy_tables import highest_at, table

import mixers
from bench.efficiency.records import Record
from bench.efficiency.settings import WIDTH
from bench.efficiency.store import read_records
from bench.reporting.efficiency import end_to_end_page, fastest_page
from bench.reporting.efficiency.fastest_page import AT_S, fastest, length_label, nearest, smallest
from bench.reporting.efficiency.overview import mixers_of
from bench.reporting.efficiency.quantities import Quantity, gpu_time, memory
from bench.reporting.formats import enumeration

REPORTS = Path(__file__).parent
GPUS = {"H100": "nvidia-h100", "H200": "nvidia-h200"}  # by preference: the first is the paper's card
NOT_MEASURED = "It was not measured yet."

# Kernels that are named, and what would run otherwise.
_RIVALS = {
    "sa/fa4": "sa/cudnn",
    "sa/flash": "sa/cudnn",
    "gated_deltanet/flashqla": "gated_deltanet/fla",
    "kda/cudnn": "kda/fla",
    "fox/triton": "fox/fla",
}

_SHARES = "kernel-shares.csv"
_PRODUCTS = ("nvjet", "Kernel2", "gemm", "sm80_xmma_gemm")  # names of cuBLAS

_ENCODERS = {"xlsr-random": "XLS-R 300M", "whisper-base-random": "Whisper base"}
_PASSES = ("inference", "training")
_SETTINGS = [(direction, pass_) for pass_ in _PASSES for direction in ("causal", "alternating")]


def choice() -> str:
    """Return which mixer to take for clips of three lengths, what that changes of the whole, and what it is worth.

    Mixers are those of the sweep with encoders, or of the default sweep until there is one.
    """
    folder = find("end-to-end", "bfloat16")
    records = read_records(folder)
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
    about = f"Which mixer, on an {gpu_of(folder)} in bfloat16, when every frame sees the whole clip:"
    return f"{about}\n\n{filled}\n\n{_among_all()}"


def find(*names: str) -> Path:
    """Return the first folder of a name that there is, of the GPU that comes first.

    Raises:
        FileNotFoundError: There is none of any name.
    """
    for name, gpu in itertools.product(names, GPUS.values()):
        if (REPORTS / gpu / name).is_dir():
            return REPORTS / gpu / name
    raise FileNotFoundError(names[0])


def gpu_of(folder: Path) -> str:
    """Return the short name of the GPU of a folder of results."""
    return next(gpu for gpu, name in GPUS.items() if name == folder.parent.name)


def _among_all() -> str:
    """Return who is fastest among all mixers, or that they were not measured yet."""
    folder = _folder("alternating", "inference")
    records = _records("alternating", "inference")
    count = fastest_page.count_of({each.mixer for each in records if each.status == "ok"})
    link = f"[all {count}](reports/fastest.md)"
    if not folder.name.startswith("all-"):
        return "These are the paper's six mixers. [The others](reports/fastest.md) were not measured yet."
    lengths = {seconds: nearest(records, seconds) for seconds in AT_S}
    first = [f"{fastest(records, at)} at {length_label(seconds, measured=at)}" for seconds, at in lengths.items()]
    return f"These are the paper's six mixers. Among {link} the fastest are {enumeration(first)}."


def _records(direction: str, pass_: str) -> list[Record]:
    """Return the records of a setting: of the sweep of all mixers, or of the paper's six until there is one."""
    return [each for each in read_records(_folder(direction, pass_)) if each.pass_ == pass_]


def _folder(direction: str, pass_: str) -> Path:
    return find(f"all-{direction}-{pass_}", f"direction-{direction}")


def _every() -> list[Record]:
    return [each for setting in _SETTINGS for each in _records(*setting)]


def measured() -> str:
    """Return how many mixers were measured, which were not, and in which folders the records are."""
    ours = [name for name in mixers.names() if mixers.plugin(name) is None]
    folders = dict.fromkeys(_folder(*setting) for setting in _SETTINGS)
    links = ", ".join(f"[{each.name}]({each.parent.name}/{each.name}/results.csv)" for each in folders)
    gpus = enumeration(dict.fromkeys(f"{gpu_of(each)}s" for each in folders))
    return f"{fastest_page.missing(_every(), ours)} They ran on {gpus}. The records: {links}."


def ranks(direction: str, pass_: str) -> str:
    """Return what every mixer takes in a setting."""
    return fastest_page.ranks(_records(direction, pass_))


def heads() -> str:
    """Return the GPU time of the paper's mixers with 4 heads and with 8 at each length, of one card."""
    return _of_the_folder("heads", fastest_page.heads)


def conformer() -> str:
    """Return what mixers take in Conformers."""
    return _of_the_folder("conformer", fastest_page.ranks)


def rivals() -> str:
    """Return what the kernels of others take, beside the defaults, in a table for each pass."""

    def tables(records: list[Record]) -> str:
        by_pass = {pass_: [each for each in records if each.pass_ == pass_] for pass_ in _PASSES}
        found = {pass_: fastest_page.ranks(alike, by_mixer=True) for pass_, alike in by_pass.items() if alike}
        return "\n\n".join(f"**{pass_}**\n\n{table}" for pass_, table in found.items())

    return _of_the_folder("rivals", tables)


def rivals_against() -> str:
    """Return by how much kernels differ from what would run otherwise, in GPU time and peak memory."""

    def compared(records: list[Record]) -> str:
        of = {(each.name, each.pass_, each.seconds): each for each in records}
        asked = [(pass_, seconds) for pass_ in _PASSES for seconds in AT_S]

        def row(name: str, other: str) -> list[str]:
            times = [_change(of, name, other, at, gpu_time) for at in asked]
            memories = [_change(of, name, other, (pass_, AT_S[-1]), memory) for pass_ in _PASSES]
            return [name, other, *times, *memories]

        times = [f"{pass_}, {seconds:g} s" for pass_, seconds in asked]
        memories = [f"memory of {pass_}, {AT_S[-1]:g} s" for pass_ in _PASSES]
        return table(("kernel", "against", *times, *memories), [row(*pair) for pair in _RIVALS.items()])

    return _of_the_folder("rivals", compared)


def _change(
    of: Mapping[tuple[str, str, float], Record], name: str, other: str, at: tuple[str, float], quantity: Quantity
) -> str:
    """Return how a figure differs from another in a pass and at a length, in per cent; a dash where one is missing."""
    found = [record and quantity(record) for record in (of.get((each, *at)) for each in (name, other))]
    if not (found[0] and found[1]):
        return "-"
    change = round(100 * (found[0] / found[1] - 1))
    return f"{change:+d} %" if change else "0 %"


def _of_the_folder(name: str, make: Callable[[list[Record]], str]) -> str:
    """Return a table of a folder's records, and of which GPU they are."""
    try:
        folder = find(name)
    except FileNotFoundError:
        return NOT_MEASURED
    return f"On one {gpu_of(folder)}:\n\n{make(read_records(folder))}"


def profile(pass_: str) -> str:
    """Return which kernels take the time of each mixer: those of the projections, and the three longest others."""
    folder = next(path for gpu in GPUS.values() if (path := REPORTS / gpu).joinpath(_SHARES).is_file())
    with (folder / _SHARES).open(newline="", encoding="utf-8") as file:
        lines = [each for each in csv.DictReader(file) if each["pass"] == pass_]
    rows = []
    for mixer in dict.fromkeys(each["mixer"] for each in lines):
        mine = [each for each in lines if each["mixer"] == mixer]
        products = [each for each in mine if each["kernel"].startswith(_PRODUCTS)]
        others = [f"`{each['kernel'][:48]}` {each['percent']}" for each in mine if each not in products][:3]
        ms, share = (
            sum(float(each[column]) for each in found) for column, found in (("ms", mine), ("percent", products))
        )
        rows.append((ms, (mixer, f"{ms:.2f}", f"{share:.0f}", *others)))
    headers = ("mixer", "ms", "cuBLAS (%)", "longest other kernel (%)", "second (%)", "third (%)")
    return table(headers, [cells for _, cells in sorted(rows)])


def picture() -> str:
    """Return the picture of all mixers, or of the paper's six until there is one."""
    folder = find("all", "directions")
    path = f"{folder.parent.name}/{folder.name}/directions.png"
    return f"![GPU time over the length of the audio, in each direction]({path})"


TABLES: dict[str, Callable[[], str]] = {
    "choice": choice,
    "measured": measured,
    "picture": picture,
    **{f"profile {pass_}": functools.partial(profile, pass_) for pass_ in _PASSES},
    "heads": heads,
    "conformer": conformer,
    "rivals": rivals,
    "rivals against": rivals_against,
    "fastest": lambda: fastest_page.table(_every()),
    "slow": lambda: fastest_page.slow(_every()),
    **{
        f"ranks {direction} {pass_}": functools.partial(
            lambda *key: fastest_page.ranks(_records(*key)), direction, pass_
        )
        for direction, pass_ in _SETTINGS
    },
}
