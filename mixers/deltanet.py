"""DeltaNet: linear attention with the delta rule, which replaces what the state holds under a key.

Source: Yang et al. 2024, "Parallelizing Linear Transformers with the Delta Rule over Sequence Length", arXiv
2406.06484, section 2.2 and, for the layer around it, section 3.4. Nothing decays: what is held goes only where another
value is written under the same key.

flash-linear-attention has no kernel for it in float32. There `fla` runs the library's kernel for the gated delta rule,
with gates that forget nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mixers.base import Implementation, Mixer, MixerConfig, in_heads, rms_norm, split_heads, with_recurrence
from mixers.kernels import fla
from mixers.support import chunks, patches
from mixers.support.precision import is_full_float32
from mixers.support.recurrences import delta_rule, project_and_convolve, unit_length
from mixers.support.reversal import average, mix_both_ways

# Of fla: in blocks of 16 keys its backward pass reads beyond its memory in bfloat16 (Triton 3.6, H200).
_NARROWEST_KEY = 17


@dataclass(frozen=True, kw_only=True)
class DeltaConfig(MixerConfig):
    """Sizes of DeltaNet.

    Attributes:
        convolution_width: Taps of the causal convolutions on queries, keys and values.
    """

    convolution_width: int = 4


class _Parameters(nn.Module):
    """The parameters of fla.layers.DeltaNet, under its names."""

    def __init__(self, config: DeltaConfig) -> None:
        super().__init__()
        width, taps = config.width, config.convolution_width
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.b_proj = nn.Linear(width, config.num_heads, bias=False)
        self.q_conv1d = nn.Conv1d(width, width, taps, groups=width, bias=False)
        self.k_conv1d = nn.Conv1d(width, width, taps, groups=width, bias=False)
        self.v_conv1d = nn.Conv1d(width, width, taps, groups=width, bias=False)
        self.o_norm = nn.RMSNorm(config.head_width)
        self.o_proj = nn.Linear(width, width, bias=False)


def _fla_layer(config: DeltaConfig) -> nn.Module:
    layer: nn.Module = fla.layers().DeltaNet(
        hidden_size=config.width, num_heads=config.num_heads, conv_size=config.convolution_width, layer_idx=0
    )
    if is_full_float32():
        patches.compute_delta_rules_in_full_float32()
    return layer


def _fla_unavailable(config: DeltaConfig, device_type: str) -> str:
    return fla.unavailable_for_keys(config.head_width, device_type, narrowest=_NARROWEST_KEY)


def _fla(q: Tensor, k: Tensor, v: Tensor, beta: Tensor) -> Tensor:
    o: Tensor
    if q.dtype == torch.float32:
        gated = fla.function("ops.gated_delta_rule", "chunk_gated_delta_rule")
        o = gated(q, k, v, g=torch.zeros_like(beta), beta=beta, use_qk_l2norm_in_kernel=True, state_v_first=True)[0]
    else:
        o = fla.function("ops.delta_rule", "chunk_delta_rule")(q, k, v, beta, use_qk_l2norm_in_kernel=True)[0]
    return o


def _run_fla(mixer: "DeltaNet", x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None) -> Float[Tensor, "B L D"]:
    """Run the library's convolutions and operator between the projections, one way or both."""
    layer: Any = mixer.layer
    num_heads = mixer.config.num_heads

    def mix(q: Tensor, k: Tensor, v: Tensor, beta: Tensor) -> Tensor:
        convolved = (layer.q_conv1d(q)[0], layer.k_conv1d(k)[0], layer.v_conv1d(v)[0])
        o: Tensor = mixer.operator(*(in_heads(each, num_heads) for each in convolved), beta)  # (B, L, H, V)
        return o

    inputs = [layer.q_proj(x), layer.k_proj(x), layer.v_proj(x), layer.b_proj(x).sigmoid()]
    outputs = (mix(*inputs),) if mixer.passes == 1 else mix_both_ways(mix, inputs, mask)
    normed = [layer.o_norm(o) for o in outputs]
    o = normed[0] if mixer.passes == 1 else average(*normed)
    y: Tensor = layer.o_proj(o.flatten(2))
    return y if mask is None else y * mask[..., None]


class DeltaNet(Mixer):
    """DeltaNet with its short convolutions."""

    arxiv = "2406.06484"
    causal = True
    by_default = False
    groups = ("linear",)
    reach = "the past, until its keys are written again"
    presets = {"matched": DeltaConfig(), "released": DeltaConfig()}
    implementations = {
        "reference": Implementation(build=_Parameters),
        "chunked": Implementation(
            build=_Parameters,
            run=with_recurrence(chunks.delta_rule),
            default=lambda config: config.head_width < _NARROWEST_KEY,
        ),
        "fla": Implementation(
            build=_fla_layer,
            operator=lambda: _fla,
            run=_run_fla,
            run_both_ways=_run_fla,
            unavailable=_fla_unavailable,
            default=lambda config: config.head_width >= _NARROWEST_KEY,
        ),
    }
    config: DeltaConfig
    layer: _Parameters
    operator: Callable[..., Any]

    @classmethod
    def state_numbers(cls, config: DeltaConfig) -> int:
        return config.head_width * config.width  # H K V

    def equations(
        self, x: Float[Tensor, "B L D"], *, recurrence: Callable[..., Tensor] = delta_rule
    ) -> Float[Tensor, "B L D"]:
        layer, num_heads = self.layer, self.config.num_heads
        q, k, v = (
            split_heads(each, num_heads)  # (B, L, H, K), V for the values
            for each in project_and_convolve(layer, x)
        )
        q, k = unit_length(q) / q.shape[-1] ** 0.5, unit_length(k)
        beta = layer.b_proj(x).to(q.dtype).sigmoid()[..., None]  # (B, L, H, 1)
        o = recurrence(q, k, v, torch.zeros_like(beta), beta)  # (B, L, H, V)
        o = rms_norm(o, layer.o_norm.weight, eps=1e-5)
        return layer.o_proj(o.flatten(2).to(x.dtype))  # type: ignore[no-any-return]

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Those of the recurrence: read-out by key, outer product and read-out by query, each K x V a head."""
        return 6 * batch * frames * self.state_numbers(self.config)
