"""Whether the implementation that is about to be timed gives what its reference gives."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.efficiency.failures import describe
from bench.efficiency.settings import Setting
from bench.speech import frames_of, samples_of
from mixers.base import Mixer
from mixers.contract.agreement import (
    TOLERANCES,
    BrokenPromiseError,
    checked_output,
    output_error,
    relative_error,
    training_error,
)
from mixers.support.precision import DTYPES

LONGEST_S = 2.0  # of audio: a moment for the reference, and more than one chunk of the kernels


@dataclass(frozen=True, kw_only=True)
class Conformity:
    """Columns of a record, as `bench.efficiency.records.Record` explains them."""

    conforms: bool | None = None
    conformity_error: float | None = None
    conformity_note: str = ""


UNCHECKED = Conformity()


def check(
    model: nn.Module, setting: Setting, *, shortest_s: float, bind_compiled: Callable[[], Callable[[], object]] | None
) -> Conformity:
    """Compare each kind of mixer in a model with its reference in float64, and a compiled model with itself uncompiled.

    A library's error is a note, not a failure.

    Args:
        model: On its device, in its precision.
        setting: Its value on each axis.
        shortest_s: The shortest length of the sweep.
        bind_compiled: Returns a function that calls the compiled model and returns its output; None if it is not
            compiled.
    """
    try:
        kinds = {type(module): module for module in model.modules() if isinstance(module, Mixer)}
        frames = frames_of(samples_of(min(LONGEST_S, shortest_s)))
        errors = [_error(mixer, setting, frames=frames) for mixer in kinds.values()]
        if bind_compiled:
            errors.append(_error_of_compiling(bind_compiled()))
    except BrokenPromiseError as broken:
        return Conformity(conforms=False, conformity_note=str(broken))
    except Exception as raised:  # libraries raise every kind
        return Conformity(conformity_note=describe(raised.with_traceback(None)))
    if not all(map(math.isfinite, errors)):
        return Conformity(conforms=False, conformity_note="a result is not finite")
    tolerance = TOLERANCES[setting.precision]
    allowed = tolerance.output if setting.pass_ == "inference" else tolerance.gradients
    return Conformity(conforms=max(errors) <= allowed, conformity_error=max(errors))


def remark_on(y: object, *, shape: tuple[int, ...], dtype: torch.dtype) -> str:
    """Return what is wrong with an output; empty if it is finite and of this shape and dtype. It takes no memory."""
    try:
        extremes = checked_output(y, shape=shape, dtype=dtype).aminmax()
    except BrokenPromiseError as broken:
        return str(broken)
    return "" if all(map(math.isfinite, extremes)) else "output is not finite"


def _error_of_compiling(call: Callable[[], object]) -> float:
    compiled = call()
    with torch.compiler.set_stance("force_eager"):
        eager = call()
    assert isinstance(compiled, Tensor)
    assert isinstance(eager, Tensor)
    return relative_error(compiled, eager)


def _error(mixer: Mixer, setting: Setting, *, frames: int) -> float:
    device = next(mixer.parameters()).device
    generator = torch.Generator().manual_seed(0)
    x, upstream = (
        torch.randn(1, frames, mixer.width, generator=generator).to(device, DTYPES[setting.precision]) for _ in range(2)
    )
    return output_error(mixer, x) if setting.pass_ == "inference" else training_error(mixer, x, upstream)
