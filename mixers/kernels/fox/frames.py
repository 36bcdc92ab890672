"""How a program finds the frames of its head, and loads tiles of them.

From sm_90 on, a unit of its own copies tiles into shared memory (TMA). A program describes a head's frames to it, which
saves the registers for their addresses. The unit fills in zeros beyond the last frame. In full float32 tiles are loaded
by address: they have to pass through registers to be split into parts, and with TMA all kernels took twice as long.
"""

import triton
import triton.language as tl


@triton.jit
def prologue(
    q,
    k,
    v,
    high,
    low,
    frames,
    HEADS: tl.constexpr,
    KEY_HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    PRODUCTS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Return what every kernel begins with.

    Returns:
        The program's sequence; its head of queries; the offset of that head in (B, H, L); the head's running sums, in
        two parts; and what `load_tile` loads the queries, keys and values from.
    """
    sequence = (tl.program_id(1) // HEADS).to(tl.int64)
    head = tl.program_id(1) % HEADS
    key_head = head // (HEADS // KEY_HEADS)
    by_head = (sequence * HEADS + head) * frames
    queries = head_frames(q, sequence, head, frames, HEADS, WIDTH, ROWS, PRODUCTS)
    keys = head_frames(k, sequence, key_head, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
    values = head_frames(v, sequence, key_head, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
    return sequence, head, by_head, high + by_head, low + by_head, queries, keys, values


@triton.jit
def head_frames(
    x, sequence, head, frames, HEADS: tl.constexpr, WIDTH: tl.constexpr, EXTENT: tl.constexpr, PRODUCTS: tl.constexpr
):
    """Return what `load_tile` loads the frames of a head from, EXTENT at a time: a descriptor, or an address."""
    first = x + first_element(sequence, head, frames, HEADS, WIDTH)
    if PRODUCTS != "bf16x6":
        first = tl.make_tensor_descriptor(
            first, shape=[frames, WIDTH], strides=[HEADS * WIDTH, 1], block_shape=[EXTENT, WIDTH]
        )
    return first


@triton.jit
def load_tile(
    of_head, first, frames, HEADS: tl.constexpr, WIDTH: tl.constexpr, EXTENT: tl.constexpr, PRODUCTS: tl.constexpr
):
    """Load some frames of a head, (EXTENT, WIDTH), with zeros beyond the last frame."""
    if PRODUCTS == "bf16x6":
        at = first + tl.arange(0, EXTENT)
        tile = tl.load(of_head + elements(0, at, HEADS, WIDTH), mask=at[:, None] < frames, other=0.0)
    else:
        tile = of_head.load([first, 0])
    return tile


@triton.jit
def first_element(sequence, head, frames, HEADS: tl.constexpr, WIDTH: tl.constexpr):
    """Return the offset of a head's first element in (B, L, HEADS, WIDTH)."""
    return (sequence * frames * HEADS + head) * WIDTH


@triton.jit
def elements(start, at, HEADS: tl.constexpr, WIDTH: tl.constexpr):
    """Return the offsets of the frames `at` of a head whose first element is at `start`, (at, WIDTH)."""
    return start + at[:, None] * (HEADS * WIDTH) + tl.arange(0, WIDTH)[None, :]


@triton.jit
def is_real(mask, at, frames):
    """Tell which frames are real, not padding."""
    return tl.load(mask + at, mask=at < frames, other=0) != 0
