"""The tables of `sbench list`."""

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

import mixers
from bench.efficiency.selection import available, measured
from bench.environment import choose_device
from mixers import stack
from mixers.support.errors import unknown_name


def tables(*, preset: str) -> Group:
    """Return what each mixer is, and for each implementation whether it runs here.

    Raises:
        UserError: There is no such preset.
    """
    if preset not in stack.PRESETS:
        raise unknown_name("preset", preset, stack.PRESETS)
    return Group(_mechanisms(preset), "", _implementations(preset))


def _mechanisms(preset: str) -> Table:
    """Return a row for each mixer: its size, what it keeps of the past, and how far back it sees."""
    listing = _empty(f"{preset} preset")
    for column in ("mixer", "arXiv", "parameters", "feed-\nforward", "state of\na layer", "a frame sees"):
        number = column not in ("mixer", "arXiv", "a frame sees")
        listing.add_column(column, justify="right" if number else "left", no_wrap=column != "a frame sees")
    for name in available():
        mixer = mixers.load(name)
        numbers = mixer.state_numbers(stack.sizes(mixer, preset))
        listing.add_row(
            name,
            mixer.arxiv,
            f"{stack.count_parameters(name, preset=preset):,}",
            f"{stack.matched_feed_forward_width(name):,}" if preset == "matched" else "-",
            "grows" if numbers is None else f"{numbers:,}",
            mixer.reach,
        )
    listing.caption = "feed-forward: its inner width, which brings each stack to its size. state: numbers kept"
    return listing


def _implementations(preset: str) -> Table:
    """Return a row for each implementation, and for each mixer that is unavailable."""
    device_type = choose_device("auto")
    listing = _empty(f"on this machine ({device_type})")
    listing.add_column("implementation", no_wrap=True)
    listing.add_column("runs here")
    for name in available():
        mixer = mixers.load(name)
        default = measured(mixer, preset=preset, device_type=device_type)
        for implementation in mixer.implementations:
            reason = mixer.unavailable(implementation, stack.sizes(mixer, preset), device_type=device_type)
            here = f"no: {reason}" if reason else "yes, by default" if implementation in default else "yes"
            listing.add_row(f"{name}/{implementation}", here)
    for name, reason in mixers.unavailable().items():
        listing.add_row(name, f"no: {reason}")
    return listing


def _empty(title: str) -> Table:
    return Table(title=title, box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), title_justify="left")
