"""GSA: gated slot attention, softmax attention over a fixed number of memory slots that forget.

Source: Zhang et al. 2024, "Gated Slot Attention for Efficient Linear-Time Sequence Modeling", arXiv 2409.07146,
section 3. As by default in flash-linear-attention, queries, keys and values pass a swish, the gate's logit is divided
by 8, the scores are not scaled, and there is one slot for each key channel of a head. (The paper's own language models
use 64 slots. `num_slots` sets any other number.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixers.base import Implementation, Mixer, MixerConfig, in_heads, rms_norm, split_heads, with_recurrence
from mixers.kernels import fla
from mixers.support import chunks
from mixers.support.forgetting import reach_of_gates
from mixers.support.recurrences import slots
from mixers.support.reversal import average, mix_both_ways

_GATE_LOGIT_NORMALIZER = 8


@dataclass(frozen=True, kw_only=True)
class GatedSlotConfig(MixerConfig):
    """Sizes of GSA.

    Attributes:
        num_slots: M, the memory slots of a head; None for D / H.
        always_masked: Whether the library's layer is given a mask even where all frames are real, as in the paper's
            code. It then removes padding that is not there, which takes time. A run in both directions has no mask.
    """

    num_slots: int | None = None
    always_masked: bool = False


class _Parameters(nn.Module):
    """The parameters of fla.layers.GatedSlotAttention, under its names."""

    def __init__(self, config: GatedSlotConfig) -> None:
        super().__init__()
        width = config.width
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.f_proj = nn.Linear(width, config.num_heads * (config.num_slots or config.head_width), bias=False)
        self.g_norm = nn.RMSNorm(width)
        self.o_proj = nn.Linear(width, width, bias=False)


def _fla_layer(config: GatedSlotConfig) -> nn.Module:
    layer: nn.Module = fla.layers().GatedSlotAttention(
        hidden_size=config.width,
        num_heads=config.num_heads,
        num_slots=config.num_slots,
        gate_logit_normalizer=_GATE_LOGIT_NORMALIZER,
        layer_idx=0,
    )
    return layer


def _run_fla(
    mixer: "GatedSlotAttention", x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None
) -> Float[Tensor, "B L D"]:
    if not mixer.config.always_masked:
        return fla.run(mixer, x, mask)
    real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
    y: Tensor = mixer.layer(x, attention_mask=real)[0]
    return y


def _run_both_ways(
    mixer: "GatedSlotAttention", x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None
) -> Float[Tensor, "B L D"]:
    """Run the library's operator both ways between the projections, activations and gates of one."""
    layer: Any = mixer.layer
    num_heads = mixer.config.num_heads
    # (B, L, H, K), V for the values
    inputs = [in_heads(F.silu(p(x)), num_heads) for p in (layer.q_proj, layer.k_proj, layer.v_proj)]
    log_keep = in_heads(F.logsigmoid(layer.f_proj(x)) / _GATE_LOGIT_NORMALIZER, num_heads)  # (B, L, H, M)
    inputs += [(1 - log_keep.exp()).to(log_keep.dtype), log_keep]  # autocast computes exp in float32
    del log_keep  # it is freed once it is used
    outputs = mix_both_ways(lambda *inputs: mixer.operator(*inputs, scale=1.0)[0], inputs, mask)
    norm = fla.function("modules.layernorm", "rms_norm")
    o = average(*(norm(F.silu(o.flatten(2)), layer.g_norm.weight, None) for o in outputs))
    y: Tensor = layer.o_proj(o)
    return y if mask is None else y * mask[..., None]


class GatedSlotAttention(Mixer):
    """Gated slot attention."""

    arxiv = "2409.07146"
    causal = True
    groups = ("paper", "linear")
    reach = reach_of_gates(normalizer=_GATE_LOGIT_NORMALIZER)
    presets = {"matched": GatedSlotConfig(), "released": GatedSlotConfig(always_masked=True)}
    implementations = {
        "reference": Implementation(build=_Parameters),
        "chunked": Implementation(build=_Parameters, run=with_recurrence(chunks.slots)),
        "fla": Implementation(
            build=_fla_layer,
            operator=lambda: fla.function("ops.gsa", "chunk_gsa"),
            run=_run_fla,
            run_both_ways=_run_both_ways,
            unavailable=fla.unavailable,
            default=True,
        ),
    }
    config: GatedSlotConfig
    layer: _Parameters
    operator: Callable[..., Any]

    @classmethod
    def state_numbers(cls, config: GatedSlotConfig) -> int:
        return 2 * (config.num_slots or config.head_width) * config.width  # H M K + H M V

    def equations(
        self, x: Float[Tensor, "B L D"], *, recurrence: Callable[..., Tensor] = slots
    ) -> Float[Tensor, "B L D"]:
        layer, num_heads = self.layer, self.config.num_heads
        q, k, v = (
            F.silu(split_heads(p(x), num_heads))  # (B, L, H, K), V for the values
            for p in (layer.q_proj, layer.k_proj, layer.v_proj)
        )
        log_keep = F.logsigmoid(split_heads(layer.f_proj(x), num_heads)) / _GATE_LOGIT_NORMALIZER  # (B, L, H, M)
        o = recurrence(q, k, v, log_keep).flatten(2)  # (B, L, D)
        o = rms_norm(F.silu(o), layer.g_norm.weight, eps=1e-5)
        return layer.o_proj(o.to(x.dtype))  # type: ignore[no-any-return]

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Those of the recurrence: decay, outer product and read-out of two states, M x K and M x V a head."""
        return 5 * batch * frames * self.state_numbers(self.config)
