"""Kernels of others for the delta rules, without a GPU: what they are called with, and what comes of their results."""

import importlib.metadata
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import mixers
from mixers.base import rms_norm
from mixers.kernels import delta_rules
from mixers.support.recurrences import convolve, delta_rule, unit_length
from tests.mixers.test_contract import features, small

RIVALS = {"kda": "cudnn", "gated_deltanet": "flashqla"}
every_rival = pytest.mark.parametrize("name", RIVALS)


def nvidias(
    q: Tensor, k: Tensor, v: Tensor, log_keep: Tensor, beta: Tensor, starts: Tensor, *, plan_name: str
) -> tuple[Tensor, Tensor]:
    """The frames of all sequences in one row: q and k (N, H, K) of unit length, log gates and beta in float32."""
    assert plan_name == "kda_hopper_cuda"
    assert (starts.dtype, log_keep.dtype, beta.dtype) == (torch.int32, torch.float32, torch.float32)
    assert starts[[0, -1]].tolist() == [0, len(q)]
    assert all(each.is_contiguous() for each in (q, k, v, log_keep, beta))
    torch.testing.assert_close(k.norm(dim=-1), torch.ones_like(k[..., 0]), rtol=1e-4, atol=0)
    one = (each[None] for each in (q * q.shape[-1] ** -0.5, k, v, log_keep, beta[..., None]))
    rows = zip(*(each.split(starts.diff().tolist(), dim=1) for each in one), strict=True)
    return torch.cat([delta_rule(*row)[0] for row in rows]), torch.empty(0)


def qwens(
    q: Tensor, k: Tensor, v: Tensor, log_keep: Tensor, beta: Tensor, *, use_qk_l2norm_in_kernel: bool
) -> tuple[Tensor, None]:
    """Log gates and beta (B, L, H) in float32."""
    assert use_qk_l2norm_in_kernel
    assert (log_keep.dtype, beta.dtype) == (torch.float32, torch.float32)
    q, k = unit_length(q) * q.shape[-1] ** -0.5, unit_length(k)
    return delta_rule(q, k, v, log_keep[..., None], beta[..., None]), None


def log_keep(gate: Tensor, rate: Tensor, bias: Tensor) -> Tensor:
    """The log gate of KDA (B, L, H, K) in float32."""
    return (-rate.exp()[:, None] * F.softplus(gate + bias.view(gate.shape[-2:]))).float()


OPERATORS = {
    "kda": partial(delta_rules.through_cudnn, kernel=nvidias, unit_length=unit_length, log_keep=log_keep),
    "gated_deltanet": partial(delta_rules.through_flashqla, kernel=qwens),
}
OUTPUT_GATES: dict[str, Callable[[Tensor], Tensor]] = {"kda": torch.sigmoid, "gated_deltanet": F.silu}


def test_what_surrounds_nvidias_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ops = ModuleType("cudnn.linear_attention.ops")
    ops.kimi_delta_attention = nvidias  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, ops.__name__, ops)
    assert callable(delta_rules.kda())


def around(reference: Any, name: str) -> Any:
    """A mixer whose layer has the reference's parameters and the library's interface."""
    layer = reference.layer
    own = {each: getattr(layer, each) for each, _ in [*layer.named_children(), *layer.named_parameters(recurse=False)]}

    def convolution(module: Any) -> Callable[[Tensor], tuple[Tensor, None]]:
        return lambda x: (F.silu(convolve(x, module.weight)), None)

    own |= {each: convolution(own[each]) for each in own if each.endswith("_conv1d")}
    own["o_norm"] = lambda o, gate: rms_norm(o, layer.o_norm.weight, eps=1e-5) * OUTPUT_GATES[name](gate)
    return SimpleNamespace(
        layer=SimpleNamespace(**own), config=reference.config, passes=reference.passes, operator=OPERATORS[name]
    )


@every_rival
@pytest.mark.parametrize("view", ["past", "clip"])
def test_the_kernels_inputs_and_results_are_those_of_the_reference(name: str, view: Any) -> None:
    reference = small(name)
    reference.see(view)
    run = type(reference).implementations[RIVALS[name]].run
    assert type(reference).implementations[RIVALS[name]].run_both_ways is run
    mask = torch.arange(6) < torch.tensor([6, 4])[:, None]
    for padding in (None, mask):
        x = features(2, 6).requires_grad_()
        outputs = [run(around(reference, name), x, padding), reference.reference(x, padding)]
        torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-6)
        weights = [x, *reference.parameters()]
        gradients = [torch.autograd.grad(each.square().sum(), weights) for each in outputs]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@every_rival
def test_they_are_for_keys_of_width_128_in_bfloat16_where_they_are_installed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixer, implementation = mixers.load(name), RIVALS[name]
    four, layer = mixer.presets["matched"], mixer.presets["released"]
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "9")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    why_not = partial(mixer.unavailable, implementation, device_type="cuda")
    assert why_not(layer) == why_not(layer, precision="bfloat16") == ""
    assert why_not(layer, precision="native") == "computes in bfloat16, not in native"
    assert why_not(four) == "needs keys of width 128, not 256"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    assert "not 8.0" in why_not(layer)
    assert mixer.defaults(layer) == mixer.defaults(four) == ("fla",)
