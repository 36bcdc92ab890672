"""flash-linear-attention's layers and operators: how they are imported and run, and where they cannot run."""

import functools
import importlib
import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from mixers.autotuning import use_prepared_configurations
from mixers.support import patches

_WIDEST_KEY = 256  # of a head: where MultiScaleRetention and chunk_kda of version 0.6.0 end


@functools.cache
def layers() -> ModuleType:
    """Import and return ``fla.layers``, with the kernel configurations prepared for this GPU in use.

    It leaves out what no mixer needs, which saves seconds in every process that measures. Its operators call no kernels
    of other packages, and compute gradients wherever these are right.
    """
    with patches.fla_models_hidden(), patches.compiling_deferred():
        module = importlib.import_module("fla.layers")
    patches.dispatch_to_no_other_package()
    patches.gated_gradients_allowed_where_right()
    use_prepared_configurations("fla")
    return module


def function(module: str, name: str) -> Callable[..., Any]:
    """Return a function of the library, for instance ``chunk_kda`` of ``ops.kda``, once `layers` has been called."""
    found: Callable[..., Any] = getattr(importlib.import_module(f"fla.{module}"), name)
    return found


def unavailable(_: object, device_type: str) -> str:
    """Return why the layers cannot run on ``cpu`` or ``cuda``, whatever the mixer's sizes; empty if they can."""
    if importlib.util.find_spec("fla") is None:
        return "flash-linear-attention is not installed"
    return "" if device_type == "cuda" else "needs a CUDA GPU"


def unavailable_for_keys(key_width: int, device_type: str, *, narrowest: int = 1) -> str:
    """Return why a layer whose kernels keep whole keys cannot run with keys of this width; empty if it can."""
    too_wide = f"supports no keys wider than {_WIDEST_KEY}" if key_width > _WIDEST_KEY else ""
    too_narrow = f"supports no keys narrower than {narrowest}" if key_width < narrowest else ""
    return unavailable(None, device_type) or too_wide or too_narrow


def run(mixer: nn.Module, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None) -> Float[Tensor, "B L D"]:
    """Run a mixer whose layer is one of the library's.

    All of them are causal, so no real frame sees the padded ones behind it. Given the mask, the library would wait for
    the GPU to count the real frames, and mix a sequence of these alone.
    """
    y: Tensor = mixer.layer(x)[0]  # type: ignore[operator]
    return y if mask is None else y * mask[..., None]
