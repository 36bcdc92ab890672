"""Second forms, as in test_equations, of the mixers that are measured where they are named."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

import mixers
from mixers.base import View
from mixers.kernels import flex
from mixers.sliding import SlidingConfig
from tests.mixers.test_contract import NUM_HEADS, WIDTH, features, small
from tests.mixers.test_equations import BATCH, FRAMES, heads, merged, normalised


def delayed_sum(projected: Tensor, conv: Any) -> Tensor:
    """A short convolution as a sum of delayed sequences."""
    taps = conv.weight.shape[-1]
    delayed = [F.pad(projected, (0, 0, lag, 0))[:, : projected.shape[1]] for lag in range(taps)]
    total = torch.stack([conv.weight[:, 0, taps - 1 - lag] * delayed[lag] for lag in range(taps)]).sum(0)
    return F.silu(total if conv.bias is None else total + conv.bias)


def convolved_heads(layer: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (
        heads(delayed_sum(proj(x), conv))
        for proj, conv in (
            (layer.q_proj, layer.q_conv1d),
            (layer.k_proj, layer.k_conv1d),
            (layer.v_proj, layer.v_conv1d),
        )
    )
    q, k = (z / (z.square().sum(-1, keepdim=True) + 1e-6).sqrt() for z in (q, k))
    return q / math.sqrt(q.shape[-1]), k, v


def solved(q: Tensor, k: Tensor, v: Tensor, log_keep: Tensor, beta: Tensor) -> Tensor:
    """The delta rule's values solve one triangular system over the whole sequence. Gates are (B, H, L)."""
    kept = log_keep.cumsum(-1)
    since = (kept[..., :, None] - kept[..., None, :]).exp()  # (B, H, t, i)
    by_key = (since * (k @ k.transpose(-1, -2))).tril(-1)
    beta = beta[..., None]
    written = torch.linalg.solve(torch.eye(k.shape[2], dtype=k.dtype) + beta * by_key, beta * v)
    return (since * (q @ k.transpose(-1, -2))).tril() @ written


def gated_delta_rule(mixer: Any, x: Tensor) -> Tensor:
    layer = mixer.layer
    log_keep = -layer.A_log.exp() * F.softplus(layer.a_proj(x) + layer.dt_bias)
    o = solved(*convolved_heads(layer, x), log_keep.transpose(1, 2), layer.b_proj(x).sigmoid().transpose(1, 2))
    return layer.o_proj(merged(normalised(o, layer.o_norm.weight, 1e-5) * F.silu(heads(layer.g_proj(x)))))


def delta_rule(mixer: Any, x: Tensor) -> Tensor:
    layer, beta = mixer.layer, mixer.layer.b_proj(x).sigmoid().transpose(1, 2)
    o = solved(*convolved_heads(layer, x), torch.zeros_like(beta), beta)
    return layer.o_proj(merged(normalised(o, layer.o_norm.weight, 1e-5)))


def parallel_gated_linear_attention(mixer: Any, x: Tensor) -> Tensor:
    layer = mixer.layer
    q, k, v = (heads(p(x)) for p in (layer.q_proj, layer.k_proj, layer.v_proj))
    kept = F.logsigmoid(heads(layer.gk_proj(x))).cumsum(2) / 16  # (B, H, L, K)
    since = (kept[:, :, :, None] - kept[:, :, None]).exp()  # (B, H, t, i, K)
    o = torch.einsum("bhtk,bhtik,bhik->bhti", q, since, k).tril() @ v / math.sqrt(q.shape[-1])
    o = normalised(o, layer.g_norm_swish_gate.weight, 1e-5) * F.silu(heads(layer.g_proj(x)))
    return layer.o_proj(merged(o))


def state_space_as_attention(mixer: Any, x: Tensor) -> Tensor:
    """The state space dual: a lower triangular matrix of scores, which the decays mask (Mamba-2, section 4)."""
    layer, state, num_heads = mixer.layer, mixer.config.state_width, mixer.config.num_heads
    inner = 2 * mixer.config.width
    gate, mixed, step = layer.in_proj(x).tensor_split((inner, 2 * inner + 2 * state), dim=-1)
    v, k, q = delayed_sum(mixed, layer.conv1d).tensor_split((inner, inner + state), dim=-1)
    v, step = heads(v, num_heads), F.softplus(step + layer.dt_bias).transpose(1, 2)  # (B, H, L, V), (B, H, L)
    kept = (-layer.A_log.exp()[:, None] * step).cumsum(-1)
    scores = ((kept[..., :, None] - kept[..., None, :]).exp() * (q @ k.transpose(-1, -2))[:, None]).tril()
    o = merged(scores @ (v * step[..., None]) + layer.D[:, None, None] * v)
    return layer.out_proj(normalised(o * gate * gate.sigmoid(), layer.norm.weight, 1e-5))


def parallel_goose(mixer: Any, x: Tensor) -> Tensor:
    """What the removal keys read solves one triangular system over the whole sequence."""
    layer, num_heads = mixer.layer, mixer.config.num_heads
    before = torch.cat((torch.zeros_like(x[:, :1]), x[:, :-1]), dim=1)

    def mixed(name: str) -> Tensor:
        share = getattr(layer, f"x_{name}")
        return (1 - share) * x + share * before

    r, k, v = heads(layer.r_proj(mixed("r"))), layer.k_proj(mixed("k")), heads(layer.v_proj(mixed("v")))
    kept = -math.exp(-0.5) * heads(layer.w_lora(mixed("w")).sigmoid()).cumsum(2)  # (B, H, L, K)
    rate = layer.a_lora(mixed("a")).sigmoid()
    removal = heads(k * layer.k_k)
    removal = removal / removal.norm(dim=-1, keepdim=True)
    k, rate = heads(k + k * (rate - 1) * layer.k_a), heads(rate)
    kept_before = F.pad(kept, (0, 0, 1, 0))[:, :, :-1]

    def through(query: Tensor, kept_by_reader: Tensor, key: Tensor, until: int) -> Tensor:
        since = (kept_by_reader[:, :, :, None] - kept[:, :, None]).exp()  # (B, H, t, i, K)
        return torch.einsum("bhtk,bhtik,bhik->bhti", query, since, key).tril(until)

    system = torch.eye(x.shape[1], dtype=x.dtype) + through(removal, kept_before, rate * removal, -1)
    held = torch.linalg.solve(system, through(removal, kept_before, k, -1) @ v)  # (B, H, L, V)
    o = through(r, kept, k, 0) @ v - through(r, kept, rate * removal, 0) @ held
    o = F.group_norm(
        merged(o).flatten(0, 1), num_heads, layer.g_norm.weight, layer.g_norm.bias, eps=1e-5 * o.shape[-1]
    ).view_as(x)
    o = o + merged((r * k * layer.r_k[:, None]).sum(-1, keepdim=True) * v)
    return layer.o_proj(o * layer.g_lora(mixed("g")))


def attention_of_a_window(mixer: Any, x: Tensor) -> Tensor:
    q, k, v = heads(mixer.q_proj(x)), heads(mixer.k_proj(x)), heads(mixer.v_proj(x))
    window = mixer.config.window_frames
    frames = []
    for t in range(x.shape[1]):
        first, last = (t - window + 1, t) if mixer.sees == "past" else (t - window // 2, t + window // 2)
        seen = slice(max(0, first), last + 1)
        weight = torch.exp((q[:, :, t : t + 1] * k[:, :, seen]).sum(-1) / math.sqrt(q.shape[-1]))
        frames.append((weight[..., None] * v[:, :, seen]).sum(2) / weight.sum(2)[..., None])
    return mixer.o_proj(merged(torch.stack(frames, dim=2)))


def summary_by_products(mixer: Any, x: Tensor) -> Tensor:
    """The means are a product with a matrix of shares."""
    layer, frames = mixer.layer, x.shape[1]
    share = torch.ones(frames, frames, dtype=x.dtype)
    share = share.tril() if mixer.sees == "past" else share
    local, summary = (z * (1 + torch.erf(z / math.sqrt(2))) / 2 for z in (layer.local(x), layer.summary(x)))
    return F.gelu(layer.combiner(torch.cat((local, share / share.sum(1, keepdim=True) @ summary), dim=-1)))


MORE_FORMS = {
    "deltanet": delta_rule,
    "gated_deltanet": gated_delta_rule,
    "gla": parallel_gated_linear_attention,
    "mamba2": state_space_as_attention,
    "rwkv7": parallel_goose,
    "sliding": attention_of_a_window,
    "summary": summary_by_products,
}


@pytest.mark.parametrize("name", MORE_FORMS)
def test_second_form(name: str) -> None:
    mixer, x = small(name), features(BATCH, FRAMES)
    with torch.no_grad():
        torch.testing.assert_close(mixer(x), MORE_FORMS[name](mixer, x), rtol=1e-9, atol=1e-11)


def windowed(window: int, *, implementation: str, view: View) -> Any:
    torch.manual_seed(0)
    config = SlidingConfig(width=WIDTH, num_heads=NUM_HEADS, window_seconds=window / 50)
    mixer = mixers.load("sliding")(config, implementation=implementation).double().eval()
    mixer.see(view)
    return mixer


def check_window(implementation: str, view: View, window: int, lengths: list[int]) -> None:
    """With and without a mask, each sequence gives what its windows give alone."""
    mixer, x = windowed(window, implementation=implementation, view=view), features(len(lengths), max(lengths) + 2)
    mask = torch.arange(x.shape[1]) < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        torch.testing.assert_close(mixer(x), attention_of_a_window(mixer, x), rtol=1e-9, atol=1e-11)
        y = mixer(x, mask)
        assert (y[~mask] == 0).all()
        for row, length in enumerate(lengths):
            if length:
                alone = attention_of_a_window(mixer, x[row : row + 1, :length])[0]
                torch.testing.assert_close(y[row, :length], alone, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("view", ["past", "clip"])
@pytest.mark.parametrize("implementation", ["reference", "blocks"])
@given(window=st.integers(2, 9), lengths=st.lists(st.integers(0, 23), min_size=1, max_size=2))
@settings(max_examples=10, deadline=None)
def test_a_window_of_any_length(implementation: str, view: View, window: int, lengths: list[int]) -> None:
    check_window(implementation, view, window, lengths)


@pytest.mark.parametrize("view", ["past", "clip"])
def test_a_window_in_flex_attention(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs on a CPU where it is not compiled."""
    from torch.nn.attention.flex_attention import flex_attention

    monkeypatch.setattr(flex, "attention", lambda: flex_attention)
    check_window("flex", view, 4, [11, 7])


@given(window=st.integers(2, 9), frames=st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_arithmetic_of_a_window_counts_its_pairs(window: int, frames: int) -> None:
    for view in ("past", "clip"):
        mixer = windowed(window, implementation="reference", view=view)
        before, after = mixer.span
        pairs = sum(min(t, before) + 1 + min(frames - 1 - t, after) for t in range(frames))
        assert mixer.mixing_flops(batch=2, frames=frames) == 2 * 4 * pairs * WIDTH


def test_seconds_of_a_window_are_frames() -> None:
    assert SlidingConfig().window_frames == 250
    assert dataclasses.replace(SlidingConfig(), window_seconds=0.1).window_frames == 5
