"""RetNet: retention, linear attention whose memory decays by one fixed factor a head.

Source: Sun et al. 2023, "Retentive Network", arXiv 2307.08621: equation 5 (parallel form) and equation 8 (gated
multi-scale retention). As in flash-linear-attention, positions are rotary and the group norm is an RMS norm.
"""

import importlib.metadata
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixers.base import Implementation, Mixer, MixerConfig, in_heads, rms_norm, split_heads
from mixers.kernels import fla
from mixers.support.forgetting import half_life
from mixers.support.reversal import average, mix_both_ways

# For Hopper, some versions of Triton miscompile the library's backward pass where tiles are narrow. At a key width of
# 16, compute-sanitizer finds reads beyond the tiles, and the loss becomes nan. At 256 the results are right. Where the
# fault ends is not known. With these versions, the library itself refuses the gated form of that kernel at any width.
_FLA_NARROWEST_HEAD = 64
_FIRST_MISCOMPILING, _FIRST_FIXED = (3, 4, 0), (3, 7, 1)


@dataclass(frozen=True, kw_only=True)
class RetNetConfig(MixerConfig):
    """Sizes of RetNet.

    Attributes:
        expand_v: Width of all heads' values, in units of D.
    """

    expand_v: int = 2


class _Parameters(nn.Module):
    """The parameters of fla.layers.MultiScaleRetention, under its names."""

    def __init__(self, config: RetNetConfig) -> None:
        super().__init__()
        width, value_width = config.width, config.expand_v * config.width
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, value_width, bias=False)
        self.g_proj = nn.Linear(width, value_width, bias=False)
        self.g_norm_swish_gate = nn.RMSNorm(value_width // config.num_heads)
        self.o_proj = nn.Linear(value_width, width, bias=False)


def _fla_layer(config: RetNetConfig) -> nn.Module:
    layer: nn.Module = fla.layers().MultiScaleRetention(
        hidden_size=config.width, num_heads=config.num_heads, expand_v=config.expand_v, layer_idx=0
    )
    return layer


def _fla_unavailable(config: RetNetConfig, device_type: str) -> str:
    reason = fla.unavailable_for_keys(config.head_width, device_type)
    if not reason and config.head_width < _FLA_NARROWEST_HEAD and _is_miscompiled():
        return f"miscompiled by this Triton at fewer than {_FLA_NARROWEST_HEAD} a head"
    return reason


def _is_miscompiled() -> bool:
    if not torch.cuda.is_available() or torch.cuda.get_device_capability()[0] != 9:
        return False
    version = tuple(int(part) for part in re.findall(r"\d+", importlib.metadata.version("triton"))[:3])
    return _FIRST_MISCOMPILING <= version < _FIRST_FIXED


def _run_both_ways(
    mixer: "RetNet", x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None
) -> Float[Tensor, "B L D"]:
    """Run the library's operator both ways between the projections of one. Each way counts its own positions."""
    layer: Any = mixer.layer
    num_heads = mixer.config.num_heads

    def mix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        o: Tensor = mixer.operator(*layer.rotary(q, k), v)[0]
        return o

    # (B, L, H, K), V for the values
    inputs = [in_heads(p(x), num_heads) for p in (layer.q_proj, layer.k_proj, layer.v_proj)]
    outputs = mix_both_ways(mix, inputs, mask)
    gate = in_heads(layer.g_proj(x), num_heads)  # (B, L, H, V)
    o = average(*(layer.g_norm_swish_gate(o, gate) for o in outputs))
    y: Tensor = layer.o_proj(o.flatten(2))
    return y if mask is None else y * mask[..., None]


def _half_lives(num_heads: int) -> str:
    return ", ".join(half_life(math.log1p(-(2.0 ** (-5 - head)))) for head in range(num_heads))


class RetNet(Mixer):
    """Multi-scale retention with an output gate."""

    arxiv = "2307.08621"
    causal = True
    groups = ("paper", "linear")
    reach = f"fixed half-lives of {_half_lives(MixerConfig().num_heads)} s by head"  # at the presets' number
    presets = {"matched": RetNetConfig(), "released": RetNetConfig()}
    implementations = {
        "reference": Implementation(build=_Parameters),
        "fla": Implementation(
            build=_fla_layer,
            operator=lambda: fla.function("ops.retention", "chunk_retention"),
            run=fla.run,
            run_both_ways=_run_both_ways,
            unavailable=_fla_unavailable,
            default=True,
        ),
    }
    config: RetNetConfig
    layer: _Parameters
    operator: Callable[..., Any]

    @classmethod
    def reach_at(cls, config: RetNetConfig) -> str:
        return f"fixed half-lives of {_half_lives(config.num_heads)} s by head"

    @classmethod
    def state_numbers(cls, config: RetNetConfig) -> int:
        return config.head_width * config.expand_v * config.width  # H K V

    def equations(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        layer, num_heads = self.layer, self.config.num_heads
        q, k = (_rotate(split_heads(p(x), num_heads)) for p in (layer.q_proj, layer.k_proj))  # (B, L, H, K)
        v, gate = (split_heads(p(x), num_heads) for p in (layer.v_proj, layer.g_proj))  # (B, L, H, V)
        decay = _decay(x.shape[1], num_heads, like=q)  # (H, L, L)
        scores = torch.einsum("bihk,bjhk->bhij", q, k) / q.shape[-1] ** 0.5
        o = torch.einsum("bhij,bjhv->bihv", scores * decay, v)
        o = rms_norm(o, layer.g_norm_swish_gate.weight, eps=1e-5) * F.silu(gate)
        return layer.o_proj(o.flatten(2).to(x.dtype))  # type: ignore[no-any-return]

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Those of the recurrent form (equation 6): decay, outer product and read-out of a state of K x V a head."""
        return 5 * batch * frames * self.state_numbers(self.config)


def _decay(frames: int, num_heads: int, *, like: Tensor) -> Float[Tensor, "H L L"]:
    """Return the matrix D of equation 5: gamma^(i - j) where frame i sees frame j, otherwise 0."""
    head = torch.arange(num_heads, dtype=like.dtype, device=like.device)
    log_gamma = torch.log1p(-(2.0 ** (-5 - head)))  # (H,)
    position = torch.arange(frames, dtype=like.dtype, device=like.device)
    distance = position[:, None] - position  # (L, L)
    return torch.exp(log_gamma[:, None, None] * distance).tril()


def _rotate(x: Float[Tensor, "B L H K"]) -> Float[Tensor, "B L H K"]:
    """Rotate channel pairs (c, c + K/2) of frame n by the angle n / 10000^(2c / K) (Su et al., arXiv 2104.09864)."""
    first, second = x.chunk(2, dim=-1)  # (B, L, H, K/2)
    channel = torch.arange(first.shape[-1], dtype=x.dtype, device=x.device)
    frequency = 10000.0 ** (-channel / first.shape[-1])
    angle = torch.arange(x.shape[1], dtype=x.dtype, device=x.device)[:, None, None] * frequency  # (L, 1, K/2)
    return torch.cat((first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()), dim=-1)
