"""The gated delta rules' layers around any kernel, and kernels of others: NVIDIA's for KDA, Qwen's for Gated DeltaNet.

An operator maps q and k (B, L, H, K), v (B, L, H, V), gates before their activation, beta before its sigmoid (B, L, H),
`A_log` (H) and `dt_bias` to (B, L, H, V), the first of two results, as flash-linear-attention's do. Those of
others are for heads of width 128. They take the gates that the layer has, which have no lower bound.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mixers.kernels import fla, packages
from mixers.support.reversal import average, mix_both_ways

PRECISIONS = ("bfloat16",)

_WIDTH = 128  # of keys and values
_KDA_PLAN = "kda_hopper_cuda"  # the only one for Hopper with a backward pass; without a name another could be chosen

_Mixed = tuple[Float[Tensor, "B L H V"], None]


def run(
    mixer: Any,
    x: Float[Tensor, "B L D"],
    mask: Bool[Tensor, "B L"] | None,
    *,
    gate: str,
    by_channel: bool,
) -> Float[Tensor, "B L D"]:
    """Run the library's convolutions and the mixer's operator between the projections, one way or both.

    Args:
        mixer: KDA or Gated DeltaNet, with the library's layer.
        x: Its input.
        mask: Which frames are real; None for all.
        gate: The name of the layer's projection to the forget gates.
        by_channel: Whether each key channel has a gate of its own, rather than each head.
    """
    layer = mixer.layer

    def in_heads(channels: Tensor) -> Tensor:
        return channels.unflatten(-1, (mixer.config.num_heads, -1))  # type: ignore[no-any-return]

    def attend(q: Tensor, k: Tensor, v: Tensor, gates: Tensor, beta: Tensor) -> Tensor:
        q, k, v = map(in_heads, (q, k, v))  # (B, L, H, K), V for the values
        gates = in_heads(gates) if by_channel else gates  # (B, L, H, K) or (B, L, H)
        o: Tensor = mixer.operator(q, k, v, gates, beta, A_log=layer.A_log, dt_bias=layer.dt_bias)[0]
        return o

    def mix(q: Tensor, k: Tensor, v: Tensor, gates: Tensor, beta: Tensor) -> Tensor:
        return attend(layer.q_conv1d(q)[0], layer.k_conv1d(k)[0], layer.v_conv1d(v)[0], gates, beta)

    to_gates = getattr(layer, gate)
    outputs: tuple[Tensor, ...]
    if mixer.passes == 1:
        # each projection is free once it is convolved
        q, k, v = (getattr(layer, f"{name}_conv1d")(getattr(layer, f"{name}_proj")(x))[0] for name in "qkv")
        outputs = (attend(q, k, v, to_gates(x), layer.b_proj(x)),)
    else:
        inputs = [p(x) for p in (layer.q_proj, layer.k_proj, layer.v_proj, to_gates, layer.b_proj)]
        outputs = mix_both_ways(mix, inputs, mask)
    output_gate = in_heads(layer.g_proj(x))  # (B, L, H, V)
    normed = [layer.o_norm(o, output_gate) for o in outputs]
    o = normed[0] if mixer.passes == 1 else average(*normed)
    y: Tensor = layer.o_proj(o.flatten(2))
    return y if mask is None else y * mask[..., None]


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
    return _unavailable("cudnn", key_width, device_type, capabilities=((9, 0),))


def gated_unavailable(key_width: int, device_type: str) -> str:
    """Return why FlashQLA cannot run on ``cpu`` or ``cuda``, for keys of a width; empty if it can."""
    capabilities = ((9, 0), (10, 0), (10, 3))
    return _unavailable("flashqla", key_width, device_type, capabilities=capabilities)


def _unavailable(extra: str, key_width: int, device_type: str, *, capabilities: tuple[tuple[int, int], ...]) -> str:
    reasons = ["" if key_width == _WIDTH else f"needs keys of width {_WIDTH}, not {key_width}"]
    reasons.append(fla.unavailable(None, "cuda"))
    reasons.append(packages.unavailable(extra, device_type, capabilities=capabilities))
    return "; ".join(filter(None, reasons))
