"""Keys and log decays from logits. The equations and the letters are in `mixers.kernels.lightnet`."""

import triton
import triton.language as tl

_NOTHING = tl.constexpr(-1e30)  # stands for the logarithm of 0; unlike -inf, it has differences
_LEAST = tl.constexpr(-17.328679513998633)  # log of 2^-25, a decay that leaves nothing in float32


@triton.jit
def _load(x, at, inside, totals):
    """Return logits in the type of the totals, with -inf replaced by a number that has differences."""
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
    # the sum of many such numbers would be a little more
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
