"""LightNet's keys and decays as a differentiable operator on our own Triton kernels.

The equations and the letters are in `mixers.kernels.lightnet`.
"""

from typing import Any

import torch
import triton
from jaxtyping import Float
from torch import Tensor

from mixers.kernels.lightnet.backward import additive_decay_backward_kernel, block_gradients_kernel
from mixers.kernels.lightnet.forward import additive_decay_forward_kernel, block_totals_kernel

# Longer blocks take more steps, shorter ones leave more totals to read. At 19,999 frames of 1024 channels on an H200,
# the forward pass was fastest with 128 frames, 64 channels (two to a thread) and 1 warp. The search covered 32 to 256
# frames, 32 to 256 channels and 1 to 4 warps. Below 4,096 frames blocks are shorter, so that enough threads run at once
# to hide each other's waiting.
CHANNELS = 64
_BLOCK, _SHORT_BLOCK = 128, 32
_SHORTEST_FOR_BLOCK = 4096


def additive_decay(logits: Float[Tensor, "B L *S"]) -> tuple[Float[Tensor, "B L *S"], Float[Tensor, "B L *S"]]:
    """Return each frame's key, its share in all frames so far, and the log decay of what came before; differentiable.

    Totals are float32, or float64 for float64 logits. Decays below 2^-25 are returned as 2^-25.

    Args:
        logits: Logits of the keys. A frame with logits of -inf has no share and causes no decay.
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
    """Return memory for the totals of each block, the grid of the kernels, and their size arguments."""
    batch, frames = x.shape[:2]
    width, block = x[0, 0].numel(), _BLOCK if frames >= _SHORTEST_FOR_BLOCK else _SHORT_BLOCK
    blocks = triton.cdiv(frames, block)
    memory = x.new_empty(totals, batch, blocks, width, dtype=torch.promote_types(x.dtype, torch.float32))
    sizes = {"frames": frames, "WIDTH": width, "BLOCK": block, "CHANNELS": CHANNELS, "num_warps": 1}
    return memory, (blocks, triton.cdiv(width, CHANNELS), batch), sizes
