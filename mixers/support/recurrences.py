"""The recurrences and short convolutions that several linear mixers share, frame by frame in plain PyTorch.

The state of a head, (K, V), holds values under keys. Each frame first decays what is held. In the delta rule it then
replaces a part of what is held under its key by its value, otherwise it adds its value. Its query reads the result.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def additive(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B L H K"],
    v: Float[Tensor, "B L H V"],
    log_keep: Float[Tensor, "B L H K1"],
) -> Float[Tensor, "B L H V"]:
    """Add each frame's value under its key to a state that decays.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        log_keep: Logarithm of what the frame keeps of the state, for each key channel or for all of a head.
    """
    state = q.new_zeros(q.shape[0], *q.shape[2:], v.shape[-1])  # (B, H, K, V)
    keep = log_keep.exp()
    out = []
    for t in range(q.shape[1]):
        state = keep[:, t, :, :, None] * state + torch.einsum("bhk,bhv->bhkv", k[:, t], v[:, t])
        out.append(torch.einsum("bhk,bhkv->bhv", q[:, t], state))
    return torch.stack(out, dim=1)


def delta_rule(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B L H K"],
    v: Float[Tensor, "B L H V"],
    log_keep: Float[Tensor, "B L H K1"],
    beta: Float[Tensor, "B L H 1"],
) -> Float[Tensor, "B L H V"]:
    """Replace beta of what a decayed state holds under each frame's key by the frame's value.

    Args:
        q: Queries.
        k: Keys of unit length.
        v: Values.
        log_keep: Logarithm of what the frame keeps of the state, for each key channel or for all of a head.
        beta: The share that is replaced.
    """
    state = q.new_zeros(q.shape[0], *q.shape[2:], v.shape[-1])  # (B, H, K, V)
    keep = log_keep.exp()
    out = []
    for t in range(q.shape[1]):
        state = keep[:, t, :, :, None] * state
        held = torch.einsum("bhk,bhkv->bhv", k[:, t], state)
        state = state + torch.einsum("bhk,bhv->bhkv", k[:, t], beta[:, t] * (v[:, t] - held))
        out.append(torch.einsum("bhk,bhkv->bhv", q[:, t], state))
    return torch.stack(out, dim=1)


def generalized_delta_rule(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B L H K"],
    v: Float[Tensor, "B L H V"],
    log_keep: Float[Tensor, "B L H K"],
    removal: Float[Tensor, "B L H K"],
    rate: Float[Tensor, "B L H K"],
) -> Float[Tensor, "B L H V"]:
    """Remove a part of what a state holds under one key, and add each frame's value under another.

    Args:
        q: Queries.
        k: Keys of the values.
        v: Values.
        log_keep: Logarithm of what the frame keeps of the state, for each key channel.
        removal: Keys of unit length. What is held under them is read before the state decays.
        rate: The share that is removed, for each key channel.
    """
    state = q.new_zeros(q.shape[0], *q.shape[2:], v.shape[-1])  # (B, H, K, V)
    keep = log_keep.exp()
    out = []
    for t in range(q.shape[1]):
        held = torch.einsum("bhk,bhkv->bhv", removal[:, t], state)
        state = keep[:, t, :, :, None] * state
        state = state - torch.einsum("bhk,bhv->bhkv", rate[:, t] * removal[:, t], held)
        state = state + torch.einsum("bhk,bhv->bhkv", k[:, t], v[:, t])
        out.append(torch.einsum("bhk,bhkv->bhv", q[:, t], state))
    return torch.stack(out, dim=1)


def slots(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B L H K"],
    v: Float[Tensor, "B L H V"],
    log_keep: Float[Tensor, "B L H M"],
) -> Float[Tensor, "B L H V"]:
    """Attend to M slots of keys and values. Each frame replaces a share of every slot by its key and its value.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        log_keep: Logarithm of what the frame keeps of each slot.
    """
    keep = log_keep.exp()
    write = 1 - keep
    keys = q.new_zeros(q.shape[0], *log_keep.shape[2:], k.shape[-1])  # (B, H, M, K)
    values = q.new_zeros(q.shape[0], *log_keep.shape[2:], v.shape[-1])  # (B, H, M, V)
    out = []
    for t in range(q.shape[1]):
        keys = keep[:, t, :, :, None] * keys + torch.einsum("bhm,bhk->bhmk", write[:, t], k[:, t])
        values = keep[:, t, :, :, None] * values + torch.einsum("bhm,bhv->bhmv", write[:, t], v[:, t])
        weight = torch.einsum("bhmk,bhk->bhm", keys, q[:, t]).softmax(-1)
        out.append(torch.einsum("bhm,bhmv->bhv", weight, values))
    return torch.stack(out, dim=1)


def convolve(
    x: Float[Tensor, "B L C"], weight: Float[Tensor, "C 1 taps"], bias: Float[Tensor, " C"] | None = None
) -> Float[Tensor, "B L C"]:
    """Convolve each channel over the frame itself and the ones before it."""
    past = F.pad(x.transpose(1, 2), (weight.shape[-1] - 1, 0))  # (B, C, taps - 1 + L)
    return F.conv1d(past, weight, bias, groups=weight.shape[0]).transpose(1, 2)


def project_and_convolve(layer: Any, x: Float[Tensor, "B L D"]) -> Iterator[Float[Tensor, "B L C"]]:
    """Yield queries, keys and values of all heads side by side, each after its projection, convolution and SiLU.

    Args:
        layer: With ``q_proj`` and ``q_conv1d``, and the same for k and v, under the names of flash-linear-attention.
        x: Features.
    """
    for name in ("q", "k", "v"):
        projected = getattr(layer, f"{name}_proj")(x)
        yield F.silu(convolve(projected, getattr(layer, f"{name}_conv1d").weight))


def unit_length(x: Float[Tensor, "B L H K"]) -> Float[Tensor, "B L H K"]:
    """Divide each vector by its length."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)
