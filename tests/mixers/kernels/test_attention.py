"""Kernels of attention by name: what they compute, what they are called with, and that no other takes their place."""

import importlib.metadata
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from mixers.base import MixerConfig, View
from mixers.kernels import attention
from mixers.sa import SoftmaxAttention

CONFIG = MixerConfig(width=16, num_heads=2)


def built(implementation: str, *, view: View = "clip") -> SoftmaxAttention:
    torch.manual_seed(0)
    mixer = SoftmaxAttention(CONFIG, implementation=implementation)
    mixer.see(view)
    return mixer


def why_not(implementation: str, head_width: int = 256, *, device: str = "cuda", precision: str = "bfloat16") -> str:
    config = MixerConfig(width=4 * head_width)
    return SoftmaxAttention.unavailable(implementation, config, device_type=device, precision=precision)


@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=3).filter(any))
@settings(max_examples=20, deadline=None)
def test_a_kernel_without_masks_computes_each_sequence_of_a_padded_batch_alone(lengths: list[int]) -> None:
    generator = torch.Generator().manual_seed(sum(lengths))
    inputs = [torch.randn(len(lengths), 2, 7, 4, generator=generator, dtype=torch.float64) for _ in range(4)]
    visible = (torch.arange(7) < torch.tensor(lengths)[:, None])[:, None, None]  # (B, 1, 1, L)
    real = visible.transpose(-1, -2)  # (B, 1, L, 1)
    operator = attention.without_mask(F.scaled_dot_product_attention)
    q, k, v, upstream = (each.requires_grad_() for each in inputs)
    found = operator(q, k, v, visible, is_causal=False)
    assert not found[~real.expand_as(found)].any()
    with sdpa_kernel(SDPBackend.MATH):
        expected = F.scaled_dot_product_attention(q, k, v, visible) * real
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(each, (q, k, v), upstream * real) for each in (found, expected))
    torch.testing.assert_close(*gradients)


def flash_attn_func(q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> tuple[Tensor, None]:
    """What FlashAttention-4 takes and gives: (B, L, H, K), and the result first."""
    assert q.shape[2:] == k.shape[2:] == v.shape[2:] == (CONFIG.num_heads, CONFIG.head_width)
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    o = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return o.transpose(1, 2), None


@pytest.mark.parametrize("view", ["past", "clip"])
@pytest.mark.parametrize("implementation", ["flash", "fa4"])  # PyTorch's has a form for the CPU
def test_named_kernels_agree_with_the_reference(
    implementation: str, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
    monkeypatch.setitem(sys.modules, "flash_attn.cute", SimpleNamespace(flash_attn_func=flash_attn_func))
    mixer, x = built(implementation, view=view), torch.randn(2, 5, 16)
    mask = torch.arange(5) < torch.tensor([5, 3])[:, None]
    torch.testing.assert_close(mixer(x), mixer.reference(x))
    torch.testing.assert_close(mixer(x, mask), mixer.reference(x, mask))


def test_a_kernel_that_cannot_run_has_no_stand_in() -> None:
    with pytest.raises(RuntimeError, match="No viable backend"):
        built("cudnn")(torch.randn(1, 5, 16))


def test_a_named_kernel_says_why_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not("flash", device="cpu") == why_not("cudnn", device="cpu") == "needs a CUDA GPU"
    assert why_not("flash", precision="float32") == "computes in bfloat16, not in float32"
    assert why_not("sdpa", precision="float32") == ""
    install = "flash-attn-4 is not installed: pip install 'sbench[fa4]'"
    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert why_not("fa4") == install
    assert why_not("fa4", device="cpu") == f"needs a CUDA GPU; {install}"


def missing(name: str) -> str:
    raise importlib.metadata.PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("capability", "head_width", "reason"),
    [
        ((9, 0), 256, ""),
        ((10, 0), 128, ""),
        ((9, 0), 192, "supports no heads of width 192"),
        ((8, 0), 128, "needs compute capability 9.0 or 10.0 or 10.3, not 8.0"),
    ],
)
def test_flash_attention_4_is_for_some_gpus_and_widths(
    capability: tuple[int, int], head_width: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "4.0.0b36")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert why_not("fa4", head_width) == reason


@pytest.mark.parametrize("backend", ["MATH", "FLASH_ATTENTION"])
def test_a_mixer_says_which_kernel_pytorch_chooses(backend: str) -> None:
    x = torch.randn(1, 5, 16)
    with sdpa_kernel(getattr(SDPBackend, backend)):
        assert built("sdpa").kernel(x) == backend.lower().removesuffix("_attention")
    assert [built(each).kernel(x) for each in ("reference", "eager", "flash")] == [""] * 3


def test_attention_is_measured_in_what_it_was_before() -> None:
    assert SoftmaxAttention.defaults(SoftmaxAttention.presets["matched"]) == ("eager", "sdpa")
