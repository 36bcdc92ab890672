"""Kernels of softmax attention by name: PyTorch's, which otherwise chooses by itself, and FlashAttention-4.

An operator maps q, k and v (B, H, L, K), what is visible (B, 1, 1, L) or None, and whether it is causal to
(B, H, L, K). Where it cannot run it raises an error: no other kernel takes its place.
"""

import importlib
from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mixers.kernels import packages

PRECISIONS = ("bfloat16",)

_WIDEST_FLASH_4, _WIDE_FLASH_4 = 128, 256  # any width of a head up to the first, and the second

_Heads = Float[Tensor, "B H L K"]


def of_torch(name: Literal["flash", "cudnn"]) -> Callable[..., _Heads]:
    """Return PyTorch's scaled dot-product attention in one of its kernels.

    Choosing it takes the host some microseconds in each call, which single calls show and the GPU's time does not.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    backend = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}[name]

    def attend(q: _Heads, k: _Heads, v: _Heads, *, is_causal: bool) -> _Heads:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=is_causal)

    return without_mask(attend)


def chosen(q: _Heads, k: _Heads, v: _Heads, *, is_causal: bool) -> str:
    """Return the kernel that PyTorch itself takes: ``cudnn``, ``flash``, ``efficient`` or ``math``."""
    from torch.nn.attention import SDPBackend

    choice: str = SDPBackend(torch._fused_sdp_choice(q, k, v, is_causal=is_causal)).name
    return choice.lower().removesuffix("_attention")


def of_torch_unavailable(name: Literal["flash", "cudnn"], head_width: int, device_type: str) -> str:
    """Return why PyTorch cannot use a kernel on ``cpu`` or ``cuda``, for heads of a width; empty if it can."""
    if device_type != "cuda":
        return "needs a CUDA GPU"
    if not torch.cuda.is_available():
        return ""
    from torch.backends.cuda import SDPAParams, can_use_cudnn_attention, can_use_flash_attention

    q = torch.empty(1, 1, 64, head_width, dtype=torch.bfloat16, device="cuda")
    can_use = {"flash": can_use_flash_attention, "cudnn": can_use_cudnn_attention}[name]
    return (
        "" if can_use(SDPAParams(q, q, q, None, 0.0, False, False)) else f"PyTorch has none at {head_width} a head here"
    )


def flash_4() -> Callable[..., _Heads]:
    """Return FlashAttention-4, arXiv 2603.05451, of the package flash-attn-4. It compiles when it is first called."""
    function: Callable[..., Any] = importlib.import_module("flash_attn.cute").flash_attn_func

    def attend(q: _Heads, k: _Heads, v: _Heads, *, is_causal: bool) -> _Heads:
        o: Tensor = function(*(each.transpose(1, 2) for each in (q, k, v)), causal=is_causal)[0]  # (B, L, H, K)
        return o.transpose(1, 2)

    return without_mask(attend)


def flash_4_unavailable(head_width: int, device_type: str) -> str:
    """Return why FlashAttention-4 cannot run on ``cpu`` or ``cuda``, for heads of a width; empty if it can."""
    fits = head_width % 8 == 0 and (head_width <= _WIDEST_FLASH_4 or head_width == _WIDE_FLASH_4)
    return packages.unavailable("fa4", device_type, capabilities=((9, 0), (10, 0), (10, 3))) or (
        "" if fits else f"supports no heads of width {head_width}"
    )


def without_mask(attend: Callable[..., _Heads]) -> Callable[..., _Heads]:
    """Return an operator around a kernel that takes no mask: each sequence of a padded batch is computed alone.

    It then waits for the GPU, to know the lengths.
    """

    def operator(
        q: _Heads, k: _Heads, v: _Heads, visible: Bool[Tensor, "B 1 1 L"] | None, *, is_causal: bool
    ) -> _Heads:
        if visible is None:
            return attend(q, k, v, is_causal=is_causal)
        o = torch.zeros_like(v)
        for row, real in enumerate(visible[:, 0, 0]):  # (L,)
            if real.any():
                alone = slice(row, row + 1), slice(None), real
                o[alone] = attend(q[alone], k[alone], v[alone], is_causal=is_causal)
        return o

    return operator
