"""The learning rate of a step. `plateau` halves it when the development score stalls; `one-cycle` needs no score."""

import math
from typing import Literal, get_args

from mixers.support.errors import choose

Schedule = Literal["plateau", "one-cycle"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)

# As PyTorch's OneCycleLR by default.
_RISING = 0.3  # of all steps
_FIRST, _LAST = 1 / 25, 1 / 25e4  # of the highest rate


def choose_schedule(name: str) -> Schedule:
    """Return the schedule of this name.

    Raises:
        UserError: There is no such schedule.
    """
    return choose("schedule", name, SCHEDULES)


def one_cycle(step: int, total: int) -> float:
    """Return the learning rate of a step as a fraction of the highest one.

    It rises along half a cosine, then falls along another (L. N. Smith and N. Topin, Super-Convergence, arXiv
    1708.07120, with the cosines of PyTorch).

    Args:
        step: The number of the step, from 0.
        total: The steps of the run.
    """
    peak = _RISING * total - 1
    if step <= peak:
        return _between(_FIRST, 1.0, step / peak)
    return _between(1.0, _LAST, (step - peak) / (total - 1 - peak))


def _between(begin: float, end: float, share: float) -> float:
    return end + (begin - end) / 2 * (1 + math.cos(math.pi * share))
