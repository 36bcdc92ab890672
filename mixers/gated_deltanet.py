"""Gated DeltaNet: the delta rule with one forget gate for each head.

Source: Yang et al. 2024, "Gated Delta Networks: Improving Mamba2 with Delta Rule", arXiv 2412.06464, equation 10 and
section 3.4. The state first decays by the gate, which is that of Mamba-2. Then beta of what it holds under the frame's
key is replaced by the frame's value.

`fla` is flash-linear-attention's layer. `flashqla` is the same layer around FlashQLA's kernel, where keys have width
128.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixers.base import Implementation, Mixer, MixerConfig, rms_norm, split_heads, with_recurrence
from mixers.kernels import delta_rules, fla
from mixers.support import chunks, patches
from mixers.support.forgetting import learned_reach
from mixers.support.precision import is_full_float32
from mixers.support.recurrences import delta_rule, project_and_convolve, unit_length

_RATES, _STEPS = (0.0, 16.0), (0.001, 0.1)  # the ranges of exp(A_log) and of the step in a new layer
_SLOW_RATE = 0.05 * _RATES[1]  # one rate in twenty is below it


@dataclass(frozen=True, kw_only=True)
class GatedDeltaConfig(MixerConfig):
    """Sizes of Gated DeltaNet.

    Attributes:
        key_width: K and V, the key and value width of a head; None for D / H.
        convolution_width: Taps of the causal convolutions on queries, keys and values.
    """

    key_width: int | None = None
    convolution_width: int = 4


class _Parameters(nn.Module):
    """The parameters of fla.layers.GatedDeltaNet, under its names and with its initialisation."""

    def __init__(self, config: GatedDeltaConfig) -> None:
        super().__init__()
        width, num_heads, taps = config.width, config.num_heads, config.convolution_width
        head = config.key_width or config.head_width
        inner = num_heads * head
        self.q_proj = nn.Linear(width, inner, bias=False)
        self.k_proj = nn.Linear(width, inner, bias=False)
        self.v_proj = nn.Linear(width, inner, bias=False)
        self.a_proj = nn.Linear(width, num_heads, bias=False)
        self.b_proj = nn.Linear(width, num_heads, bias=False)
        self.A_log = nn.Parameter(torch.empty(num_heads).uniform_(*_RATES).log())
        step = torch.empty(num_heads).uniform_(*map(math.log, _STEPS)).exp()
        self.dt_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))  # its softplus is the step
        self.q_conv1d = nn.Conv1d(inner, inner, taps, groups=inner, bias=False)
        self.k_conv1d = nn.Conv1d(inner, inner, taps, groups=inner, bias=False)
        self.v_conv1d = nn.Conv1d(inner, inner, taps, groups=inner, bias=False)
        self.g_proj = nn.Linear(width, inner, bias=False)
        self.o_norm = nn.RMSNorm(head)
        self.o_proj = nn.Linear(inner, width, bias=False)


def _fla_layer(config: GatedDeltaConfig) -> nn.Module:
    layer: nn.Module = fla.layers().GatedDeltaNet(
        hidden_size=config.width,
        num_heads=config.num_heads,
        head_dim=config.key_width or config.head_width,
        expand_v=1,
        conv_size=config.convolution_width,
        layer_idx=0,
    )
    if is_full_float32():
        patches.compute_delta_rules_in_full_float32()
    return layer


def _fla_unavailable(config: GatedDeltaConfig, device_type: str) -> str:
    return fla.unavailable_for_keys(config.key_width or config.head_width, device_type)


def _flashqla_unavailable(config: GatedDeltaConfig, device_type: str) -> str:
    return delta_rules.gated_unavailable(config.key_width or config.head_width, device_type)


def _load_fla() -> Callable[..., Any]:
    return partial(
        fla.function("ops.gated_delta_rule", "chunk_gated_delta_rule"),
        use_qk_l2norm_in_kernel=True,
        use_gate_in_kernel=True,
        use_beta_sigmoid_in_kernel=True,
        state_v_first=True,
    )


_run_operator = partial(delta_rules.run, gate="a_proj", by_channel=False)


class GatedDeltaNet(Mixer):
    """Gated DeltaNet with its short convolutions and output gate."""

    arxiv = "2412.06464"
    causal = True
    by_default = False
    groups = ("linear",)
    reach = learned_reach(least_kept=-_RATES[1] * _STEPS[1], most_kept=-_SLOW_RATE * _STEPS[0])
    presets = {"matched": GatedDeltaConfig(), "released": GatedDeltaConfig(key_width=128)}
    implementations = {
        "reference": Implementation(build=_Parameters),
        "chunked": Implementation(build=_Parameters, run=with_recurrence(chunks.delta_rule)),
        "flashqla": Implementation(
            build=_fla_layer,
            operator=delta_rules.gated,
            run=_run_operator,
            run_both_ways=_run_operator,
            unavailable=_flashqla_unavailable,
            precisions=delta_rules.PRECISIONS,
        ),
        "fla": Implementation(
            build=_fla_layer,
            operator=_load_fla,
            run=fla.run,
            run_both_ways=_run_operator,
            unavailable=_fla_unavailable,
            default=True,
        ),
    }
    config: GatedDeltaConfig
    layer: _Parameters
    operator: Callable[..., Any]

    @classmethod
    def state_numbers(cls, config: GatedDeltaConfig) -> int:
        return config.num_heads * (config.key_width or config.head_width) ** 2  # H K V

    def equations(
        self, x: Float[Tensor, "B L D"], *, recurrence: Callable[..., Tensor] = delta_rule
    ) -> Float[Tensor, "B L D"]:
        layer, num_heads = self.layer, self.config.num_heads
        q, k, v = (
            split_heads(each, num_heads)  # (B, L, H, K), V for the values
            for each in project_and_convolve(layer, x)
        )
        q, k = unit_length(q) / q.shape[-1] ** 0.5, unit_length(k)
        step = F.softplus(layer.a_proj(x).to(q.dtype) + layer.dt_bias)  # (B, L, H)
        log_keep = -(layer.A_log.to(q.dtype).exp() * step)[..., None]  # (B, L, H, 1)
        beta = layer.b_proj(x).to(q.dtype).sigmoid()[..., None]  # (B, L, H, 1)

        o = recurrence(q, k, v, log_keep, beta)  # (B, L, H, V)
        o = rms_norm(o, layer.o_norm.weight, eps=1e-5) * F.silu(split_heads(layer.g_proj(x), num_heads))
        return layer.o_proj(o.flatten(2).to(x.dtype))  # type: ignore[no-any-return]

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Those of the recurrence: decay, read-out by key, outer product and read-out by query, each K x V a head."""
        return 7 * batch * frames * self.state_numbers(self.config)
