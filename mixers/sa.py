"""SA: softmax attention, every frame with every other, or with those before it.

Source: Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762, equation 1. Queries, keys and values are
projected without bias, the output with one, as in the efficiency study that this suite follows.

`eager` is what that study measured: two L x L matrices of every head lie in memory, scores and weights. `sdpa` computes
the same with PyTorch's fused kernels. With a causal mask these skip the future; `eager` computes it and hides it.

PyTorch chooses a kernel for `sdpa`, which the column ``kernel`` of a record names. `flash` and `cudnn` are two of its
kernels by name. `fa4` is FlashAttention-4.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixers.base import Implementation, Mixer, MixerConfig, split_heads
from mixers.kernels import attention


def _eager(
    q: Float[Tensor, "B H L K"],
    k: Float[Tensor, "B H L K"],
    v: Float[Tensor, "B H L V"],
    visible: Bool[Tensor, "B 1 1 L"] | None,
    *,
    is_causal: bool,
) -> Float[Tensor, "B H L V"]:
    """Attend with two tensors of (B, H, L, L) in memory: scores and weights."""
    scale = q.shape[-1] ** -0.25  # on both queries and keys, which keeps the products small in half precision
    scores = (q * scale) @ (k * scale).transpose(-1, -2)  # (B, H, L, L)
    if visible is not None:
        scores = scores.masked_fill(~visible, float("-inf"))
    if is_causal:
        scores.masked_fill_(_future(scores), float("-inf"))  # in place, since a copy would be a third such tensor
    weights: Tensor = scores.softmax(-1)  # (B, H, L, L)
    del scores  # so that two such tensors are in memory only during the softmax
    if visible is not None:
        weights = weights.nan_to_num()  # a sequence without a real frame
    return weights @ v


def _heads(mixer: "SoftmaxAttention", x: Float[Tensor, "B L D"]) -> Iterator[Float[Tensor, "B H L K"]]:
    """Yield queries, keys and values."""
    for project in (mixer.q_proj, mixer.k_proj, mixer.v_proj):
        yield project(x).unflatten(-1, (mixer.config.num_heads, -1)).transpose(1, 2)


def _run(
    mixer: "SoftmaxAttention", x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None
) -> Float[Tensor, "B L D"]:
    q, k, v = _heads(mixer, x)
    is_causal = mixer.sees == "past"
    # with a causal mask, no real frame sees the padded ones behind it
    visible = None if mask is None or is_causal else mask[:, None, None, :]  # (B, 1, 1, L)
    o = mixer.operator(q, k, v, visible, is_causal=is_causal)
    y: Tensor = mixer.o_proj(o.transpose(1, 2).flatten(2))
    return y if mask is None else y * mask[..., None]


def _of_torch(name: Literal["flash", "cudnn"]) -> Implementation:
    return Implementation(
        operator=partial(attention.of_torch, name),
        run=_run,
        unavailable=lambda config, device_type: attention.of_torch_unavailable(name, config.head_width, device_type),
        precisions=attention.PRECISIONS,
    )


class SoftmaxAttention(Mixer):
    """Softmax attention. It holds its parameters itself, not in a layer, as its checkpoints do."""

    arxiv = "1706.03762"
    causal = False
    can_be_causal = True
    groups: ClassVar[tuple[str, ...]] = ("paper", "attention")
    reach = "the whole clip"
    presets = {"matched": MixerConfig(), "released": MixerConfig()}
    implementations = {
        "reference": Implementation(),
        "eager": Implementation(operator=lambda: _eager, run=_run, default=True),
        "flash": _of_torch("flash"),
        "cudnn": _of_torch("cudnn"),
        "fa4": Implementation(
            operator=attention.flash_4,
            run=_run,
            unavailable=lambda config, device_type: attention.flash_4_unavailable(config.head_width, device_type),
            precisions=attention.PRECISIONS,
        ),
        "sdpa": Implementation(operator=lambda: F.scaled_dot_product_attention, run=_run, default=True),
    }
    operator: Callable[..., Any]

    def __init__(self, config: MixerConfig, *, implementation: str = "reference") -> None:
        super().__init__(config, implementation=implementation)
        self.q_proj = nn.Linear(config.width, config.width, bias=False)
        self.k_proj = nn.Linear(config.width, config.width, bias=False)
        self.v_proj = nn.Linear(config.width, config.width, bias=False)
        self.o_proj = nn.Linear(config.width, config.width)

    def kernel(self, x: Float[Tensor, "B L D"]) -> str:
        if self.operator is not F.scaled_dot_product_attention:
            return ""
        return attention.chosen(*_heads(self, x), is_causal=self.sees == "past")

    def equations(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        q, k, v = (split_heads(p(x), self.config.num_heads) for p in (self.q_proj, self.k_proj, self.v_proj))
        scores = torch.einsum("bihk,bjhk->bhij", q, k) / q.shape[-1] ** 0.5
        if self.sees == "past":
            scores = scores.masked_fill(_future(scores), float("-inf"))
        o = torch.einsum("bhij,bjhv->bihv", scores.softmax(-1), v)
        return self.o_proj(o.flatten(2).to(x.dtype))  # type: ignore[no-any-return]

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Those of two products of L x L x D, less the half for the future where it is hidden."""
        pairs = frames * (frames + 1) // 2 if self.sees == "past" else frames**2
        return 4 * batch * pairs * self.width


def _future(scores: Float[Tensor, "B H L L"]) -> Bool[Tensor, "L L"]:
    """Return which keys come after each query."""
    return torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
