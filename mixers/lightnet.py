"""LightNet: linear attention with an additive recurrence, the state being a running softmax-weighted mean.

Source: Qin et al. 2024, "You Only Scan Once", arXiv 2405.21022, section 3: the key of a frame is its share in the sum
of all exponentials so far, and what came before is scaled down by the same sum.

`fla` is flash-linear-attention's layer. `triton` is that layer with keys and decays from our own kernel, which takes
all of time at once where the library's walks from the first frame to the last.
"""

import dataclasses
import importlib
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixers import kernels
from mixers.autotuning.fla import fla_layers
from mixers.base import Mixer, MixerConfig, rms_norm, split_heads


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


class LightNet(Mixer):
    """LightNet attention with a low-rank output gate."""

    arxiv = "2405.21022"
    causal = True
    implementations = ("reference", "fla", "triton")
    presets = {"matched": LightNetConfig(), "released": LightNetConfig(key_width=128)}

    def __init__(self, config: LightNetConfig, *, implementation: str = "reference") -> None:
        super().__init__(config, implementation=implementation)
        self.config = config
        self.layer: _Parameters = (
            fla_layers().LightNetAttention(
                hidden_size=config.width,
                num_heads=config.num_heads,
                expand_ratio=config.key_width or config.head_width,
                gate_low_rank_dim=config.gate_rank,
                layer_idx=0,
            )
            if implementation in ("fla", "triton")
            else _Parameters(config)
        )
        if implementation == "triton":
            self._decay = kernels.operator("lightnet")

    @classmethod
    def measured(cls, config: MixerConfig) -> tuple[str, ...]:
        as_in_the_paper = config == dataclasses.replace(cls.presets["released"], width=config.width)
        return ("fla",) if as_in_the_paper or cls.unavailable("triton", config, device_type="cuda") else ("triton",)

    @classmethod
    def unavailable(cls, implementation: str, config: MixerConfig, *, device_type: str) -> str:
        reason = super().unavailable("fla", config, device_type=device_type) if implementation != "reference" else ""
        return reason or (kernels.unavailable(device_type) if implementation == "triton" else "")

    def equations(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        layer, num_heads = self.layer, self.config.num_heads
        q = F.silu(split_heads(layer.q_proj(x), num_heads))  # (B, L, H, K)
        logit = split_heads(layer.k_proj(x), num_heads)  # (B, L, H, K)
        v = split_heads(layer.v_proj(x), num_heads)  # (B, L, H, V)
        total = logit.logcumsumexp(1)  # (B, L, H, K)
        key = (logit - total).exp()
        decay = (total[:, :-1] - total[:, 1:]).exp()  # (B, L - 1, H, K)

        state = torch.einsum("bhk,bhv->bhkv", key[:, 0], v[:, 0])
        out = [torch.einsum("bhk,bhkv->bhv", q[:, 0], state)]
        for t in range(1, x.shape[1]):
            state = decay[:, t - 1, :, :, None] * state + torch.einsum("bhk,bhv->bhkv", key[:, t], v[:, t])
            out.append(torch.einsum("bhk,bhkv->bhv", q[:, t], state))
        o = torch.stack(out, dim=1).flatten(2) / q.shape[-1] ** 0.5  # (B, L, D)

        # flash-linear-attention's fused norm runs at this epsilon, whatever the layer's own is set to
        o = rms_norm(o, layer.g_norm.weight, eps=1e-6) * F.silu(layer.g_proj(x))
        return layer.o_proj(o.to(x.dtype))  # type: ignore[no-any-return]

    def forward(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B L D"]:
        if self.implementation != "triton":
            return super().forward(x, mask)
        layer = self.layer
        q = F.silu(layer.q_proj(x))
        q, logit, v = (  # (B, L, H, K), (B, L, H, K), (B, L, H, V)
            each.unflatten(-1, (self.config.num_heads, -1)) for each in (q, layer.k_proj(x), layer.v_proj(x))
        )
        if mask is not None:
            logit = logit.masked_fill(~mask[..., None, None], float("-inf"))
        key, log_decay = self._decay(logit)
        o, _ = importlib.import_module("fla.ops.gla").chunk_gla(q, key, v, log_decay, state_v_first=True)
        norm_gate_project = importlib.import_module("fla.modules.fused_norm_gate").rms_norm_swish_gate_linear
        y: Tensor = norm_gate_project(
            o.flatten(2), layer.g_proj(x), layer.g_norm.weight, None, layer.o_proj.weight, None
        )
        return y if mask is None else y * mask[..., None]

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Of the recurrence: decay, outer product and read-out of a state of K x V a head."""
        return 5 * batch * frames * (self.config.key_width or self.config.head_width) * self.width
