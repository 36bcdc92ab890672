"""The gradient of the logits. The equations and the letters are in `mixers.kernels.lightnet`."""

import triton
import triton.language as tl


@triton.jit
def _next(dlog_decay, end, inside, frames, WIDTH: tl.constexpr):
    """Return dg of the frame after a block; 0 where there is none."""
    row = tl.load(dlog_decay + tl.minimum(end, frames - 1) * WIDTH, mask=inside, other=0.0)
    return tl.where(end < frames, row, 0.0)


@triton.jit
def _step_back(key, dkey, dlog_decay, at, inside, step, dg_next, later):
    """Return k, dk, dg and r of a frame, and what r gives to the frame before it."""
    k_row = tl.load(key + at, mask=inside, other=0.0).to(later.dtype)
    dk_row = tl.load(dkey + at, mask=inside, other=0.0).to(later.dtype)
    dg_row = tl.load(dlog_decay + at, mask=inside, other=0.0).to(later.dtype)
    dg_row = tl.where(step > 0, dg_row, 0.0)
    r = dg_next - dg_row - k_row * dk_row + later
    return k_row, dk_row, dg_row, r, (1.0 - k_row) * r


@triton.jit
def block_gradients_kernel(
    key,  # (B, L, S)
    dkey,  # (B, L, S)
    dlog_decay,  # (B, L, S)
    given,  # (B, L / BLOCK, S), written: what each block gives to r of the frame before it
    passed,  # (B, L / BLOCK, S), written: the share that it passes on of what comes after it
    frames,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    block, sequence = tl.program_id(0), tl.program_id(2).to(tl.int64)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = channels < WIDTH
    end = tl.minimum(block * BLOCK + BLOCK, frames)
    later = tl.zeros((CHANNELS,), dtype=given.dtype.element_ty)
    share = tl.full((CHANNELS,), 1.0, dtype=given.dtype.element_ty)
    dg_next = _next(dlog_decay + sequence * frames * WIDTH + channels, end, inside, frames, WIDTH).to(later.dtype)
    for back in range(end - block * BLOCK):
        step = end - 1 - back
        at = (sequence * frames + step) * WIDTH + channels
        k_row, _, dg_next, _, later = _step_back(key, dkey, dlog_decay, at, inside, step, dg_next, later)
        share *= 1.0 - k_row
    of_block = (sequence * tl.num_programs(0) + block) * WIDTH + channels
    tl.store(given + of_block, later, mask=inside)
    tl.store(passed + of_block, share, mask=inside)


@triton.jit
def additive_decay_backward_kernel(
    key,  # (B, L, S)
    dkey,  # (B, L, S)
    dlog_decay,  # (B, L, S)
    given,  # (B, L / BLOCK, S)
    passed,  # (B, L / BLOCK, S)
    dx,  # (B, L, S), written
    frames,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    block, sequence = tl.program_id(0), tl.program_id(2).to(tl.int64)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = channels < WIDTH
    later = tl.zeros((CHANNELS,), dtype=given.dtype.element_ty)
    for back in range(tl.num_programs(0) - 1 - block):
        of_block = (sequence * tl.num_programs(0) + tl.num_programs(0) - 1 - back) * WIDTH + channels
        share = tl.load(passed + of_block, mask=inside, other=0.0)
        later = tl.load(given + of_block, mask=inside, other=0.0) + share * later

    end = tl.minimum(block * BLOCK + BLOCK, frames)
    dg_next = _next(dlog_decay + sequence * frames * WIDTH + channels, end, inside, frames, WIDTH).to(later.dtype)
    for back in range(end - block * BLOCK):
        step = end - 1 - back
        at = (sequence * frames + step) * WIDTH + channels
        k_row, dk_row, dg_next, r, later = _step_back(key, dkey, dlog_decay, at, inside, step, dg_next, later)
        tl.store(dx + at, (k_row * (dk_row + r)).to(dx.dtype.element_ty), mask=inside)
