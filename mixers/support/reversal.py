"""Sequences in reverse order of time, the real frames first as before."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

_WIDE = torch.int64  # 8 bytes: a thread of a GPU that copies 2 at a time leaves most of the memory's bandwidth unused


def reversal(mask: Bool[Tensor, "B L"] | None) -> Callable[[Tensor], Tensor]:
    """Return a function that reverses the real frames of a tensor (B, L, ...), with padded ones left in their places.

    The function copies, is differentiable, keeps nothing of the frames for the backward pass, and undoes itself.

    Args:
        mask: True on real frames, (B, L), which come before the padded ones; None if all are real.
    """
    if mask is None:
        return lambda x: _Reverse.apply(x, None)  # type: ignore[no-untyped-call]
    frame = torch.arange(mask.shape[1], device=mask.device)
    order = torch.where(mask, mask.sum(1, keepdim=True) - 1 - frame, frame)  # (B, L)
    return lambda x: _Reverse.apply(x, order)  # type: ignore[no-untyped-call]


class _Reverse(torch.autograd.Function):
    """Reversal in time. Its gradient is reversed likewise, which is faster than the gradient of an indexed copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Int[Tensor, "B L"] | None) -> Tensor:
        ctx.save_for_backward(order)
        wide = _wide(x)
        if order is None:
            return wide.flip(1).view(x.dtype)
        sequence = torch.arange(x.shape[0], device=x.device)[:, None]
        return wide[sequence, order].view(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (order,) = ctx.saved_tensors
        return _Reverse.apply(gradients[0], order), None  # type: ignore[no-untyped-call]


def _wide(x: Tensor) -> Tensor:
    """View the last axis in wider numbers where it can be divided into them. The compiler needs no such help."""
    if torch.compiler.is_compiling():
        return x
    ratio = _WIDE.itemsize // x.element_size()
    divisible = all(number % ratio == 0 for number in (x.shape[-1], x.storage_offset(), *x.stride()[:-1]))
    return x.view(_WIDE) if divisible and x.stride(-1) == 1 else x
