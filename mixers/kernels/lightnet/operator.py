"""LightNet's keys and decays as a differentiable operator on our own Triton kernels.

The mathematics, and what the letters mean, is in `mixers.kernels.lightnet.kernels`.
"""

from typing import Any

import torch
import triton
from jaxtyping import Float
from torch import Tensor

from mixers.kernels.lightnet.kernels import (
    CHANNELS,
    additive_decay_backward_kernel,
    additive_decay_forward_kernel,
    block_gradients_kernel,
    block_totals_kernel,
)


def additive_decay(logits: Float[Tensor, "B L *S"]) -> tuple[Float[Tensor, "B L *S"], Float[Tensor, "B L *S"]]:
    """Return each frame's key, its share in all frames so far, and the log decay of what came before; differentiable.

    Totals are kept in float32, or in float64 of such logits. Decays below 2^-25 come out as that.

    Args:
        logits: Of the keys; a frame with logits of -inf has no share, and lets nothing decay.
    """
    key, log_decay = _decay(logits.contiguous())
    return key, log_decay


@torch.library.custom_op("sbench::additive_decay", mutates_args=())
def _decay(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return keys and log decays."""
    key, log_decay = _shapes_of_decay(x)
    (totals,), grid, sizes = _blocks(x, totals=1)
    block_totals_kernel[grid](x, totals, **sizes)
    additive_decay_forward_kernel[grid](x, totals, key, log_decay, **sizes)
    return key, log_decay


@_decay.register_fake
def _shapes_of_decay(x: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x)


@torch.library.custom_op("sbench::additive_decay_backward", mutates_args=())
def _decay_backward(key: Tensor, dkey: Tensor, dlog_decay: Tensor) -> Tensor:
    """Return the gradient of the logits."""
    inputs, dx = (key, dkey.contiguous(), dlog_decay.contiguous()), torch.empty_like(key)
    (given, passed), grid, sizes = _blocks(key, totals=2)
    block_gradients_kernel[grid](*inputs, given, passed, **sizes)
    additive_decay_backward_kernel[grid](*inputs, given, passed, dx, **sizes)
    return dx


@_decay_backward.register_fake
def _shape_of_backward(key: Tensor, *_: Tensor) -> Tensor:
    return torch.empty_like(key)


def _keep(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[0])


def _differentiate(context: Any, dkey: Tensor, dlog_decay: Tensor) -> Tensor:
    (key,) = context.saved_tensors
    dx: Tensor = _decay_backward(key, dkey, dlog_decay)
    return dx


_decay.register_autograd(_differentiate, setup_context=_keep)


def _blocks(x: Tensor, *, totals: int) -> tuple[Tensor, tuple[int, int, int], dict[str, int]]:
    """Return room for totals of each block, the kernels' grid, and the sizes that they take."""
    batch, frames = x.shape[:2]
    width, block = x[0, 0].numel(), 128 if frames >= 4096 else 32
    blocks = triton.cdiv(frames, block)
    room = x.new_empty(totals, batch, blocks, width, dtype=torch.promote_types(x.dtype, torch.float32))
    sizes = {"frames": frames, "WIDTH": width, "BLOCK": block, "CHANNELS": CHANNELS, "num_warps": 1}
    return room, (blocks, triton.cdiv(width, CHANNELS), batch), sizes


operator = additive_decay
