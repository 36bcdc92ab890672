"""Equations that know no padding, computed on padded sequences."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def on_real_frames(
    equations: Callable[[Tensor], Tensor],
    x: Float[Tensor, "B L D"],
    mask: Bool[Tensor, "B L"] | None,
    *,
    causal: bool,
) -> Float[Tensor, "B L D"]:
    """Return what equations give for the real frames of each sequence alone, and zeros for padded frames.

    Args:
        equations: From features to features of the same shape, without padding.
        x: Features.
        mask: True on real frames; None if all are real.
        causal: Whether a frame sees only itself and those before it. Then all sequences are computed at once, each with
            its padded frames behind the real ones.
    """
    if mask is None:
        return equations(x)
    out = torch.zeros_like(x)
    if causal:
        padded = ~mask[..., None]  # (B, L, 1)
        order = padded.to(torch.uint8).argsort(dim=1, stable=True).expand_as(x)
        y = equations(x.masked_fill(padded, 0).gather(1, order))
        # autocast may have lowered the precision of the result
        return out.scatter(1, order, y.to(x.dtype)).masked_fill(padded, 0)
    for row, real in enumerate(mask):
        if real.any():
            out[row, real] = equations(x[row : row + 1, real])[0].to(x.dtype)
    return out
