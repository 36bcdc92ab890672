"""What `sbench check` says: the contract of mixers, examined in child processes, and its table."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

import mixers
from bench.efficiency import isolation
from bench.efficiency.selection import check_precision
from mixers import autotuning, stack
from mixers.contract.examination import Examined, Verdict, examine
from mixers.support.errors import UserError, unknown_name
from mixers.support.precision import DTYPES

# Of one implementation in one precision. On a GPU kernels without a prepared configuration are tuned first.
LIMIT_S = 1800.0

_IN_WORDS = {True: "kept", False: "BROKEN", None: "not checked"}


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What `sbench check` says.

    Attributes:
        device_type: ``cuda`` or ``cpu``.
        precision: What the implementations are checked in, beside float64.
        passed: Whether no promise is broken.
        verdicts: One for each promise.
    """

    device_type: str
    precision: str
    passed: bool
    verdicts: Sequence[Verdict]


def choose(names: Sequence[str], *, precision: str, device_type: str) -> list[Examined]:
    """Return what is to be examined: of each mixer, what its implementations share, then each one that runs here.

    Args:
        names: Mixers and groups, or ``sa/sdpa`` for one implementation; none for all mixers.
        precision: Of `mixers.support.precision.DTYPES`.
        device_type: ``cuda`` or ``cpu``.

    Raises:
        UserError: A mixer, an implementation or the precision is unknown or unavailable here.
    """
    if precision not in DTYPES:
        raise unknown_name("precision", precision, tuple(DTYPES))
    check_precision(precision, device_type=device_type)
    chosen: dict[Examined, None] = {}
    for name in mixers.expand(names) or mixers.available():
        mixer_name, slash, asked = name.partition("/")
        mixer = mixers.require(mixer_name)
        if slash and asked not in mixer.implementations:
            raise unknown_name(f"implementation of {mixer_name}", asked, mixer.implementations)
        config = stack.sizes(mixer, "matched")
        reasons = {
            each: mixer.unavailable(each, config, device_type=device_type, precision=precision)
            for each in mixer.implementations
        }
        if slash and reasons[asked]:
            raise UserError(f"{name} is unavailable here: {reasons[asked]}", hint=f"Check {mixer_name} without it.")
        chosen[Examined(mixer=mixer_name, implementation=None, precision=precision)] = None
        for each in [asked] if slash else [each for each, reason in reasons.items() if not reason]:
            for one in (precision, "float64"):
                chosen[Examined(mixer=mixer_name, implementation=each, precision=one)] = None
    return list(chosen)


def run(chosen: Sequence[Examined], *, device_type: str) -> Iterator[list[Verdict]]:
    """Examine each in a child process; one that kills its process has broken its promises."""
    outcomes = isolation.run(partial(_examine, device_type=device_type), chosen, limit_s=LIMIT_S)
    for what, outcome in zip(chosen, outcomes, strict=True):
        if isinstance(outcome, isolation.Death):
            kept = None if what.precision == "float64" else False  # a kernel need not take float64
            yield [Verdict(name=what.name, promise=f"runs in {what.precision}", kept=kept, measured=outcome.reason)]
        else:
            yield outcome


def _examine(chosen: Iterable[Examined], *, device_type: str) -> Iterator[list[Verdict]]:
    if device_type == "cpu":
        torch.set_num_threads(1)  # the products are small, and threads would wait for each other
    for what in chosen:
        with autotuning.compiling_side_by_side(settling=True):  # once the first one has imported the kernels
            verdicts = examine(what, device_type=device_type)
        yield verdicts
        if device_type == "cuda" and not all(each.kept for each in verdicts):
            return  # an error may have left the GPU's context unusable, so a fresh process does the rest


def table(examination: Examination) -> Table:
    """Return a row for each promise."""
    title = f"contract, on this machine ({examination.device_type}), {examination.precision} and float64"
    table = Table(title=title, box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), title_justify="left")
    for column in ("promise", "verdict", "measured"):
        table.add_column(column, overflow="fold", no_wrap=column == "verdict")
    for name, verdicts in itertools.groupby(examination.verdicts, key=lambda each: each.name):
        table.add_row(name, "", "", style="bold")
        for each in verdicts:
            style = "bold red" if each.kept is False else "dim" if each.kept is None else None
            table.add_row(f"  {each.promise}", _IN_WORDS[each.kept], escape(each.measured), style=style)
    return table
