"""Running sums of the log forget gates, and their differences.

Over 20,000 frames the sums grow so large that float32 cannot resolve the difference between neighbouring frames. They
are therefore summed in float64, and each is stored as two float32 parts, high and low. Differences of these are exact
where they matter. On the diagonal they are taken frame by frame. Elsewhere both frames are taken relative to one frame
of the tile, its first row or its last column: a frame that is far from that one in c has no weight.

All sums are in units of log 2, for exp2.
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["frames"])
def running_sum_kernel(
    x,  # (B, L, H), or (B, H, L) if not TO_HEADS
    high,  # (B, H, L), or (B, L, H) if not TO_HEADS
    low,  # (B, H, L)
    frames,
    factor,
    HEADS: tl.constexpr,
    TO_HEADS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Sum over time in float64: if TO_HEADS from the first frame on, in two parts; otherwise from the last one back."""
    sequence = (tl.program_id(0) // HEADS).to(tl.int64)
    head = tl.program_id(0) % HEADS
    by_frame = sequence * frames * HEADS + head
    by_head = (sequence * HEADS + head) * frames
    total = tl.zeros((), dtype=tl.float64)
    for start in range(0, frames, BLOCK):
        step = start + tl.arange(0, BLOCK)
        inside = step < frames
        if TO_HEADS:
            value = tl.load(x + by_frame + step.to(tl.int64) * HEADS, mask=inside, other=0.0).to(tl.float64) * factor
            # a log gate of -inf would make all later sums -inf; this forgets as much
            c = total + tl.cumsum(tl.maximum(value, -1e5), 0)
            c_high = c.to(high.dtype.element_ty)
            tl.store(high + by_head + step, c_high, mask=inside)
            tl.store(low + by_head + step, (c - c_high.to(tl.float64)).to(low.dtype.element_ty), mask=inside)
            total += tl.sum(tl.maximum(value, -1e5), 0)
        else:
            at = frames - 1 - step
            value = tl.load(x + by_head + at, mask=inside, other=0.0).to(tl.float64)
            c = total + tl.cumsum(value, 0)
            tl.store(high + by_frame + at.to(tl.int64) * HEADS, c.to(high.dtype.element_ty), mask=inside)
            total += tl.sum(value, 0)


@triton.jit
def differences(high, low, at, high_base, low_base, frames):
    """Return c[at] - c_base, from the two parts of each."""
    inside = at < frames
    from_high = tl.load(high + at, mask=inside, other=0.0) - high_base
    return from_high + (tl.load(low + at, mask=inside, other=0.0) - low_base)


@triton.jit
def pairwise_differences(high, low, rows, columns, frames):
    """Return c_i - c_j of a tile, as exact as the sums themselves, (ROWS, COLUMNS)."""
    high_i = tl.load(high + rows, mask=rows < frames, other=0.0)
    high_j = tl.load(high + columns, mask=columns < frames, other=0.0)
    low_i = tl.load(low + rows, mask=rows < frames, other=0.0)
    low_j = tl.load(low + columns, mask=columns < frames, other=0.0)
    return (high_i[:, None] - high_j[None, :]) + (low_i[:, None] - low_j[None, :])
