"""LightNet: linear attention with an additive recurrence, the state being a running softmax-weighted mean.

Source: Qin et al. 2024, "You Only Scan Once", arXiv 2405.21022, section 3: the key of a frame is its share in the sum
of all exponentials so far, and what came before is scaled down by the same sum.

`fla` is flash-linear-attention's layer. `triton` is that layer with keys and decays from our own kernel. Our kernel
works on all of time at once; the library's steps from the first frame to the last.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixers import kernels
from mixers.base import Implementation, Mixer, MixerConfig, in_heads, rms_norm, split_heads, with_recurrence
from mixers.kernels import fla
from mixers.support import chunks
from mixers.support.recurrences import additive
from mixers.support.reversal import average, mix_both_ways


@dataclass(frozen=True, kw_only=True)
class LightNetConfig(MixerConfig):
    """Sizes of LightNet.

    Attributes:
        key_width: K, the key width of a head; None for that of its values, D / H.
        gate_rank: Inner width of the low-rank output gate.
    """

    key_width: int | None = None
    gate_rank: int = 128


class _Parameters(nn.Module):
    """The parameters of fla.layers.LightNetAttention, under its names."""

    def __init__(self, config: LightNetConfig) -> None:
        super().__init__()
        width = config.width
        all_keys = config.num_heads * (config.key_width or config.head_width)
        self.q_proj = nn.Linear(width, all_keys, bias=False)
        self.k_proj = nn.Linear(width, all_keys, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.g_proj = nn.Sequential(
            nn.Linear(width, config.gate_rank, bias=False), nn.Linear(config.gate_rank, width, bias=False)
        )
        self.g_norm = nn.RMSNorm(width)
        self.o_proj = nn.Linear(width, width, bias=False)


_RELEASED = LightNetConfig(key_width=128)


def _fla_layer(config: LightNetConfig) -> nn.Module:
    layer: nn.Module = fla.layers().LightNetAttention(
        hidden_size=config.width,
        num_heads=config.num_heads,
        expand_ratio=config.key_width or config.head_width,
        gate_low_rank_dim=config.gate_rank,
        layer_idx=0,
    )
    return layer


def _triton_unavailable(config: LightNetConfig, device_type: str) -> str:
    return fla.unavailable(config, device_type) or kernels.unavailable(device_type)


def _prefers_triton(config: LightNetConfig) -> bool:
    """Tell whether our kernel is the default: wherever it can run, except at the sizes of the paper's own code."""
    is_released = config == dataclasses.replace(_RELEASED, width=config.width)
    return not is_released and not _triton_unavailable(config, "cuda")


def _run_triton(
    mixer: "LightNet", x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None
) -> Float[Tensor, "B L D"]:
    layer = mixer.layer
    q = F.silu(layer.q_proj(x))
    q, logit, v = (  # (B, L, H, K), (B, L, H, K), (B, L, H, V)
        each.unflatten(-1, (mixer.config.num_heads, -1)) for each in (q, layer.k_proj(x), layer.v_proj(x))
    )
    if mask is not None:
        logit = logit.masked_fill(~mask[..., None, None], float("-inf"))
    key, log_decay = mixer.operator(logit)
    o, _ = fla.function("ops.gla", "chunk_gla")(q, key, v, log_decay, state_v_first=True)
    norm_gate_project = fla.function("modules.fused_norm_gate", "rms_norm_swish_gate_linear")
    y: Tensor = norm_gate_project(o.flatten(2), layer.g_proj(x), layer.g_norm.weight, None, layer.o_proj.weight, None)
    return y if mask is None else y * mask[..., None]


def _run_both_ways(
    mixer: "LightNet", x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None
) -> Float[Tensor, "B L D"]:
    """Run the library's operator both ways between the projections of one, with keys and decays of either kernel."""
    layer: Any = mixer.layer
    num_heads = mixer.config.num_heads
    attend = fla.function("ops.gla", "chunk_gla")

    def mix(q: Tensor, logit: Tensor, v: Tensor) -> Tensor:
        key, log_decay = mixer.operator(logit)[:2]
        o: Tensor = attend(q, key, v, log_decay, state_v_first=True)[0]
        return o

    # (B, L, H, K), V for the values
    inputs = [in_heads(each, num_heads) for each in (F.silu(layer.q_proj(x)), layer.k_proj(x), layer.v_proj(x))]
    outputs = mix_both_ways(mix, inputs, mask)
    norm_gate = fla.function("modules.fused_norm_gate", "rms_norm_gated")
    gate = layer.g_proj(x)  # (B, L, D)
    o = average(*(norm_gate(o.flatten(2), gate, layer.g_norm.weight, None, eps=1e-6) for o in outputs))
    y: Tensor = layer.o_proj(o)
    return y if mask is None else y * mask[..., None]


def output_of(layer: Any, o: Float[Tensor, "B L D"], x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
    """Return what a layer, ours or the library's, makes of its mixed frames: norm, output gate, output projection."""
    # flash-linear-attention's fused norm uses this epsilon, whatever the layer's own is
    o = rms_norm(o, layer.g_norm.weight, eps=1e-6) * F.silu(layer.g_proj(x))
    y: Tensor = layer.o_proj(o.to(x.dtype))
    return y


class LightNet(Mixer):
    """LightNet attention with a low-rank output gate."""

    arxiv = "2405.21022"
    causal = True
    groups: ClassVar[tuple[str, ...]] = ("paper", "linear")
    reach = "the whole past, as a mean with learned weights"
    presets = {"matched": LightNetConfig(), "released": _RELEASED}
    implementations = {
        "reference": Implementation(build=_Parameters),
        "chunked": Implementation(build=_Parameters, run=with_recurrence(chunks.additive)),
        "fla": Implementation(
            build=_fla_layer,
            operator=lambda: fla.function("ops.gsa.gate", "fused_additive_gate"),
            run=fla.run,
            run_both_ways=_run_both_ways,
            unavailable=fla.unavailable,
            default=lambda config: not _prefers_triton(config),
        ),
        "triton": Implementation(
            build=_fla_layer,
            operator=lambda: kernels.operator("lightnet"),
            run=_run_triton,
            run_both_ways=_run_both_ways,
            unavailable=_triton_unavailable,
            default=_prefers_triton,
        ),
    }
    config: LightNetConfig
    layer: _Parameters
    operator: Callable[..., Any]

    @classmethod
    def state_numbers(cls, config: LightNetConfig) -> int:
        return (config.key_width or config.head_width) * config.width  # H K V

    def equations(
        self, x: Float[Tensor, "B L D"], *, recurrence: Callable[..., Tensor] = additive
    ) -> Float[Tensor, "B L D"]:
        layer, num_heads = self.layer, self.config.num_heads
        q = F.silu(split_heads(layer.q_proj(x), num_heads))  # (B, L, H, K)
        logit = split_heads(layer.k_proj(x), num_heads)  # (B, L, H, K)
        v = split_heads(layer.v_proj(x), num_heads)  # (B, L, H, V)
        total = logit.logcumsumexp(1)  # (B, L, H, K)
        key = (logit - total).exp()
        log_keep = torch.cat((total[:, :1], total[:, :-1]), dim=1) - total  # (B, L, H, K); the first keeps nothing
        o = recurrence(q, key, v, log_keep).flatten(2) / q.shape[-1] ** 0.5  # (B, L, D)
        return output_of(layer, o, x)

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Those of the recurrence: decay, outer product and read-out of a state of K x V a head."""
        return 5 * batch * frames * self.state_numbers(self.config)
