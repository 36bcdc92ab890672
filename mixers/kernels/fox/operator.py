"""Causal softmax attention with a forget gate as a differentiable operator on our own Triton kernels.

The equations and the letters are in `mixers.kernels.fox`.
"""

import math
from typing import Any

import torch
import triton
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mixers.kernels import WIDEST
from mixers.kernels.fox.backward import forgetting_attention_dkv_kernel, forgetting_attention_dq_kernel
from mixers.kernels.fox.forward import forgetting_attention_forward_kernel
from mixers.kernels.fox.running_sums import running_sum_kernel
from mixers.support.precision import is_full_float32

_LOG2_E = math.log2(math.e)
_SUM_BLOCK = 2048  # frames that a program sums at a time
_NARROWEST = 16  # width of a head that tensor cores multiply
_ALIGNMENT = 16  # bytes, which TMA asks for


def forgetting_attention(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B L G K"],
    v: Float[Tensor, "B L G K"],
    log_forget: Float[Tensor, "B L H"],
    mask: Bool[Tensor, "B L"] | None = None,
) -> Float[Tensor, "B L H K"]:
    """Return causal attention with a forget gate. It is differentiable by all inputs but the mask.

    Products are computed in the precision set by `mixers.support.precision.use_precision`. Sums and weights are
    float32, or float64 for float64 inputs. Heads are padded with zeros to a power of two.

    Args:
        q: Queries; K is at most `WIDEST`.
        k: Keys; H is a multiple of G, and each head serves H / G heads of queries.
        v: Values.
        log_forget: Logarithms of the forget gates, at most 0.
        mask: True on real frames. The output on padded frames has no meaning.

    Raises:
        ValueError: The kernels do not support the width or the numbers of heads.
    """
    width = q.shape[-1]
    if width > WIDEST:
        raise ValueError(f"heads are {width} wide: the kernels support at most {WIDEST}")
    if q.shape[2] % k.shape[2]:
        raise ValueError(f"{q.shape[2]} heads of queries are no multiple of {k.shape[2]} heads of keys")
    mask = None if mask is None else mask.contiguous()
    missing = max(triton.next_power_of_2(width), _NARROWEST) - width
    if missing:
        q, k, v = (F.pad(each, (0, missing)) for each in (q, k, v))
    q, k, v, log_forget = (each.contiguous() for each in (q, k, v, log_forget))
    o: Tensor = _attend(q, k, v, log_forget, mask, 1 / math.sqrt(width))[0]
    return o[..., :width] if missing else o


@torch.library.custom_op("sbench::forgetting_attention", mutates_args=())
def _attend(
    q: Tensor, k: Tensor, v: Tensor, log_forget: Tensor, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output and, for the gradients, the logsumexps (B, H, L) and the running sums (2, B, H, L)."""
    batch, frames, heads, _ = q.shape
    o, logsumexp, sums = _shapes_of_attend(q)
    q, k, v = _aligned(q, k, v)
    running_sum_kernel[(batch * heads,)](
        log_forget, *sums, frames, _LOG2_E, HEADS=heads, TO_HEADS=True, BLOCK=_SUM_BLOCK, num_warps=8
    )
    forgetting_attention_forward_kernel[lambda meta: (triton.cdiv(frames, meta["ROWS"]), batch * heads)](
        q, k, v, *sums, q if mask is None else mask, o, logsumexp, **_sizes(q, k, mask, scale)
    )
    return o, logsumexp, sums


@_attend.register_fake
def _shapes_of_attend(q: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    batch, frames, heads, _width = q.shape
    dtype = torch.promote_types(q.dtype, torch.float32)
    logsumexp = q.new_empty(batch, heads, frames, dtype=dtype)
    return torch.empty_like(q), logsumexp, q.new_empty(2, batch, heads, frames, dtype=dtype)


@torch.library.custom_op("sbench::forgetting_attention_backward", mutates_args=())
def _attend_backward(
    do: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_forget: Tensor,
    mask: Tensor | None,
    o: Tensor,
    logsumexp: Tensor,
    sums: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys, values and log forget gates."""
    batch, frames, heads, _ = q.shape
    q, k, v, do = _aligned(q, k, v, do.contiguous())
    sizes, padding = _sizes(q, k, mask, scale), q if mask is None else mask
    dq, dlog_forget = torch.empty_like(q), torch.empty_like(log_forget)
    delta, row_sums, column_sums = (torch.empty_like(logsumexp) for _ in range(3))
    forgetting_attention_dq_kernel[lambda meta: (triton.cdiv(frames, meta["ROWS"]), batch * heads)](
        q, k, v, *sums, padding, o, logsumexp, do, dq, delta, row_sums, **sizes
    )
    # where heads of queries share keys and values, their parts are added up below
    parts = [torch.empty_like(q, dtype=q.dtype if heads == k.shape[2] else logsumexp.dtype) for _ in range(2)]
    for part, values in zip(parts, (False, True), strict=True):
        forgetting_attention_dkv_kernel[lambda meta: (triton.cdiv(frames, meta["COLUMNS"]), batch * heads)](
            q, k, v, *sums, padding, logsumexp, delta, do, part, column_sums, VALUES=values, **sizes
        )
    dk, dv = parts if heads == k.shape[2] else (part.view(*k.shape[:3], -1, k.shape[3]).sum(3).to(k) for part in parts)
    running_sum_kernel[(batch * heads,)](
        row_sums - column_sums,
        dlog_forget,
        dlog_forget,
        frames,
        1.0,
        HEADS=heads,
        TO_HEADS=False,
        BLOCK=_SUM_BLOCK,
        num_warps=8,
    )
    return dq, dk, dv, dlog_forget


@_attend_backward.register_fake
def _shapes_of_backward(_: Tensor, *inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    q, k, v, log_forget = inputs[:4]
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), torch.empty_like(log_forget)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.scale = inputs
    ctx.save_for_backward(*tensors, *output)


def _differentiate(context: Any, do: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    return (*_attend_backward(do, *context.saved_tensors, context.scale), None, None)


_attend.register_autograd(_differentiate, setup_context=_keep)


def _aligned(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors that are aligned for TMA, and give Triton an allocator for its descriptors.

    Triton calls the allocator of the current thread while it launches a kernel. A backward pass has its own thread.
    """
    triton.set_allocator(_allocate)
    return tuple(each.clone() if each.data_ptr() % _ALIGNMENT else each for each in tensors)


def _allocate(size: int, _alignment: int, _stream: int | None) -> Tensor:
    return torch.empty(size, dtype=torch.int8, device="cuda")


def _sizes(q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> dict[str, Any]:
    frames, heads, width = q.shape[1:]
    return {
        "frames": frames,
        # short sequences give few programs; smaller tiles give more
        "length_bucket": min(max(triton.next_power_of_2(frames), 512), 8192),
        "scale": _LOG2_E * scale,
        "HEADS": heads,
        "KEY_HEADS": k.shape[2],
        "WIDTH": width,
        "PADDED": mask is not None,
        "PRODUCTS": ("bf16x6" if is_full_float32() else "tf32") if q.dtype == torch.float32 and q.is_cuda else "ieee",
    }
