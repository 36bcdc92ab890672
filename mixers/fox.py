"""FoX: the Forgetting Transformer, causal softmax attention whose scores decay with what a forget gate let go.

Source: Lin et al. 2025, "Forgetting Transformer", arXiv 2503.02130, equations 3 to 6: the scores get the sum of the
log forget gates between key and query, which is a difference of running sums.

`flex` computes it with PyTorch's FlexAttention, whose tiles fit on an H100 at 64, 128 and 256 a head; at 192 not in
float32. `fla` is flash-linear-attention's
kernel, which keeps whole heads in shared memory: at 256 a head it does not launch on any GPU of today. `triton` is our
own; float32 it multiplies in parts of bfloat16, on tensor cores.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixers import kernels
from mixers.autotuning.fla import fla_layers
from mixers.base import Mixer, MixerConfig, split_heads

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

# On an H200, which has 232,448 bytes of shared memory, the kernel needs 263,168 at 256 a head in bfloat16.
_FLA_WIDEST_HEAD = 128


@dataclass(frozen=True, kw_only=True)
class ForgettingConfig(MixerConfig):
    """Sizes of FoX.

    Attributes:
        num_kv_heads: Heads of keys and values, each shared by several of the queries; None for one each.
    """

    num_kv_heads: int | None = None


class _Parameters(nn.Module):
    """The parameters of fla.layers.ForgettingAttention, under its names."""

    def __init__(self, config: ForgettingConfig) -> None:
        super().__init__()
        width = config.width
        kv_width = (config.num_kv_heads or config.num_heads) * config.head_width
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, kv_width, bias=False)
        self.v_proj = nn.Linear(width, kv_width, bias=False)
        self.f_proj = nn.Linear(width, config.num_heads)
        self.o_proj = nn.Linear(width, width, bias=False)


class ForgettingAttention(Mixer):
    """Softmax attention with a forget gate."""

    arxiv = "2503.02130"
    causal = True
    implementations = ("reference", "flex", "fla", "triton")
    presets = {"matched": ForgettingConfig(), "released": ForgettingConfig(num_heads=32, num_kv_heads=4)}

    def __init__(self, config: ForgettingConfig, *, implementation: str = "reference") -> None:
        super().__init__(config, implementation=implementation)
        self.config = config
        self.num_kv_heads = config.num_kv_heads or config.num_heads
        self.layer: _Parameters = (
            fla_layers().ForgettingAttention(
                hidden_size=config.width, num_heads=config.num_heads, num_kv_heads=config.num_kv_heads, layer_idx=0
            )
            if implementation == "fla"
            else _Parameters(config)
        )
        if implementation in ("flex", "triton"):
            self._attend = attention(implementation)

    @classmethod
    def measured(cls, config: MixerConfig) -> tuple[str, ...]:
        if config.head_width <= _FLA_WIDEST_HEAD:
            return ("fla",)
        return ("flex",) if cls.unavailable("triton", config, device_type="cuda") else ("triton",)

    @classmethod
    def unavailable(cls, implementation: str, config: MixerConfig, *, device_type: str) -> str:
        if implementation == "fla" and config.head_width > _FLA_WIDEST_HEAD:
            return f"too little shared memory at {config.head_width} a head"
        if implementation == "flex" and device_type != "cuda":
            return "needs a CUDA GPU"
        if implementation == "triton":
            return kernels.unavailable(device_type) or (
                "" if config.head_width <= kernels.WIDEST else f"knows no heads of width {config.head_width}"
            )
        return super().unavailable(implementation, config, device_type=device_type)

    def equations(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        layer = self.layer
        q = split_heads(layer.q_proj(x), self.config.num_heads)  # (B, L, H, K)
        k, v = (
            split_heads(p(x), self.num_kv_heads).repeat_interleave(self.config.num_heads // self.num_kv_heads, dim=2)
            for p in (layer.k_proj, layer.v_proj)
        )
        kept = F.logsigmoid(layer.f_proj(x).to(q.dtype)).cumsum(1).transpose(1, 2)  # (B, H, L)
        scores = torch.einsum("bihk,bjhk->bhij", q, k) / q.shape[-1] ** 0.5
        scores = scores + kept[..., :, None] - kept[..., None, :]
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        weights = scores.masked_fill(future, float("-inf")).softmax(-1)
        o = torch.einsum("bhij,bjhv->bihv", weights, v)
        return layer.o_proj(o.flatten(2).to(x.dtype))  # type: ignore[no-any-return]

    def forward(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B L D"]:
        if self.implementation not in ("flex", "triton"):
            return super().forward(x, mask)
        layer = self.layer
        q = layer.q_proj(x).unflatten(-1, (self.config.num_heads, -1))  # (B, L, H, K)
        k, v = (p(x).unflatten(-1, (self.num_kv_heads, -1)) for p in (layer.k_proj, layer.v_proj))  # (B, L, Hkv, K)
        log_forget = F.logsigmoid(layer.f_proj(x).float())  # (B, L, H)
        if mask is not None:
            log_forget = log_forget * mask[..., None]
        y: Tensor = layer.o_proj(self._attend(q, k, v, log_forget, mask).flatten(2))
        return y if mask is None else y * mask[..., None]

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Two products of L x L x D, of which the half that the future takes is never computed."""
        return 2 * batch * frames * (frames + 1) * self.width


def attention(implementation: str) -> Callable[..., Tensor]:
    """Return what ``flex`` or ``triton`` puts between the layer's projections.

    It maps q (B, L, H, K), k and v (B, L, G, K), log forget gates (B, L, H) and a mask (B, L) or None to (B, L, H, K).
    """
    return _flex if implementation == "flex" else kernels.operator("fox")


def _flex(q: Tensor, k: Tensor, v: Tensor, log_forget: Tensor, mask: Tensor | None) -> Tensor:
    kept_by_query = log_forget.transpose(1, 2).contiguous().cumsum(-1)  # (B, H, L)
    # Two tensors even if they are equal: FlexAttention has gradients for one look-up in a tensor only.
    kept_by_key = kept_by_query.clone()
    if mask is not None:
        kept_by_key = kept_by_key.masked_fill(~mask[:, None], float("inf"))  # a score of -inf

    o = _compiled_flex_attention()(
        *(each.transpose(1, 2) for each in (q, k, v)),  # (B, H, L, K)
        score_mod=lambda score, b, h, i, j: score + kept_by_query[b, h, i] - kept_by_key[b, h, j],
        block_mask=_causal_blocks(q.shape[1], q.device),
        enable_gqa=k.shape[2] != q.shape[2],
        kernel_options={"BACKEND": "TRITON"},  # else below 128 frames another kernel, which compiles for minutes
    )
    return o.transpose(1, 2)  # (B, L, H, K)


@functools.cache
def _compiled_flex_attention() -> Callable[..., Tensor]:
    # Its compiler takes seconds to import, which whoever measures something else need not wait for.
    import torch._inductor.config
    from torch.nn.attention.flex_attention import flex_attention

    # It is one kernel. PyTorch would start a compiling process for every core, which the next cases would feel.
    torch._inductor.config.compile_threads = 1
    return torch.compile(flex_attention)


@functools.lru_cache(maxsize=16)
def _causal_blocks(frames: int, device: torch.device) -> "BlockMask":
    """Return which blocks of the L x L scores the past reaches; kept for each length, as its users keep it."""
    from torch.nn.attention.flex_attention import create_block_mask

    with torch.inference_mode(False):  # what is made in inference mode could not serve a training step later
        return create_block_mask(lambda b, h, i, j: i >= j, None, None, frames, frames, device=str(device))  # noqa: ARG005
