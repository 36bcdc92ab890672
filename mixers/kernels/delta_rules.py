"""Kernels of others for the delta rules: NVIDIA's for KDA, and Qwen's for Gated DeltaNet.

An operator maps q and k (B, L, H, K), v (B, L, H, V), gates before their activation, beta before its sigmoid (B, L, H),
`A_log` (H) and `dt_bias` to (B, L, H, V), the first of two results, as flash-linear-attention's do. Both are for heads
of width 128. They take the gates that the layer has, which have no lower bound.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mixers.kernels import fla, packages

PRECISIONS = ("bfloat16",)

_WIDTH = 128  # of keys and values
_KDA_PLAN = "kda_hopper_cuda"  # the only one for Hopper with a backward pass; without a name another could be chosen

_Mixed = tuple[Float[Tensor, "B L H V"], None]


def kda() -> Callable[..., _Mixed]:
    """Return the KDA of nvidia-cudnn-frontend for Hopper. It compiles when it is first called.

    In inference it divides a sequence into pieces and computes them side by side. Each piece begins so far back that
    every channel has forgotten what was before. So its time depends on the gates: where one channel of a head remembers
    long, every piece begins at the first frame. Its authors tested log gates down to -5 a frame.
    """
    fla.layers()
    return partial(
        through_cudnn,
        kernel=importlib.import_module("cudnn.linear_attention.ops").kimi_delta_attention,
        unit_length=fla.function("modules.norm.l2norm", "l2norm"),
        log_keep=fla.function("ops.kda.gate", "fused_kda_gate"),
    )


def through_cudnn(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B L H K"],
    v: Float[Tensor, "B L H V"],
    gate: Float[Tensor, "B L H K"],
    beta: Float[Tensor, "B L H"],
    *,
    A_log: Float[Tensor, " H"],  # noqa: N803
    dt_bias: Float[Tensor, " HK"],
    kernel: Callable[..., Any],
    unit_length: Callable[[Tensor], Tensor],
    log_keep: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> _Mixed:
    """Call `kernel` on the frames of all sequences in one row. It takes log gates and beta in float32.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        gate: Before its activation.
        beta: Before its sigmoid.
        A_log: Logarithm of the rate of each head.
        dt_bias: Added to the gate.
        kernel: ``cudnn.linear_attention.ops.kimi_delta_attention``.
        unit_length: Divides vectors by their lengths.
        log_keep: The logarithm of what a frame keeps, of the gate, `A_log` and `dt_bias`.
    """
    batch, frames = q.shape[:2]
    inputs = unit_length(q), unit_length(k), v, log_keep(gate, A_log, dt_bias), beta.float().sigmoid()
    starts = torch.arange(0, (batch + 1) * frames, frames, dtype=torch.int32, device=q.device)  # (B + 1)
    o: Tensor = kernel(*(each.flatten(0, 1) for each in inputs), starts, plan_name=_KDA_PLAN)[0]  # (B L, H, V)
    return o.unflatten(0, (batch, frames)), None


def gated() -> Callable[..., _Mixed]:
    """Return FlashQLA's gated delta rule, of the package flash-qla. It compiles when it is first called."""
    return partial(through_flashqla, kernel=importlib.import_module("flash_qla").chunk_gated_delta_rule)


def through_flashqla(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B L H K"],
    v: Float[Tensor, "B L H V"],
    gate: Float[Tensor, "B L H"],
    beta: Float[Tensor, "B L H"],
    *,
    A_log: Float[Tensor, " H"],  # noqa: N803
    dt_bias: Float[Tensor, " H"],
    kernel: Callable[..., Any],
) -> _Mixed:
    """Call `kernel`, which takes log gates and beta in float32.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        gate: Before its activation.
        beta: Before its sigmoid.
        A_log: Logarithm of the rate of each head.
        dt_bias: Added to the gate.
        kernel: ``flash_qla.chunk_gated_delta_rule``.
    """
    log_keep = -A_log.float().exp() * F.softplus(gate.float() + dt_bias.float())  # (B, L, H)
    o: Tensor = kernel(q, k, v, log_keep, beta.float().sigmoid(), use_qk_l2norm_in_kernel=True)[0]
    return o, None


def kda_unavailable(key_width: int, device_type: str) -> str:
    """Return why NVIDIA's KDA cannot run on ``cpu`` or ``cuda``, for keys of a width; empty if it can."""
    return _unavailable("nvidia-cudnn-frontend", key_width, device_type, extra="cudnn", capabilities=((9, 0),))


def gated_unavailable(key_width: int, device_type: str) -> str:
    """Return why FlashQLA cannot run on ``cpu`` or ``cuda``, for keys of a width; empty if it can."""
    capabilities = ((9, 0), (10, 0), (10, 3))
    return _unavailable("flash-qla", key_width, device_type, extra="flashqla", capabilities=capabilities)


def _unavailable(
    distribution: str, key_width: int, device_type: str, *, extra: str, capabilities: tuple[tuple[int, int], ...]
) -> str:
    reasons = ["" if key_width == _WIDTH else f"needs keys of width {_WIDTH}, not {key_width}"]
    reasons.append(fla.unavailable(None, "cuda"))
    reasons.append(packages.unavailable(distribution, device_type, extra=extra, capabilities=capabilities))
    return "; ".join(filter(None, reasons))
