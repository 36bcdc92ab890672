"""LightNet over a whole clip: each frame reads the state that LightNet's recurrence ends with.

Source: Qin et al. 2024, "You Only Scan Once", arXiv 2405.21022, section 3. For data that have no direction, an additive
recurrence needs one scan, and no second one backward in time: its last state is the mean of all frames, each weighted
by its share in the sum of all exponentials. That is a softmax over time and two matrix products. The parameters are
those of `mixers.lightnet`.
"""

import dataclasses
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mixers.base import in_heads, split_heads, with_recurrence
from mixers.lightnet import LightNet, output_of
from mixers.support import chunks
from mixers.support.recurrences import additive


class LightNetGlobal(LightNet):
    """LightNet attention in which every frame sees the whole clip. In ``causal`` it computes LightNet's equations."""

    causal = False
    can_be_causal = True
    by_default = False
    groups = ("linear",)
    reach = "the whole clip, as a mean with learned weights"

    def equations(
        self, x: Float[Tensor, "B L D"], *, recurrence: Callable[..., Tensor] = additive
    ) -> Float[Tensor, "B L D"]:
        if self.sees == "past":
            return super().equations(x, recurrence=recurrence)
        layer, num_heads = self.layer, self.config.num_heads
        q = F.silu(split_heads(layer.q_proj(x), num_heads))  # (B, L, H, K)
        share = split_heads(layer.k_proj(x), num_heads).softmax(1)  # (B, L, H, K)
        v = split_heads(layer.v_proj(x), num_heads)  # (B, L, H, V)
        state = torch.einsum("blhk,blhv->bhkv", share, v)
        o = torch.einsum("blhk,bhkv->blhv", q, state).flatten(2) / q.shape[-1] ** 0.5  # (B, L, D)
        return output_of(layer, o, x)

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Those of the state and of reading it; in the past alone, those of the recurrence."""
        if self.sees == "past":
            return super().mixing_flops(batch=batch, frames=frames)
        return 4 * batch * frames * self.state_numbers(self.config)


_run_in_the_past = with_recurrence(chunks.additive)


def _run(mixer: LightNetGlobal, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None) -> Float[Tensor, "B L D"]:
    """Compute all sequences of a batch at once, in the precision of the features."""
    if mixer.sees == "past":
        return _run_in_the_past(mixer, x, mask)
    layer, num_heads = mixer.layer, mixer.config.num_heads
    logit = layer.k_proj(x)  # (B, L, H K)
    if mask is not None:
        logit = logit.masked_fill(~mask[..., None], torch.finfo(logit.dtype).min)
    # PyTorch's softmax is fast along the last dimension alone
    share = logit.mT.contiguous().softmax(-1).unflatten(1, (num_heads, -1))  # (B, H, K, L)
    q, v = (in_heads(each, num_heads) for each in (F.silu(layer.q_proj(x)), layer.v_proj(x)))
    state = torch.einsum("bhkl,blhv->bhkv", share, v)
    o = torch.einsum("blhk,bhkv->blhv", q, state / q.shape[-1] ** 0.5).flatten(2)  # (B, L, D)
    o = F.rms_norm(o, o.shape[-1:], layer.g_norm.weight, eps=1e-6) * F.silu(layer.g_proj(x))
    y: Tensor = layer.o_proj(o)
    return y if mask is None else y * mask[..., None]


_REFERENCE, _TRITON = (LightNet.implementations[name] for name in ("reference", "triton"))


def _run_kernels(
    mixer: LightNetGlobal, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None
) -> Float[Tensor, "B L D"]:
    """Run LightNet's kernels in the past; a whole clip needs none."""
    return (_TRITON.run if mixer.sees == "past" else _run)(mixer, x, mask)


LightNetGlobal.implementations = {
    "reference": _REFERENCE,
    "eager": dataclasses.replace(_REFERENCE, run=_run, default=lambda config: not _TRITON.is_default(config)),
    "triton": dataclasses.replace(_TRITON, run=_run_kernels, run_both_ways=None),
}
