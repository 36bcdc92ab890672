"""GLA: gated linear attention, whose memory decays by a learned gate for each key channel.

Source: Yang et al. 2023, "Gated Linear Attention Transformers with Hardware-Efficient Training", arXiv 2312.06635,
section 4.2 for the recurrence and 4.4 for the layer. Keys are half as wide as values. The forget gate is of low rank,
and its logarithm is divided by 16.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixers.base import Implementation, Mixer, MixerConfig, in_heads, rms_norm, split_heads, with_recurrence
from mixers.kernels import fla
from mixers.support import chunks
from mixers.support.forgetting import reach_of_gates
from mixers.support.recurrences import additive
from mixers.support.reversal import average, mix_both_ways

_GATE_LOGIT_NORMALIZER = 16


@dataclass(frozen=True, kw_only=True)
class GatedLinearConfig(MixerConfig):
    """Sizes of GLA.

    Attributes:
        gate_rank: Inner width of the low-rank forget gate.
    """

    gate_rank: int = 16

    @property
    def key_width(self) -> int:
        """K: half the width of a head's values."""
        return self.head_width // 2


class _Parameters(nn.Module):
    """The parameters of fla.layers.GatedLinearAttention, under its names."""

    def __init__(self, config: GatedLinearConfig) -> None:
        super().__init__()
        width, all_keys = config.width, config.num_heads * config.key_width
        self.q_proj = nn.Linear(width, all_keys, bias=False)
        self.k_proj = nn.Linear(width, all_keys, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.g_proj = nn.Linear(width, width, bias=False)
        self.gk_proj = nn.Sequential(
            nn.Linear(width, config.gate_rank, bias=False), nn.Linear(config.gate_rank, all_keys)
        )
        self.o_proj = nn.Linear(width, width, bias=False)
        self.g_norm_swish_gate = nn.RMSNorm(config.head_width)


def _fla_layer(config: GatedLinearConfig) -> nn.Module:
    layer: nn.Module = fla.layers().GatedLinearAttention(
        hidden_size=config.width,
        num_heads=config.num_heads,
        expand_k=0.5,
        gate_low_rank_dim=config.gate_rank,
        gate_logit_normalizer=_GATE_LOGIT_NORMALIZER,
        layer_idx=0,
    )
    return layer


def _run_both_ways(
    mixer: "GatedLinearAttention", x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None
) -> Float[Tensor, "B L D"]:
    """Run the library's operator both ways between the projections and gates of one."""
    layer: Any = mixer.layer
    num_heads = mixer.config.num_heads
    # (B, L, H, K), V for the values
    inputs = [in_heads(p(x), num_heads) for p in (layer.q_proj, layer.k_proj, layer.v_proj)]
    inputs.append(in_heads(F.logsigmoid(layer.gk_proj(x)) / _GATE_LOGIT_NORMALIZER, num_heads))  # (B, L, H, K)
    outputs = mix_both_ways(lambda *inputs: mixer.operator(*inputs, state_v_first=True)[0], inputs, mask)
    gate = in_heads(layer.g_proj(x), num_heads)  # (B, L, H, V)
    o = average(*(layer.g_norm_swish_gate(o, gate) for o in outputs))
    y: Tensor = layer.o_proj(o.flatten(2))
    return y if mask is None else y * mask[..., None]


class GatedLinearAttention(Mixer):
    """Gated linear attention with its output gate."""

    arxiv = "2312.06635"
    causal = True
    by_default = False
    groups = ("linear",)
    reach = reach_of_gates(normalizer=_GATE_LOGIT_NORMALIZER)
    presets = {"matched": GatedLinearConfig(), "released": GatedLinearConfig()}
    implementations = {
        "reference": Implementation(build=_Parameters),
        "chunked": Implementation(build=_Parameters, run=with_recurrence(chunks.additive)),
        "fla": Implementation(
            build=_fla_layer,
            operator=lambda: fla.function("ops.gla", "chunk_gla"),
            run=fla.run,
            run_both_ways=_run_both_ways,
            unavailable=fla.unavailable,
            default=True,
        ),
    }
    config: GatedLinearConfig
    layer: _Parameters
    operator: Callable[..., Any]

    @classmethod
    def state_numbers(cls, config: GatedLinearConfig) -> int:
        return config.key_width * config.width  # H K V

    def equations(
        self, x: Float[Tensor, "B L D"], *, recurrence: Callable[..., Tensor] = additive
    ) -> Float[Tensor, "B L D"]:
        layer, num_heads = self.layer, self.config.num_heads
        q, k, v = (
            split_heads(p(x), num_heads)  # (B, L, H, K), V for the values
            for p in (layer.q_proj, layer.k_proj, layer.v_proj)
        )
        log_keep = F.logsigmoid(split_heads(layer.gk_proj(x), num_heads)) / _GATE_LOGIT_NORMALIZER  # (B, L, H, K)
        o = recurrence(q / q.shape[-1] ** 0.5, k, v, log_keep)  # (B, L, H, V)
        o = rms_norm(o, layer.g_norm_swish_gate.weight, eps=1e-5) * F.silu(split_heads(layer.g_proj(x), num_heads))
        return layer.o_proj(o.flatten(2).to(x.dtype))  # type: ignore[no-any-return]

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Those of the recurrence: decay, outer product and read-out of a state of K x V a head."""
        return 5 * batch * frames * self.state_numbers(self.config)
