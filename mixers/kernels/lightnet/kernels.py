"""LightNet's keys and decays from the logits of its keys, as Triton kernels that work on all of time at once.

Letters: B batch, L frames, S channels: the key widths of all heads side by side. For each channel, with the logits x,

    z_t = log(exp x_1 + ... + exp x_t)                 the running total, on a log scale
    k_t = exp(x_t - z_t)                               the share of a frame, its key
    g_t = z_{t-1} - z_t                                the log decay of what came before, 0 for the first frame

Source: Qin et al. 2024, "You Only Scan Once", arXiv 2405.21022, section 3. Step by step, with d = x_t - z_{t-1}, that
is k_t = sigmoid(d) and z_t = z_{t-1} + softplus(d), which lose no digits and cannot overflow.
The gradients, from dk and dg, need nothing but the keys, since exp(g_t) = 1 - k_t:

    dz_t = dg_{t+1} - dg_t - k_t dk_t                  without the dg of the first frame and of one after the last
    dx_t = k_t (dk_t + r_t),   r_t = sum_{s >= t} dz_s exp(z_t - z_s) = dz_t + (1 - k_{t+1}) r_{t+1}

**Blocks.** Both recurrences go over time in blocks of BLOCK frames, all blocks at once: one kernel leaves what a block
gives in all, a second one starts each block from what the others give, and walks through it. A thread walks alone,
neighbours in neighbouring channels, so every step reads and writes whole rows; among blocks enough threads are at it to
hide each other's waiting. Longer blocks walk longer, shorter ones leave more totals for the second kernel to read: 128
frames from 4,096 frames on, else 32. Of 32 to 256 frames, 32 to 256 channels and 1 to 4 warps these, with 64 channels
and one warp, took least forward at 19,999 frames of 1024 channels on an H200. Beside inputs and outputs only the totals
are stored, S for each block.
"""

import triton
import triton.language as tl

CHANNELS = 64  # of a program, two to a thread of its single warp

_NOTHING = tl.constexpr(-1e30)  # stands for the logarithm of 0, but has differences
_LEAST = tl.constexpr(-17.328679513998633)  # log of 2^-25, a decay that leaves nothing in float32


@triton.jit
def _load(x, at, inside, totals):
    """Return logits in the type of the totals, -inf as a number that has differences."""
    return tl.maximum(tl.load(x + at, mask=inside, other=_NOTHING).to(totals.dtype.element_ty), _NOTHING)


@triton.jit
def _log_sum(x, start, end, channels, totals, WIDTH: tl.constexpr):
    """Return log(exp x_start + ... + exp x_(end - 1)) of each channel, (CHANNELS,), 16 rows at a time."""
    most = tl.full(channels.shape, _NOTHING, dtype=totals.dtype.element_ty)
    rest = tl.zeros(channels.shape, dtype=totals.dtype.element_ty)
    for first in range(start, end, 16):
        rows = first + tl.arange(0, 16)
        inside = (rows[:, None] < end) & (channels[None, :] < WIDTH)
        tile = _load(x, rows[:, None] * WIDTH + channels[None, :], inside, totals)
        more = tl.maximum(most, tl.max(tile, 0))
        rest = rest * tl.exp(most - more) + tl.sum(tl.exp(tile - more[None, :]), 0)
        most = more
    # the logarithm of many nothings would be a little more than nothing
    return tl.where(most == _NOTHING, _NOTHING, most + tl.log(rest))


@triton.jit
def block_totals_kernel(
    x,  # (B, L, S)
    totals,  # (B, L / BLOCK, S), written: log of the sum of exp x over each block
    frames,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    block, sequence = tl.program_id(0), tl.program_id(2).to(tl.int64)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    rows, start = x + sequence * frames * WIDTH, block * BLOCK
    total = _log_sum(rows, start, tl.minimum(start + BLOCK, frames), channels, totals, WIDTH)
    tl.store(totals + (sequence * tl.num_programs(0) + block) * WIDTH + channels, total, mask=channels < WIDTH)


@triton.jit
def _log1p(e):
    """Return log(1 + e) for 0 <= e <= 1, to the last digits: GPUs' own logarithms have few near 1."""
    # log(1 + e) / e, interpolated at the ten Chebyshev points of [0, 1]: off by 6e-9
    share = -3.176057053e-03 * e + 1.954252744e-02
    share = share * e - 5.637361321e-02
    share = share * e + 1.054362384e-01
    share = share * e - 1.526966710e-01
    share = share * e + 1.966327427e-01
    share = share * e - 2.495161627e-01
    share = share * e + 3.332971050e-01
    share = share * e - 4.999989265e-01
    share = share * e + 9.999999947e-01
    return share * e


@triton.jit
def additive_decay_forward_kernel(
    x,  # (B, L, S)
    totals,  # (B, L / BLOCK, S)
    key,  # (B, L, S), written
    log_decay,  # (B, L, S), written
    frames,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    block, sequence = tl.program_id(0), tl.program_id(2).to(tl.int64)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    z = _log_sum(totals + sequence * tl.num_programs(0) * WIDTH, 0, block, channels, totals, WIDTH)

    for step in range(block * BLOCK, tl.minimum(block * BLOCK + BLOCK, frames)):
        at = (sequence * frames + step) * WIDTH + channels
        x_row = _load(x, at, channels < WIDTH, totals)
        d = x_row - z
        e = tl.exp(-tl.abs(d))
        softplus_less = _log1p(e)  # softplus(d) - max(d, 0)
        real = x_row != _NOTHING
        k_row = tl.where(real, tl.where(d > 0.0, 1.0, e) / (1.0 + e), 0.0)
        g_row = tl.where(real & (step > 0), tl.maximum(-tl.maximum(d, 0.0) - softplus_less, _LEAST), 0.0)
        z = tl.where(real, tl.maximum(x_row, z) + softplus_less, z)
        tl.store(key + at, k_row.to(key.dtype.element_ty), mask=channels < WIDTH)
        tl.store(log_decay + at, g_row.to(log_decay.dtype.element_ty), mask=channels < WIDTH)


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
