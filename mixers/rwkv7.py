"""RWKV-7 "Goose": the delta rule with a decay, a removal and a replacement rate for each key channel.

Source: Peng et al. 2025, "RWKV-7 Goose with Expressive Dynamic State Evolution", arXiv 2503.14456, section 4: each
projection reads a learned mix of a frame and the one before; the state decays channel by channel, loses a part of what
it holds under the removal key, and gains the frame's value under its replacement key. Heads are 64 wide.

A layer here is the first of the paper's model. In later ones the paper mixes in the values of the first, which a mixer
alone does not see. Two starting points differ: the output projection and the low-rank maps are random rather than zero,
so that a new layer mixes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixers.base import Implementation, Mixer, MixerConfig, split_heads, with_recurrence
from mixers.kernels import fla
from mixers.support import chunks, patches
from mixers.support.forgetting import learned_reach
from mixers.support.recurrences import generalized_delta_rule

_MOST_FORGOTTEN = math.exp(-0.5)  # of the state's logarithm in one frame
_NARROWEST_HEAD = 16  # of fla: its backward pass multiplies blocks as wide as a head, and Triton no narrower ones
_DECAY_BIASES = (-5.5, 0.5)  # from the first channel of a new layer to the last, before a zigzag over each head


@dataclass(frozen=True, kw_only=True)
class RWKV7Config(MixerConfig):
    """Sizes of RWKV-7.

    Attributes:
        rank: Inner width of the low-rank maps to decays and replacement rates.
        gate_rank: Inner width of the low-rank output gate.
    """

    num_heads: int = 16
    rank: int = 64
    gate_rank: int = 160


class _LowRank(nn.Module):
    """A low-rank map with an activation in the middle."""

    def __init__(self, width: int, rank: int, activation: nn.Module, *, bias: Tensor | None) -> None:
        super().__init__()
        up = nn.Linear(rank, width, bias=bias is not None)
        if bias is not None:
            up.bias.data.copy_(bias)
        self.lora = nn.Sequential(nn.Linear(width, rank, bias=False), activation, up)

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        return self.lora(x)  # type: ignore[no-any-return]


class _Parameters(nn.Module):
    """The parameters of fla.layers.RWKV7Attention, under its names."""

    def __init__(self, config: RWKV7Config) -> None:
        super().__init__()
        width, head = config.width, config.head_width
        channel = torch.arange(width)
        ramp, within = channel / max(1, width - 1), (channel % head) / max(1, head - 1)  # both from 0 to 1
        zigzag = (2 * within - 1) * (2 * within - 1).abs()  # from -1 to 1 over each head
        for name, power in (("r", 0.2), ("w", 0.9), ("k", 0.7), ("v", 0.7), ("a", 0.9), ("g", 0.2)):
            share = 1 - (channel / width) ** power  # of the frame before
            self.register_parameter(f"x_{name}", nn.Parameter(share[None, None]))
        self.k_k = nn.Parameter(0.76 - 0.1 * ramp)
        self.k_a = nn.Parameter(torch.full((width,), 1.02))
        self.r_k = nn.Parameter(torch.full((config.num_heads, head), -0.04))
        self.r_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        low, high = _DECAY_BIASES
        decay, rate = low + (high - low) * ramp + 2.5 * zigzag, -0.39 + 0.4 * ramp + 0.3 * zigzag
        self.w_lora = _LowRank(width, config.rank, nn.Tanh(), bias=decay)
        self.a_lora = _LowRank(width, config.rank, nn.Identity(), bias=rate)
        self.g_lora = _LowRank(width, config.gate_rank, nn.Sigmoid(), bias=None)
        self.g_norm = nn.GroupNorm(config.num_heads, width)


def _fla_layer(config: RWKV7Config) -> nn.Module:
    """Return the library's layer around the parameters of the others, so that a seed gives the same weights."""
    library = fla.layers()
    with patches.rwkv_warning_ignored(), torch.device("meta"):  # which draws no random numbers
        layer: nn.Module = library.RWKV7Attention(
            hidden_size=config.width,
            head_dim=config.head_width,
            decay_low_rank_dim=config.rank,
            a_low_rank_dim=config.rank,
            gate_low_rank_dim=config.gate_rank,
            layer_idx=0,
            num_hidden_layers=2,
        )
    patches.gradients_beside_the_input()
    layer.load_state_dict(dict(_Parameters(config).named_parameters()), assign=True)
    return layer


def _fla_unavailable(config: RWKV7Config, device_type: str) -> str:
    return fla.unavailable_for_keys(config.head_width, device_type, narrowest=_NARROWEST_HEAD)


class RWKV7(Mixer):
    """RWKV-7's time mixing."""

    arxiv = "2503.14456"
    causal = True
    by_default = False
    groups = ("linear",)
    reach = learned_reach(
        least_kept=-_MOST_FORGOTTEN / (1 + math.exp(-_DECAY_BIASES[1])),
        most_kept=-_MOST_FORGOTTEN / (1 + math.exp(-_DECAY_BIASES[0])),
    )
    presets = {"matched": RWKV7Config(), "released": RWKV7Config()}
    implementations = {
        "reference": Implementation(build=_Parameters),
        "chunked": Implementation(
            build=_Parameters,
            run=with_recurrence(chunks.generalized_delta_rule),
            default=lambda config: config.head_width < _NARROWEST_HEAD,
        ),
        "fla": Implementation(
            build=_fla_layer,
            run=fla.run,
            unavailable=_fla_unavailable,
            default=lambda config: config.head_width >= _NARROWEST_HEAD,
        ),
    }
    config: RWKV7Config
    layer: _Parameters

    @classmethod
    def state_numbers(cls, config: RWKV7Config) -> int:
        return config.head_width * config.width  # H K V

    def equations(
        self, x: Float[Tensor, "B L D"], *, recurrence: Callable[..., Tensor] = generalized_delta_rule
    ) -> Float[Tensor, "B L D"]:
        layer, num_heads = self.layer, self.config.num_heads
        change = F.pad(x, (0, 0, 1, 0))[:, :-1] - x  # (B, L, D), with zeros before the first frame
        shifted = {name: x + change * getattr(layer, f"x_{name}") for name in "rwkvag"}
        r, k, v = (
            split_heads(proj(shifted[name]), num_heads)  # (B, L, H, K), V for the values
            for name, proj in (("r", layer.r_proj), ("k", layer.k_proj), ("v", layer.v_proj))
        )
        log_keep = -_MOST_FORGOTTEN * split_heads(layer.w_lora(shifted["w"]), num_heads).sigmoid()  # (B, L, H, K)
        rate = split_heads(layer.a_lora(shifted["a"]), num_heads).sigmoid()  # (B, L, H, K)
        removal = F.normalize(k * layer.k_k.view(num_heads, -1), dim=-1)
        k = k * (1 + (rate - 1) * layer.k_a.view(num_heads, -1))

        o = recurrence(r, k, v, log_keep, removal, rate)  # (B, L, H, V)
        o = F.layer_norm(o, o.shape[-1:], eps=1e-5 * o.shape[-1])  # each head by itself
        o = o * layer.g_norm.weight.view(num_heads, -1) + layer.g_norm.bias.view(num_heads, -1)
        o = o + (r * k * layer.r_k).sum(-1, keepdim=True) * v  # the frame's own value once more
        return layer.o_proj((o.flatten(2) * layer.g_lora(shifted["g"])).to(x.dtype))  # type: ignore[no-any-return]

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Those of the recurrence: decay, read-out by key, two outer products and read-out, each K x V a head."""
        return 9 * batch * frames * self.state_numbers(self.config)
