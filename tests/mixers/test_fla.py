"""Each reference against flash-linear-attention: its own plain functions, and its parameters' names and shapes."""

import dataclasses
import importlib
import warnings
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import mixers
from mixers.retnet import _rotate
from mixers.support.recurrences import convolve, unit_length
from tests.mixers.test_contract import NUM_HEADS, features, small
from tests.mixers.test_equations import normalised

FRAMES = 64  # flash-linear-attention's chunked delta rule takes only multiples of it


def library(name: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that Triton finds no GPU
        return importlib.import_module(f"fla.{name}")


def heads(projected: Tensor) -> Tensor:
    """(B, L, H W) -> (B, L, H, W), the library's order."""
    return projected.unflatten(-1, (NUM_HEADS, -1))


def retention(layer: Any, x: Tensor) -> Tensor:
    q, k, v = _rotate(heads(layer.q_proj(x))), _rotate(heads(layer.k_proj(x))), heads(layer.v_proj(x))
    naive = library("ops.retention.naive").naive_retention
    o = naive(*(z.transpose(1, 2) for z in (q, k, v))).transpose(1, 2)
    o = normalised(o, layer.g_norm_swish_gate.weight, 1e-5) * F.silu(heads(layer.g_proj(x)))
    return layer.o_proj(o.flatten(2))


def lightnet(layer: Any, x: Tensor) -> Tensor:
    logit = heads(layer.k_proj(x))
    total = logit.logcumsumexp(1)
    log_decay = F.pad(total, (0, 0, 0, 0, 1, 0))[:, :-1] - total
    naive = library("ops.gla.naive").naive_recurrent_gla
    o, _ = naive(F.silu(heads(layer.q_proj(x))), (logit - total).exp(), heads(layer.v_proj(x)), log_decay)
    return layer.o_proj(normalised(o.flatten(2), layer.g_norm.weight, 1e-6) * F.silu(layer.g_proj(x)))


def slots(layer: Any, x: Tensor) -> Tensor:
    log_keep = F.logsigmoid(heads(layer.f_proj(x))) / 8
    q, k, v = (F.silu(heads(p(x))) for p in (layer.q_proj, layer.k_proj, layer.v_proj))
    naive = library("ops.gsa.naive").naive_recurrent_gsa
    o, _ = naive(q, k, v, 1 - log_keep.exp(), log_keep, scale=1.0)
    return layer.o_proj(normalised(F.silu(o.flatten(2)), layer.g_norm.weight, 1e-5))


def forgetting(layer: Any, x: Tensor) -> Tensor:
    naive = library("ops.forgetting_attn.naive").naive_forgetting_attn
    q, k, v = (heads(p(x)) for p in (layer.q_proj, layer.k_proj, layer.v_proj))
    return layer.o_proj(naive(q, k, v, F.logsigmoid(layer.f_proj(x))).flatten(2))


def delta_rule(layer: Any, x: Tensor, *, form: str) -> Tensor:
    q, k, v = convolved(layer, x)
    log_keep = library("ops.kda.gate").naive_kda_gate(heads(layer.f_proj(x)), layer.A_log, layer.dt_bias)
    naive = getattr(library("ops.kda.naive"), f"naive_{form}_kda")
    o, _ = naive(unit_length(q), unit_length(k), v, log_keep, layer.b_proj(x).sigmoid())
    o = normalised(o, layer.o_norm.weight, 1e-5) * heads(layer.g_proj(x)).sigmoid()
    return layer.o_proj(o.flatten(2))


def convolved(layer: Any, x: Tensor) -> list[Tensor]:
    projections = ((layer.q_proj, layer.q_conv1d), (layer.k_proj, layer.k_conv1d), (layer.v_proj, layer.v_conv1d))
    return [heads(F.silu(convolve(proj(x), conv.weight))) for proj, conv in projections]


def gated_delta_rule(layer: Any, x: Tensor) -> Tensor:
    q, k, v = convolved(layer, x)
    log_keep = library("ops.gated_delta_rule.gate").naive_gdn_gate(layer.a_proj(x), layer.A_log, layer.dt_bias)
    naive = library("ops.gated_delta_rule.naive").naive_recurrent_gated_delta_rule
    o, _ = naive(unit_length(q), unit_length(k), v, layer.b_proj(x).sigmoid(), log_keep)
    return layer.o_proj((normalised(o, layer.o_norm.weight, 1e-5) * F.silu(heads(layer.g_proj(x)))).flatten(2))


def plain_delta_rule(layer: Any, x: Tensor) -> Tensor:
    q, k, v = convolved(layer, x)
    naive = library("ops.delta_rule.naive").delta_rule_recurrence
    inputs = (z.transpose(1, 2) for z in (unit_length(q), unit_length(k), v, layer.b_proj(x).sigmoid()))
    o = naive(*inputs)[0].transpose(1, 2)
    return layer.o_proj(normalised(o, layer.o_norm.weight, 1e-5).flatten(2))


def gated_linear(layer: Any, x: Tensor) -> Tensor:
    naive = library("ops.gla.naive").naive_recurrent_gla
    q, k, v = (heads(p(x)) for p in (layer.q_proj, layer.k_proj, layer.v_proj))
    o, _ = naive(q, k, v, F.logsigmoid(heads(layer.gk_proj(x))) / 16)
    o = normalised(o, layer.g_norm_swish_gate.weight, 1e-5) * F.silu(heads(layer.g_proj(x)))
    return layer.o_proj(o.flatten(2))


def state_space(layer: Any, x: Tensor) -> Tensor:
    """The library's own layer in plain PyTorch, which it runs where mamba-ssm is missing."""
    theirs = library("layers").Mamba2(hidden_size=x.shape[-1], head_dim=2 * x.shape[-1] // NUM_HEADS, chunk_size=16)
    theirs.act = F.silu  # the library's has a kernel
    theirs.norm = GatedNorm(layer.norm.weight.numel())
    theirs.load_state_dict(layer.state_dict())
    return theirs.torch_forward(x)[0]


class GatedNorm(torch.nn.RMSNorm):
    """The library's, without its kernel."""

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:  # type: ignore[override]
        return normalised(x * F.silu(gate), self.weight, 1e-5)


NAIVE = {
    "retnet": retention,
    "lightnet": lightnet,
    "gsa": slots,
    "fox": forgetting,
    "kda-recurrent": lambda layer, x: delta_rule(layer, x, form="recurrent"),
    "kda-chunk": lambda layer, x: delta_rule(layer, x, form="chunk"),
    "gated_deltanet": gated_delta_rule,
    "deltanet": plain_delta_rule,
    "gla": gated_linear,
    "mamba2": state_space,
}


@pytest.mark.parametrize("case", NAIVE)
def test_reference_equals_the_library_s_plain_function(case: str) -> None:
    """In float32, since those functions compute any input in it."""
    mixer, x = small(case.partition("-")[0]).float(), features(2, FRAMES).float()
    with torch.no_grad():
        torch.testing.assert_close(mixer(x), NAIVE[case](mixer.layer, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("preset", ["matched", "released"])
@pytest.mark.parametrize("name", [name for name in mixers.names() if "fla" in mixers.load(name).implementations])
def test_the_library_s_layer_has_the_reference_s_parameters(name: str, preset: str) -> None:
    """So a checkpoint of one loads into the other, and both have the same count."""
    library("layers")
    mixer = mixers.load(name)
    config = dataclasses.replace(mixer.presets[preset], width=128)
    shapes = [
        {key: (tuple(value.shape), value.dtype) for key, value in mixer(config, implementation=i).named_parameters()}
        for i in ("reference", "fla")
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", [name for name in mixers.names() if "fla" in mixers.load(name).implementations])
def test_a_seed_gives_the_library_s_layer_the_reference_s_weights(name: str) -> None:
    """And leaves the modules that are built next theirs. So models of one seed differ in the kernels alone."""
    library("layers")
    mixer = mixers.load(name)
    config = dataclasses.replace(mixer.presets["matched"], width=128)
    drawn = []
    for implementation in ("reference", "fla"):
        torch.manual_seed(0)
        drawn.append({**mixer(config, implementation=implementation).state_dict(), "next": torch.rand(3)})
    torch.testing.assert_close(drawn[1], drawn[0])
