"""SA: softmax attention, every frame with every other, in both directions.

Source: Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762, equation 1. Queries, keys and values are
projected without bias, the output with one, as in the efficiency study that this suite follows.

`eager` is what that study measured: both L x L score matrices of every head lie in memory. `sdpa` is the same
function through PyTorch's fused kernels.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixers.base import Mixer, MixerConfig, split_heads


class SoftmaxAttention(Mixer):
    """Bidirectional softmax attention."""

    arxiv = "1706.03762"
    causal = False
    implementations = ("reference", "eager", "sdpa")
    presets = {"matched": MixerConfig(), "released": MixerConfig()}

    def __init__(self, config: MixerConfig, *, implementation: str = "reference") -> None:
        super().__init__(config, implementation=implementation)
        self.num_heads = config.num_heads
        self.q_proj = nn.Linear(config.width, config.width, bias=False)
        self.k_proj = nn.Linear(config.width, config.width, bias=False)
        self.v_proj = nn.Linear(config.width, config.width, bias=False)
        self.o_proj = nn.Linear(config.width, config.width)

    @classmethod
    def measured(cls, config: MixerConfig) -> tuple[str, ...]:  # noqa: ARG003
        return ("eager", "sdpa")

    def equations(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        q, k, v = (split_heads(p(x), self.num_heads) for p in (self.q_proj, self.k_proj, self.v_proj))
        scores = torch.einsum("bihk,bjhk->bhij", q, k) / q.shape[-1] ** 0.5
        o = torch.einsum("bhij,bjhv->bihv", scores.softmax(-1), v)
        return self.o_proj(o.flatten(2).to(x.dtype))  # type: ignore[no-any-return]

    def forward(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B L D"]:
        if self.implementation == "reference":
            return super().forward(x, mask)
        q, k, v = (
            p(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, L, K)
            for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        visible = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, L)
        if self.implementation == "sdpa":
            o = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
        else:
            o = _eager(q, k, v, visible)
        y: Tensor = self.o_proj(o.transpose(1, 2).flatten(2))
        return y if mask is None else y * mask[..., None]

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Two products of L x L x D."""
        return 4 * batch * frames**2 * self.width


def _eager(
    q: Float[Tensor, "B H L K"],
    k: Float[Tensor, "B H L K"],
    v: Float[Tensor, "B H L V"],
    visible: Bool[Tensor, "B 1 1 L"] | None,
) -> Float[Tensor, "B H L V"]:
    """Attend with scores and weights spelled out: two tensors of (B, H, L, L)."""
    scale = q.shape[-1] ** -0.25  # on queries and keys alike, which keeps the products small in half precision
    scores = (q * scale) @ (k * scale).transpose(-1, -2)  # (B, H, L, L)
    if visible is not None:
        scores = scores.masked_fill(~visible, float("-inf"))
    weights: Tensor = scores.softmax(-1)  # (B, H, L, L)
    del scores  # so that two such tensors lie in memory at once, and only here
    if visible is not None:
        weights = weights.nan_to_num()  # a sequence without a real frame
    return weights @ v
