"""What `sbench list` says of each mixer and each implementation, and its tables."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.markup import escape
from rich.table import Table

import mixers
from bench.efficiency.selection import default_precision, measured
from bench.environment import choose_device
from mixers import stack
from mixers.support.errors import UserError, unknown_name


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """What a mixer is in a preset.

    Attributes:
        mixer: Its name.
        arxiv: The number of its paper.
        parameters: Of the whole model.
        feed_forward_width: Inner width of the feed-forward; None without one.
        state_numbers: How many numbers a layer keeps of the past; None if that grows.
        reach: How far back a frame sees, in words.
        plugin: Where a third party's mixer comes from; empty for our own.
    """

    mixer: str
    arxiv: str
    parameters: int
    feed_forward_width: int | None
    state_numbers: int | None
    reach: str
    plugin: str


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """Whether an implementation runs on this machine.

    Attributes:
        name: ``kda/fla``, or the mixer alone if that is unavailable.
        runs_here: Whether it runs.
        by_default: Whether `sbench sweep` measures it unless others are named.
        reason: Why it does not run; empty if it does.
    """

    name: str
    runs_here: bool
    by_default: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What `sbench list` says."""

    preset: str
    device_type: str
    mixers: Sequence[Mechanism]
    implementations: Sequence[Implementation]


def examine(*, preset: str) -> Listing:
    """Return what each mixer is, and for each implementation whether it runs here.

    Raises:
        UserError: There is no such preset.
    """
    if preset not in stack.PRESETS:
        raise unknown_name("preset", preset, stack.PRESETS)
    device_type = choose_device("auto")
    mechanisms, broken = _mechanisms(preset)
    return Listing(
        preset=preset,
        device_type=device_type,
        mixers=tuple(mechanisms.values()),
        implementations=tuple(_implementations(mechanisms, broken | mixers.unavailable(), preset, device_type)),
    )


def _mechanisms(preset: str) -> tuple[dict[str, Mechanism], dict[str, str]]:
    """Return what each mixer is, and why others cannot be built."""
    found, broken = {}, {}
    for name in mixers.available():
        try:
            with redirect_stdout(sys.stderr):
                found[name] = _mechanism(name, preset)
        except (Exception, SystemExit) as error:  # somebody's file may raise anything, and must hide no other mixer
            broken[name] = f"it cannot be built: {type(error).__name__}: {error}"
    return found, broken


def _mechanism(name: str, preset: str) -> Mechanism:
    mixer, plugin = mixers.load(name), mixers.plugin(name)
    return Mechanism(
        mixer=name,
        arxiv=mixer.arxiv,
        parameters=stack.count_parameters(name, preset=preset),
        feed_forward_width=stack.feed_forward_width_of(name, preset=preset),
        state_numbers=mixer.state_numbers(stack.sizes(mixer, preset)),
        reach=mixer.reach_at(stack.sizes(mixer, preset)),
        plugin=plugin.origin if plugin else "",
    )


def _implementations(
    names: Iterable[str], unavailable: Mapping[str, str], preset: str, device_type: str
) -> Iterator[Implementation]:
    """Yield every implementation of some mixers, then every mixer that is unavailable."""
    for name in names:
        try:
            yield from _implementations_of(name, preset, device_type)
        except Exception as error:  # as above
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            yield Implementation(name=name, runs_here=False, by_default=False, reason=reason)
    for name, reason in unavailable.items():
        yield Implementation(name=name, runs_here=False, by_default=False, reason=reason)


def _implementations_of(name: str, preset: str, device_type: str) -> list[Implementation]:
    mixer, precision = mixers.load(name), default_precision(preset, device_type=device_type)
    sizes = stack.sizes(mixer, preset)
    default = measured(mixer, sizes, device_type=device_type, precision=precision)
    found = []
    for implementation in mixer.implementations:
        reason = mixer.unavailable(implementation, sizes, device_type=device_type, precision=precision)
        by_default = not reason and mixer.by_default and implementation in default
        found.append(
            Implementation(
                name=f"{name}/{implementation}", runs_here=not reason, by_default=by_default, reason=reason or ""
            )
        )
    return found


def tables(listing: Listing) -> Group:
    """Return a row for each mixer, and one for each implementation."""
    return Group(_mechanism_table(listing), "", _implementation_table(listing))


def _mechanism_table(listing: Listing) -> Table:
    table = _empty(f"{listing.preset} preset")
    for column in ("mixer", "arXiv", "parameters", "feed-\nforward", "state of\na layer", "a frame sees"):
        number = column not in ("mixer", "arXiv", "a frame sees")
        table.add_column(column, justify="right" if number else "left", no_wrap=column == "mixer", overflow="fold")
    for each in listing.mixers:
        table.add_row(
            each.mixer,
            each.arxiv,
            f"{each.parameters:,}",
            "-" if each.feed_forward_width is None else f"{each.feed_forward_width:,}",
            "grows" if each.state_numbers is None else f"{each.state_numbers:,}",
            each.reach,
        )
    notes = ["feed-forward: its inner width, which brings each stack to its size. state: numbers kept"]
    notes += [f"{each.mixer}: plug-in of {each.plugin}" for each in listing.mixers if each.plugin]
    table.caption = "\n".join(notes)
    return table


def _implementation_table(listing: Listing) -> Table:
    table = _empty(f"on this machine ({listing.device_type})")
    table.add_column("implementation", no_wrap=True)
    table.add_column("runs here", overflow="fold")
    for each in listing.implementations:
        yes = "yes, by default" if each.by_default else "yes"
        table.add_row(each.name, yes if each.runs_here else escape(f"no: {each.reason}"))
    return table


def _empty(title: str) -> Table:
    return Table(title=title, box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), title_justify="left")
