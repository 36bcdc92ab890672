"""Each reference against a second form of the same mechanism, written another way, in float64.

Recurrences are checked by parallel forms, and parallel forms by recurrences. So no mistake can be in both.
"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mixers.fox import ForgettingAttention, ForgettingConfig

from .test_contract import NUM_HEADS, features, small

BATCH, FRAMES = 2, 23


def heads(projected: Tensor, num_heads: int = NUM_HEADS) -> Tensor:
    """(B, L, H W) -> (B, H, L, W)."""
    return projected.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merged(o: Tensor) -> Tensor:
    """(B, H, L, V) -> (B, L, H V)."""
    return o.transpose(1, 2).flatten(2)


def normalised(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], weight, eps)


def attention_of_one_frame_at_a_time(mixer: Any, x: Tensor) -> Tensor:
    q, k, v = heads(mixer.q_proj(x)), heads(mixer.k_proj(x)), heads(mixer.v_proj(x))
    frames = []
    for t in range(x.shape[1]):
        weight = torch.exp((q[:, :, t : t + 1] * k).sum(-1) / math.sqrt(q.shape[-1]))  # (B, H, L)
        frames.append((weight[..., None] * v).sum(2) / weight.sum(2)[..., None])
    return mixer.o_proj(merged(torch.stack(frames, dim=2)))


def recurrent_retention(mixer: Any, x: Tensor) -> Tensor:
    """Equation 6, with the rotation written as a product of complex numbers."""
    layer = mixer.layer
    width = layer.q_proj.out_features // NUM_HEADS
    frequency = 1e4 ** (-torch.arange(0, width, 2, dtype=x.dtype) / width)
    turn = torch.polar(torch.ones(x.shape[1], width // 2, dtype=x.dtype), torch.arange(x.shape[1])[:, None] * frequency)

    def rotated(projected: Tensor) -> Tensor:
        real, imaginary = heads(projected).chunk(2, dim=-1)
        z = torch.complex(real, imaginary) * turn
        return torch.cat((z.real, z.imag), dim=-1)

    q, k, v = rotated(layer.q_proj(x)), rotated(layer.k_proj(x)), heads(layer.v_proj(x))
    gamma = torch.tensor([1 - 2 ** -(5 + head) for head in range(NUM_HEADS)], dtype=x.dtype)[:, None, None]
    state, frames = torch.zeros(()), []
    for t in range(x.shape[1]):
        state = gamma * state + k[:, :, t, :, None] * v[:, :, t, None, :]
        frames.append((q[:, :, t, :, None] * state).sum(-2) / math.sqrt(width))
    o = normalised(torch.stack(frames, dim=2), layer.g_norm_swish_gate.weight, 1e-5)
    gate = heads(layer.g_proj(x))
    return layer.o_proj(merged(o * gate * gate.sigmoid()))


def lightnet_as_a_softmax_over_the_past(mixer: Any, x: Tensor) -> Tensor:
    """The state's row of a key channel is the mean of the values, weighted by the softmax over all frames so far."""
    layer = mixer.layer
    q, logit, v = F.silu(heads(layer.q_proj(x))), heads(layer.k_proj(x)), heads(layer.v_proj(x))
    frames = []
    for t in range(x.shape[1]):
        share = logit[:, :, : t + 1].softmax(2)  # (B, H, t + 1, K)
        mean = share.transpose(-1, -2) @ v[:, :, : t + 1]  # (B, H, K, V)
        frames.append((q[:, :, t, None] @ mean)[:, :, 0])
    o = merged(torch.stack(frames, dim=2)) / math.sqrt(q.shape[-1])
    return layer.o_proj(normalised(o, layer.g_norm.weight, 1e-6) * F.silu(layer.g_proj(x)))


def parallel_slots(mixer: Any, x: Tensor) -> Tensor:
    """Each slot is a sum over the past. A frame's weight is what it wrote times what was kept since."""
    layer = mixer.layer
    q, k, v = (F.silu(heads(p(x))) for p in (layer.q_proj, layer.k_proj, layer.v_proj))
    log_keep = F.logsigmoid(heads(layer.f_proj(x))) / 8  # (B, H, L, M)
    kept = log_keep.cumsum(2)
    since = (kept[:, :, :, None] - kept[:, :, None]).exp() * (1 - log_keep.exp())[:, :, None]  # (B, H, t, i, M)
    since = since * torch.ones(x.shape[1], x.shape[1]).tril()[..., None]
    score = torch.einsum("bhtim,bhik,bhtk->bhtm", since, k, q)
    o = merged(torch.einsum("bhtm,bhtim,bhiv->bhtv", score.softmax(-1), since, v))
    return layer.o_proj(normalised(F.silu(o), layer.g_norm.weight, 1e-5))


def forgetting_one_frame_at_a_time(mixer: Any, x: Tensor) -> Tensor:
    """At each step the forget gate multiplies the weights of past frames."""
    layer, num_heads = mixer.layer, mixer.config.num_heads
    q = heads(layer.q_proj(x), num_heads)
    shared = num_heads // mixer.config.key_heads
    k, v = (heads(p(x), mixer.config.key_heads).repeat_interleave(shared, dim=1) for p in (layer.k_proj, layer.v_proj))
    gate = layer.f_proj(x).sigmoid().transpose(1, 2)  # (B, H, L)
    remembered, frames = torch.ones(*gate.shape[:2], 0, dtype=x.dtype), []
    for t in range(x.shape[1]):
        remembered = torch.cat((remembered * gate[:, :, t, None], torch.ones_like(gate[:, :, :1])), dim=-1)
        score = torch.einsum("bhk,bhik->bhi", q[:, :, t], k[:, :, : t + 1]) / math.sqrt(q.shape[-1])
        weight = score.exp() * remembered
        frames.append(torch.einsum("bhi,bhiv->bhv", weight / weight.sum(-1, keepdim=True), v[:, :, : t + 1]))
    return layer.o_proj(merged(torch.stack(frames, dim=2)))


def parallel_delta_rule(mixer: Any, x: Tensor) -> Tensor:
    """The values that the frames write solve one triangular system over the whole sequence."""
    layer = mixer.layer

    def convolved(projected: Tensor, weight: Tensor) -> Tensor:
        taps = weight.shape[-1]
        delayed = [F.pad(projected, (0, 0, lag, 0))[:, : x.shape[1]] for lag in range(taps)]
        return F.silu(torch.stack([weight[:, 0, taps - 1 - lag] * delayed[lag] for lag in range(taps)]).sum(0))

    q, k, v = (
        heads(convolved(proj(x), conv.weight))
        for proj, conv in (
            (layer.q_proj, layer.q_conv1d),
            (layer.k_proj, layer.k_conv1d),
            (layer.v_proj, layer.v_conv1d),
        )
    )
    q, k = (z / (z.square().sum(-1, keepdim=True) + 1e-6).sqrt() for z in (q, k))
    log_keep = -layer.A_log.exp()[:, None, None] * F.softplus(heads(layer.f_proj(x) + layer.dt_bias))
    kept = log_keep.cumsum(2)  # (B, H, L, K)
    since = (kept[:, :, :, None] - kept[:, :, None]).exp()  # (B, H, t, i, K)
    beta = layer.b_proj(x).sigmoid().transpose(1, 2)[..., None]  # (B, H, L, 1)
    by_key = torch.einsum("bhtk,bhtik,bhik->bhti", k, since, k).tril(-1)
    written = torch.linalg.solve(torch.eye(x.shape[1], dtype=x.dtype) + beta * by_key, beta * v)  # (B, H, L, V)
    o = torch.einsum("bhtk,bhtik,bhik->bhti", q, since, k).tril() @ written / math.sqrt(q.shape[-1])
    o = normalised(o, layer.o_norm.weight, 1e-5) * heads(layer.g_proj(x)).sigmoid()
    return layer.o_proj(merged(o))


SECOND_FORMS = {
    "sa": attention_of_one_frame_at_a_time,
    "retnet": recurrent_retention,
    "lightnet": lightnet_as_a_softmax_over_the_past,
    "gsa": parallel_slots,
    "fox": forgetting_one_frame_at_a_time,
    "kda": parallel_delta_rule,
}


@pytest.mark.parametrize("name", SECOND_FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_second_form(name: str, seed: int) -> None:
    mixer, x = small(name, seed=seed), features(BATCH, FRAMES, seed=seed)
    with torch.no_grad():
        torch.testing.assert_close(mixer(x), SECOND_FORMS[name](mixer, x), rtol=1e-9, atol=1e-11)


def test_fox_with_shared_keys_and_values() -> None:
    torch.manual_seed(0)
    mixer = ForgettingAttention(ForgettingConfig(width=16, num_heads=4, num_kv_heads=2)).double()
    x = features(BATCH, FRAMES)
    with torch.no_grad():
        torch.testing.assert_close(mixer(x), forgetting_one_frame_at_a_time(mixer, x), rtol=1e-9, atol=1e-11)
