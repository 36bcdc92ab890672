"""Mixing in both directions of time, and sequences in reverse order, the real frames first as before."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

_WIDE = torch.int64  # 8 bytes, so that a thread of a GPU copies more than one element of bfloat16 at a time


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


def mix_both_ways(
    mix: Callable[..., Tensor], inputs: list[Tensor], mask: Bool[Tensor, "B L"] | None
) -> tuple[Tensor, Tensor]:
    """Mix forward in time, then backward, and return what came out of each in the order of time, (B, L, ...).

    Args:
        mix: Mixes the frames of the inputs, causally.
        inputs: Tensors (B, L, ...). They are taken out of the list, so that their memory is free once they are used.
        mask: True on real frames, which come first.
    """
    reverse = reversal(mask)
    forward = mix(*inputs)
    for at, each in enumerate(inputs):
        inputs[at] = reverse(each)
    del each
    backward = mix(*inputs)
    inputs.clear()
    return forward, reverse(backward)


def average(forward: Tensor, backward: Tensor) -> Tensor:
    """Return the mean of two tensors, in one pass over them."""
    return torch.lerp(forward, backward, 0.5)


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
