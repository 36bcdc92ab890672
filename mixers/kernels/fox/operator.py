"""Causal softmax attention with a forget gate as a differentiable operator on our own Triton kernels.

The mathematics, and what the letters mean, is in `mixers.kernels.fox.kernels`.
"""

import math
from typing import Any

import torch
import triton
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mixers.kernels import WIDEST
from mixers.kernels.fox.kernels import (
    forgetting_attention_dkv_kernel,
    forgetting_attention_dq_kernel,
    forgetting_attention_forward_kernel,
    running_sum_kernel,
)
from mixers.support.precision import is_full_float32

_LOG2_E = math.log2(math.e)
_SUM_BLOCK = 2048  # frames that a program sums at a time
_NARROWEST = 16  # head, of what tensor cores multiply
_ALIGNMENT = 16  # bytes, of what a GPU's unit for copies of tiles takes


def forgetting_attention(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B L G K"],
    v: Float[Tensor, "B L G K"],
    log_forget: Float[Tensor, "B L H"],
    mask: Bool[Tensor, "B L"] | None = None,
) -> Float[Tensor, "B L H K"]:
    """Return what each frame takes from those before it and itself; differentiable but for the mask.

    Products are computed as `mixers.support.precision.use_precision` says; sums and weights in float32, or in float64
    of such inputs. Heads are filled up with zeros to a power of two.

    Args:
        q: Queries; K is `WIDEST` at most.
        k: Keys, of which a head serves as many heads of queries as there are to each.
        v: Values.
        log_forget: Logarithms of the forget gates, at most 0.
        mask: True on real frames; what padded ones give is of no use.

    Raises:
        ValueError: A width or a number of heads that the kernels do not know.
    """
    width = q.shape[-1]
    if width > WIDEST:
        raise ValueError(f"heads are {width} wide: the kernels know at most {WIDEST}")
    if q.shape[2] % k.shape[2]:
        raise ValueError(f"{k.shape[2]} heads of keys cannot serve {q.shape[2]} heads of queries alike")
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
    """Return the output, and what the gradients need: the logsumexps (B, H, L) and the running sums (2, B, H, L)."""
    batch, frames, heads, _ = q.shape
    o, logsumexp, sums = _shapes_of_attend(q)
    q, k, v = _ready(q, k, v)
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
    q, k, v, do = _ready(q, k, v, do.contiguous())
    sizes, padding = _sizes(q, k, mask, scale), q if mask is None else mask
    dq, dlog_forget = torch.empty_like(q), torch.empty_like(log_forget)
    delta, row_sums, column_sums = (torch.empty_like(logsumexp) for _ in range(3))
    forgetting_attention_dq_kernel[lambda meta: (triton.cdiv(frames, meta["ROWS"]), batch * heads)](
        q, k, v, *sums, padding, o, logsumexp, do, dq, delta, row_sums, **sizes
    )
    # several heads of queries that share keys and values add up their parts
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


def _ready(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors that kernels can describe to the unit that copies tiles, and give them room for descriptions.

    The room is asked for while a kernel is launched, of whoever the thread has named; a backward pass has its own.
    """
    triton.set_allocator(_room)
    return tuple(each.clone() if each.data_ptr() % _ALIGNMENT else each for each in tensors)


def _room(size: int, _alignment: int, _stream: int | None) -> Tensor:
    return torch.empty(size, dtype=torch.int8, device="cuda")


def _sizes(q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> dict[str, Any]:
    frames, heads, width = q.shape[1:]
    return {
        "frames": frames,
        # short sequences give few programs, which smaller tiles make more of
        "length_bucket": min(max(triton.next_power_of_2(frames), 512), 8192),
        "scale": _LOG2_E * scale,
        "HEADS": heads,
        "KEY_HEADS": k.shape[2],
        "WIDTH": width,
        "PADDED": mask is not None,
        "PRODUCTS": ("bf16x6" if is_full_float32() else "tf32") if q.dtype == torch.float32 and q.is_cuda else "ieee",
    }


operator = forgetting_attention
