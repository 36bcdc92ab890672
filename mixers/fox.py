"""FoX: the Forgetting Transformer, causal softmax attention whose scores decay by a forget gate.

Source: Lin et al. 2025, "Forgetting Transformer", arXiv 2503.02130, equations 3 to 6: the sum of the log forget gates
between key and query, a difference of running sums, is added to the scores.

`flex` computes it with PyTorch's FlexAttention. On an H100 its tiles fit at 64, 128 and 256 a head; at 192 they do not
fit in float32. `fla` is flash-linear-attention's kernel. It keeps whole heads in shared memory: at 256 a head, and in
float32 at 128, it does not launch on any current GPU. `triton` is our own kernel. It multiplies float32 in bfloat16
parts, on tensor cores.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixers import kernels
from mixers.base import Implementation, Mixer, MixerConfig, split_heads
from mixers.kernels import fla, flex
from mixers.support.errors import UserError
from mixers.support.forgetting import reach_of_gates
from mixers.support.precision import DTYPES
from mixers.support.reversal import average, mix_both_ways

# Of twice this width, the library's kernel needs 263,168 bytes of shared memory; an H200 has 232,448.
_FLA_WIDEST_HEAD = {torch.bfloat16: 128, torch.float32: 64}


@dataclass(frozen=True, kw_only=True)
class ForgettingConfig(MixerConfig):
    """Sizes of FoX.

    Attributes:
        num_kv_heads: Heads of keys and values, each shared by several heads of queries; None for as many as of queries.
    """

    num_kv_heads: int | None = None

    @property
    def key_heads(self) -> int:
        """The number of heads of keys and values."""
        return self.num_kv_heads or self.num_heads


class _Parameters(nn.Module):
    """The parameters of fla.layers.ForgettingAttention, under its names."""

    def __init__(self, config: ForgettingConfig) -> None:
        super().__init__()
        width, kv_width = config.width, config.key_heads * config.head_width
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, kv_width, bias=False)
        self.v_proj = nn.Linear(width, kv_width, bias=False)
        self.f_proj = nn.Linear(width, config.num_heads)
        self.o_proj = nn.Linear(width, width, bias=False)


def _fla_layer(config: ForgettingConfig) -> nn.Module:
    layer: nn.Module = fla.layers().ForgettingAttention(
        hidden_size=config.width, num_heads=config.num_heads, num_kv_heads=config.num_kv_heads, layer_idx=0
    )
    return layer


def _fla_is_default(config: ForgettingConfig) -> bool:
    """Tell whether it runs in every precision. At 128 a head in bfloat16 it runs, but our kernel is faster."""
    return config.head_width <= min(_FLA_WIDEST_HEAD.values())


def _fla_unavailable(config: ForgettingConfig, device_type: str) -> str:
    fits = config.head_width <= max(_FLA_WIDEST_HEAD.values())
    too_wide = "" if fits else f"too little shared memory at {config.head_width} a head"
    return fla.unavailable(config, device_type) or too_wide


def _triton_unavailable(config: ForgettingConfig, device_type: str) -> str:
    too_wide = "" if config.head_width <= kernels.WIDEST else f"supports no heads of width {config.head_width}"
    return kernels.unavailable(device_type) or too_wide


def _run(
    mixer: "ForgettingAttention", x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None
) -> Float[Tensor, "B L D"]:
    """Run the operator between the projections, one way or both.

    It maps q (B, L, H, K), k and v (B, L, G, K), log forget gates (B, L, H) and a mask (B, L) or None to (B, L, H, K).
    """
    layer = mixer.layer
    q = layer.q_proj(x).unflatten(-1, (mixer.config.num_heads, -1))  # (B, L, H, K)
    k, v = (p(x).unflatten(-1, (mixer.config.key_heads, -1)) for p in (layer.k_proj, layer.v_proj))  # (B, L, G, K)
    log_forget = F.logsigmoid(layer.f_proj(x).float())  # (B, L, H)
    if mask is not None:
        log_forget = log_forget * mask[..., None]
    inputs, operator = [q, k, v, log_forget], partial(mixer.operator, mask=mask)
    del q, k, v, log_forget  # so that each is freed once it is used
    o = operator(*inputs) if mixer.passes == 1 else average(*mix_both_ways(operator, inputs, mask))
    y: Tensor = layer.o_proj(o.flatten(2))
    return y if mask is None else y * mask[..., None]


class ForgettingAttention(Mixer):
    """Softmax attention with a forget gate."""

    arxiv = "2503.02130"
    causal = True
    groups = ("paper", "attention")
    reach = reach_of_gates()
    presets = {"matched": ForgettingConfig(), "released": ForgettingConfig(num_heads=32, num_kv_heads=4)}
    implementations = {
        "reference": Implementation(build=_Parameters),
        "flex": Implementation(
            build=_Parameters,
            operator=lambda: _flex,
            run=_run,
            run_both_ways=_run,
            unavailable=flex.unavailable,
            default=lambda config: not _fla_is_default(config) and bool(_triton_unavailable(config, "cuda")),
        ),
        "fla": Implementation(
            build=_fla_layer,
            operator=lambda: _fla,
            run=fla.run,
            run_both_ways=_run,
            unavailable=_fla_unavailable,
            default=_fla_is_default,
        ),
        "triton": Implementation(
            build=_Parameters,
            operator=lambda: kernels.operator("fox"),
            run=_run,
            run_both_ways=_run,
            unavailable=_triton_unavailable,
            default=lambda config: not _fla_is_default(config) and not _triton_unavailable(config, "cuda"),
        ),
    }
    config: ForgettingConfig
    layer: _Parameters
    operator: Callable[..., Any]

    @classmethod
    def sized(cls, preset: str, *, width: int | None = None, heads: int | None = None) -> MixerConfig:
        config = super().sized(preset, width=width, heads=heads)
        assert isinstance(config, ForgettingConfig)
        if config.num_heads % config.key_heads:
            raise UserError(
                f"--heads {heads}: FoX has {config.key_heads} heads of keys in {preset}, which those of queries share",
                hint=f"Give a multiple of {config.key_heads}.",
            )
        return config

    @classmethod
    def unavailable(
        cls, implementation: str, config: MixerConfig, *, device_type: str, precision: str | None = None
    ) -> str:
        reason = super().unavailable(implementation, config, device_type=device_type, precision=precision)
        if not reason and precision and implementation == "fla":
            fits = config.head_width <= _FLA_WIDEST_HEAD[DTYPES[precision]]
            return "" if fits else f"too little shared memory at {config.head_width} a head in {precision}"
        return reason

    def equations(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        layer, shared = self.layer, self.config.num_heads // self.config.key_heads
        q = split_heads(layer.q_proj(x), self.config.num_heads)  # (B, L, H, K)
        k, v = (
            split_heads(p(x), self.config.key_heads).repeat_interleave(shared, dim=2)
            for p in (layer.k_proj, layer.v_proj)
        )
        kept = F.logsigmoid(layer.f_proj(x).to(q.dtype)).cumsum(1).transpose(1, 2)  # (B, H, L)
        scores = torch.einsum("bihk,bjhk->bhij", q, k) / q.shape[-1] ** 0.5
        scores = scores + kept[..., :, None] - kept[..., None, :]
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        weights = scores.masked_fill(future, float("-inf")).softmax(-1)
        o = torch.einsum("bhij,bjhv->bihv", weights, v)
        return layer.o_proj(o.flatten(2).to(x.dtype))  # type: ignore[no-any-return]

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Those of two products of L x L x D, less the half for the future, which is never computed."""
        return 2 * batch * frames * (frames + 1) * self.width


def _fla(q: Tensor, k: Tensor, v: Tensor, log_forget: Tensor, mask: Tensor | None) -> Tensor:  # noqa: ARG001
    # it is causal, so no real frame sees the padded ones behind it
    o: Tensor = fla.function("ops.forgetting_attn.parallel", "parallel_forgetting_attn")(q, k, v, log_forget)
    return o


def _flex(q: Tensor, k: Tensor, v: Tensor, log_forget: Tensor, mask: Tensor | None) -> Tensor:
    kept_by_query = log_forget.transpose(1, 2).contiguous().cumsum(-1)  # (B, H, L)
    # A copy, since FlexAttention has gradients for only one look-up in a tensor.
    kept_by_key = kept_by_query.clone()
    if mask is not None:
        kept_by_key = kept_by_key.masked_fill(~mask[:, None], float("inf"))  # a score of -inf

    o: Tensor = flex.attention()(
        *(each.transpose(1, 2) for each in (q, k, v)),  # (B, H, L, K)
        score_mod=lambda score, b, h, i, j: score + kept_by_query[b, h, i] - kept_by_key[b, h, j],
        block_mask=flex.blocks(q.shape[1], q.device),
        enable_gqa=k.shape[2] != q.shape[2],
        kernel_options=flex.OPTIONS,
    )
    return o.transpose(1, 2)  # (B, L, H, K)
