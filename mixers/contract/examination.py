"""The whole contract of one mixer, from sizes to gradients, at the sizes of its matched stack."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

import mixers
from mixers import stack
from mixers.base import Mixer, View
from mixers.contract import promises
from mixers.contract.agreement import TOLERANCES, BrokenPromiseError
from mixers.contract.promises import Finding
from mixers.support.precision import DTYPES, use_precision

_FRAMES = 99  # more than one chunk of 64, in which kernels compute

# Kernels are checked at the sizes that are measured. Plain PyTorch is the same at any, and on a CPU narrow is quick.
_WIDTH = {"cuda": None, "cpu": 256}

_CHANGED_FROM = (1, 70)  # the first frame that is changed; a mixer with a short reach shows the first one alone

_ROUNDING = 4  # epsilons by which a frame may move that sees no change

_PRESET = "matched"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one promise.

    Attributes:
        name: The mixer, or the implementation: ``kda/fla``.
        promise: In a few words.
        kept: None if it could not be checked.
        measured: The figure, or why there is none.
    """

    name: str
    promise: str
    kept: bool | None
    measured: str


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What is examined in one go.

    Attributes:
        mixer: Its name.
        implementation: One that is available here; None for what all implementations share.
        precision: Of `DTYPES`, or ``float64``.
    """

    mixer: str
    implementation: str | None
    precision: str

    @property
    def name(self) -> str:
        """As verdicts name it."""
        return f"{self.mixer}/{self.implementation}" if self.implementation else self.mixer


def examine(what: Examined, *, device_type: str) -> list[Verdict]:
    """Check every promise that this part of the contract has. An error of a library is a broken promise."""
    if device_type == "cuda" and what.precision != "float64":
        use_precision(what.precision)
    checks = (
        _shared(what.mixer, device_type)
        if what.implementation is None
        else _agreeing(what, device_type)
        if what.precision == "float64"
        else {**_agreeing(what, device_type), **_in_every_direction(what, device_type)}
    )
    return [_verdict(what.name, promise, check) for promise, check in checks.items()]


Checks = dict[str, Callable[[], Finding]]


def _verdict(name: str, promise: str, check: Callable[[], Finding]) -> Verdict:
    try:
        found = check()
    except BrokenPromiseError as broken:
        found = Finding(kept=False, measured=str(broken))
    except Exception as error:  # libraries raise every kind
        lines = str(error).strip().splitlines() or [""]
        found = Finding(kept=False, measured=f"{type(error).__name__}: {lines[0]}")
    return Verdict(name=name, promise=promise, kept=found.kept, measured=found.measured)


def _shared(name: str, device_type: str) -> Checks:
    """Return the checks of what all implementations share: parameters and arithmetic."""
    mixer = mixers.load(name)
    config = stack.sizes(mixer, _PRESET)

    def layers() -> dict[str, Mixer]:
        """Return a layer of each implementation that is available here."""
        available = [
            each for each in mixer.implementations if not mixer.unavailable(each, config, device_type=device_type)
        ]
        return {each: mixer(config, implementation=each) for each in available}

    def reference() -> Any:
        return stack.build(name, implementation=next(iter(mixer.implementations)), preset=_PRESET)

    alone = {"same parameters": lambda: promises.same_parameters(layers())}
    return (alone if mixer.blocks == 1 else {}) | {
        "size of matched": lambda: promises.size(
            stack.count_parameters(name, preset=_PRESET), target=stack.target_parameters(_PRESET)
        ),
        "FLOPs": lambda: promises.arithmetic(reference(), torch.randn(2, 8, config.width)),
        "growth of FLOPs": lambda: promises.growth(reference()),
    }


def _agreeing(what: Examined, device_type: str) -> Checks:
    """Return the checks of a layer against its reference, for each thing that its frames can see."""
    mixer, precision = mixers.load(what.mixer), what.precision
    if mixer.blocks > 1:
        return {}  # a hybrid has no layer; its mixers are examined under their own names
    tolerance, dtype = TOLERANCES[precision], DTYPES.get(precision, torch.float64)
    views: list[View] = ["past", "clip"] if mixer.causal or mixer.can_be_causal else ["clip"]

    def layer(view: View) -> Mixer:
        torch.manual_seed(0)
        config = stack.sizes(mixer, _PRESET, width=_WIDTH[device_type])
        built = mixer(config, implementation=str(what.implementation))
        built.see(view)
        return built.to(device_type, dtype)

    stated = mixer.implementations[str(what.implementation)].precisions
    lesser = f"computes in {' and '.join(stated)}" if stated and precision == "float64" else ""

    def check(promise: Callable[..., Finding], view: View, count: int, error: float) -> Callable[[], Finding]:
        def checked() -> Finding:
            if lesser:
                return Finding(kept=None, measured=lesser)
            built = layer(view)
            inputs = (_random(built.width, device_type, dtype, seed=each) for each in range(count))
            return promise(built, *inputs, tolerance=error)

        return _where_it_takes_float64(checked) if precision == "float64" else checked

    return {
        f"{title}, {precision}, {seen}": check(promise, view, count, error)
        for view, seen in ((each, {"past": "causal", "clip": "whole clip"}[each]) for each in views)
        for title, promise, count, error in (
            ("output", promises.agreement, 1, tolerance.output),
            ("gradients", promises.gradients, 2, tolerance.gradients),
        )
    }


def _where_it_takes_float64(check: Callable[[], Finding]) -> Callable[[], Finding]:
    """Pass over a kernel that raises an error on float64. One that silently computes in less is checked, and fails."""

    def checked() -> Finding:
        try:
            return check()
        except BrokenPromiseError:
            raise
        except Exception as error:  # compilers raise every kind
            return Finding(kept=None, measured=f"takes no float64 ({type(error).__name__})")

    return checked


def _in_every_direction(what: Examined, device_type: str) -> Checks:
    """Return the checks of the matched stack in each direction that the mixer offers."""
    mixer, dtype = mixers.load(what.mixer), DTYPES[what.precision]
    checks: Checks = {}

    def model(direction: str) -> Any:
        built = stack.build(
            what.mixer,
            implementation=str(what.implementation),
            preset=_PRESET,
            width=_WIDTH[device_type],
            direction=direction,
        )
        return built.to(device_type, dtype)

    def causality(direction: str) -> Finding:
        built, rounding = model(direction), _ROUNDING * torch.finfo(dtype).eps
        causal = stack.is_causal(mixer, direction, preset=_PRESET)
        x = _random(built.width, device_type, dtype)
        found = [
            promises.causality(built, x, at=at, causal=causal, tolerance=rounding)
            for at in (_CHANGED_FROM if causal else _CHANGED_FROM[:1])
        ]
        return next((each for each in found if not each.kept), found[-1])

    def padding(direction: str) -> Finding:
        built = model(direction)
        x = torch.cat([_random(built.width, device_type, dtype, seed=row) for row in range(3)])  # (3, L, D)
        lengths = torch.tensor([x.shape[1], 2 * x.shape[1] // 3, 5], device=device_type)
        mask = torch.arange(x.shape[1], device=device_type) < lengths[:, None]
        return promises.padding(built, x, mask, tolerance=TOLERANCES[what.precision].output)

    for direction in stack.DIRECTIONS:
        if direction == "causal" and not (mixer.causal or mixer.can_be_causal):
            checks[f"causality, {direction}"] = lambda: Finding(kept=None, measured="it offers no such direction")
            continue
        checks[f"causality, {direction}"] = partial(causality, direction)
        checks[f"padding, {direction}"] = partial(padding, direction)
    return checks


def _random(width: int, device_type: str, dtype: torch.dtype, *, seed: int = 0) -> Tensor:
    """Return random features, (1, L, D)."""
    generator = torch.Generator().manual_seed(seed + 1)
    return torch.randn(1, _FRAMES, width, generator=generator, dtype=torch.float64).to(device_type, dtype)
