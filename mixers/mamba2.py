"""Mamba-2: a selective state space whose state decays by one gate for each head.

Source: Dao and Gu 2024, "Transformers are SSMs", arXiv 2405.21060, equations 1 and 2 for the recurrence, section 7.1
for the layer. Keys (B) and queries (C) are shared by all heads, a short convolution comes before them, and the step
(delta) of a frame scales both its value and the decay.

flash-linear-attention's own layer needs the package mamba-ssm for its kernels; without it, it runs plain PyTorch. So
`fla` computes the same by the library's kernel for linear attention with scalar gates, between its convolution and its
gated norm. It copies the shared keys and queries for every head.
"""

import math
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
from mixers.support.forgetting import learned_reach
from mixers.support.recurrences import additive, convolve
from mixers.support.reversal import average, mix_both_ways

_RATES, _STEPS = (1.0, 16.0), (0.001, 0.1)  # the ranges of exp(A_log) and of the step in a new layer
_NORM_EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class Mamba2Config(MixerConfig):
    """Sizes of Mamba-2. At the default width and number of heads, a head has 64 values, as in the paper.

    Attributes:
        state_width: N, which is K, the width of the keys.
        expand: Width of all heads' values, in units of D.
        convolution_width: Taps of the causal convolution.
    """

    num_heads: int = 32
    state_width: int = 128
    expand: int = 2
    convolution_width: int = 4

    @property
    def parts(self) -> list[int]:
        """Widths of values, keys and queries side by side."""
        return [self.expand * self.width, self.state_width, self.state_width]

    @property
    def projected(self) -> list[int]:
        """Widths of the output gate, of what is convolved, and of the steps side by side."""
        return [self.parts[0], sum(self.parts), self.num_heads]


class _Parameters(nn.Module):
    """The parameters of fla.layers.Mamba2, under its names and with its initialisation."""

    def __init__(self, config: Mamba2Config) -> None:
        super().__init__()
        inner, convolved, num_heads = config.projected
        self.conv1d = nn.Conv1d(convolved, convolved, config.convolution_width, groups=convolved)
        self.in_proj = nn.Linear(config.width, sum(config.projected), bias=False)
        step = torch.empty(num_heads).uniform_(*map(math.log, _STEPS)).exp()
        self.dt_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))  # its softplus is the step
        self.A_log = nn.Parameter(torch.empty(num_heads).uniform_(*_RATES).log())
        self.norm = nn.RMSNorm(inner)
        self.D = nn.Parameter(torch.ones(num_heads))
        self.out_proj = nn.Linear(inner, config.width, bias=False)


def _load_fla() -> Callable[..., Any]:
    fla.layers()
    return fla.function("ops.simple_gla", "chunk_simple_gla")


def _run_fla(mixer: "Mamba2", x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None) -> Float[Tensor, "B L D"]:
    """Run the library's convolution and operator between the projections, one way or both."""
    layer, config = mixer.layer, mixer.config
    convolution = fla.function("modules.convolution", "causal_conv1d")
    rate = layer.A_log.float().exp()  # (H,)

    def mix(mixed: Tensor, step: Tensor) -> Tensor:
        weight = layer.conv1d.weight.squeeze(1)
        mixed = convolution(x=mixed, weight=weight, bias=layer.conv1d.bias, activation="silu")[0]
        v, k, q = torch.split(mixed, config.parts, dim=-1)
        v = in_heads(v, config.num_heads)  # (B, L, H, V)
        q, k = (each[:, :, None].expand(-1, -1, config.num_heads, -1).contiguous() for each in (q, k))  # (B, L, H, K)
        step = F.softplus(step.float() + layer.dt_bias)  # (B, L, H)
        o: Tensor = mixer.operator(q, k, v * step[..., None].to(v.dtype), -rate * step, scale=1.0)[0]
        o = o + layer.D[:, None].to(v.dtype) * v
        return o.flatten(2)

    gate, mixed, step = torch.split(layer.in_proj(x), config.projected, dim=-1)
    inputs = [mixed, step]
    del mixed, step
    outputs = (mix(*inputs),) if mixer.passes == 1 else mix_both_ways(mix, inputs, mask)
    norm = fla.function("modules.layernorm_gated", "rmsnorm_fn")
    normed = [norm(o, layer.norm.weight, None, z=gate, eps=_NORM_EPS, norm_before_gate=False) for o in outputs]
    o = normed[0] if mixer.passes == 1 else average(*normed)
    y: Tensor = layer.out_proj(o)
    return y if mask is None else y * mask[..., None]


class Mamba2(Mixer):
    """Mamba-2 with its short convolution and gated norm."""

    arxiv = "2405.21060"
    causal = True
    by_default = False
    groups = ("linear",)
    reach = learned_reach(least_kept=-_RATES[1] * _STEPS[1], most_kept=-_RATES[0] * _STEPS[0])
    presets = {"matched": Mamba2Config(), "released": Mamba2Config()}
    implementations = {
        "reference": Implementation(build=_Parameters),
        "chunked": Implementation(build=_Parameters, run=with_recurrence(chunks.additive)),
        "fla": Implementation(
            build=_Parameters,
            operator=_load_fla,
            run=_run_fla,
            run_both_ways=_run_fla,
            unavailable=fla.unavailable,
            default=True,
        ),
    }
    config: Mamba2Config
    layer: _Parameters
    operator: Callable[..., Any]

    @classmethod
    def state_numbers(cls, config: Mamba2Config) -> int:
        return config.state_width * config.parts[0]  # H K V

    def equations(
        self, x: Float[Tensor, "B L D"], *, recurrence: Callable[..., Tensor] = additive
    ) -> Float[Tensor, "B L D"]:
        layer, config = self.layer, self.config
        gate, mixed, step = torch.split(layer.in_proj(x), config.projected, dim=-1)
        mixed = F.silu(convolve(mixed, layer.conv1d.weight, layer.conv1d.bias))
        v, k, q = torch.split(mixed, config.parts, dim=-1)
        v = split_heads(v, config.num_heads)  # (B, L, H, V)
        q, k = (split_heads(each, 1).expand(-1, -1, config.num_heads, -1) for each in (q, k))  # (B, L, H, K)
        step = F.softplus(step.to(v.dtype) + layer.dt_bias)  # (B, L, H)
        log_keep = -layer.A_log.to(v.dtype).exp() * step

        o = recurrence(q, k, step[..., None] * v, log_keep[..., None]) + layer.D[:, None] * v  # (B, L, H, V)
        o = rms_norm(o.flatten(2) * F.silu(gate.to(v.dtype)), layer.norm.weight, eps=_NORM_EPS)
        return layer.out_proj(o.to(x.dtype))  # type: ignore[no-any-return]

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Those of the recurrence: decay, outer product and read-out of a state of K x V a head."""
        return 5 * batch * frames * self.state_numbers(self.config)
