"""The table of `sbench list`."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

import mixers
from bench.efficiency.selection import available, measured
from bench.environment import choose_device
from mixers import stack
from mixers.support.errors import unknown_name


def table(*, preset: str) -> Table:
    """Return a row for each implementation of each mixer: direction, size, and whether it runs here.

    Raises:
        UserError: There is no such preset.
    """
    if preset not in stack.PRESETS:
        raise unknown_name("preset", preset, stack.PRESETS)
    device_type = choose_device("auto")
    listing = Table(
        title=f"{preset} preset, on this machine ({device_type})", box=SIMPLE_HEAD, show_edge=False, padding=0
    )
    for column in ("mixer", "direction", "parameters", "arXiv", "runs here"):
        listing.add_column(column, justify="right" if column == "parameters" else "left", no_wrap=column != "runs here")
    for name in available():
        mixer = mixers.load(name)
        parameters = f"{stack.count_parameters(name, preset=preset):,}"
        default = measured(mixer, preset=preset, device_type=device_type)
        for implementation in mixer.implementations:
            reason = mixer.unavailable(implementation, stack.sizes(mixer, preset), device_type=device_type)
            here = f"no: {reason}" if reason else "yes, by default" if implementation in default else "yes"
            direction = "causal" if mixer.causal else "bidirectional"
            listing.add_row(f"{name}/{implementation}", direction, parameters, mixer.arxiv, here)
    for name, reason in mixers.unavailable().items():
        listing.add_row(name, "", "", "", f"no: {reason}")
    return listing
