"""PyTorch's FlexAttention, compiled, and masks of blocks for it."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mixers.support import patches

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

OPTIONS = {"BACKEND": "TRITON"}  # otherwise a kernel that compiles for minutes, below 128 frames


def unavailable(_: object, device_type: str) -> str:
    """Return why it is not run on ``cpu`` or ``cuda``, whatever the mixer's sizes; empty if it is."""
    return "" if device_type == "cuda" else "needs a CUDA GPU"


@functools.cache
def attention() -> Callable[..., Tensor]:
    """Return ``flex_attention``, compiled."""
    # imported here, since its compiler takes seconds to import
    from torch.nn.attention.flex_attention import flex_attention

    patches.compile_in_this_process()
    return torch.compile(flex_attention)


@functools.lru_cache(maxsize=16)
def blocks(frames: int, device: torch.device, *, before: int | None = None, after: int = 0) -> "BlockMask":
    """Return which blocks of the L x L scores are computed, cached for each length.

    Args:
        frames: L.
        device: Where the mask lies.
        before: How many frames before itself a frame sees; None for the whole past, and then none after itself.
        after: How many frames after itself a frame sees.
    """
    from torch.nn.attention.flex_attention import create_block_mask

    def window(before: int, after: int) -> Callable[..., Tensor]:
        return lambda b, h, i, j: (i - j <= before) & (j - i <= after)  # noqa: ARG005

    # the past captures no number, for which it would be compiled anew
    seen = (lambda b, h, i, j: i >= j) if before is None else window(before, after)  # noqa: ARG005
    with torch.inference_mode(False):  # tensors made in inference mode cannot be used in training
        return create_block_mask(seen, None, None, frames, frames, device=str(device))
