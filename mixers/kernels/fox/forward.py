"""The forward pass. The equations and the letters are in `mixers.kernels.fox`.

Tiles wholly in the past need no causal mask, so the diagonal has a loop of its own. It comes second: if it came first,
the compiler for sm_90 would wait for each product of the other loop. The longest programs start first.
"""

import triton
import triton.language as tl

from mixers.kernels.fox.frames import elements, first_element, is_real, load_tile, prologue
from mixers.kernels.fox.products import add_product
from mixers.kernels.fox.running_sums import differences, pairwise_differences
from mixers.kernels.fox.tiles import FORWARD, autotune_options


@triton.jit
def _softmax_step(s, v_tile, o_sum, weight, maximum, PADDED: tl.constexpr, PRODUCTS: tl.constexpr):
    """Add a tile of scores to the sums of weighted values and of weights, which are relative to the maximum."""
    new_maximum = tl.maximum(maximum, tl.max(s, 1))
    # the sums of a row that has met only padding stay zero
    reference = tl.where(new_maximum == float("-inf"), 0.0, new_maximum) if PADDED else new_maximum
    p = tl.exp2(s - reference[:, None])
    shrink = tl.exp2(maximum - reference)
    o_sum = add_product(p, v_tile, o_sum * shrink[:, None], PRODUCTS)
    return o_sum, weight * shrink + tl.sum(p, 1), new_maximum


@triton.autotune(**autotune_options(FORWARD))
@triton.jit(do_not_specialize=["frames", "length_bucket"])
def forgetting_attention_forward_kernel(
    q,  # (B, L, H, K)
    k,  # (B, L, G, K)
    v,  # (B, L, G, K)
    high,  # (B, H, L)
    low,  # (B, H, L)
    mask,  # (B, L)
    o,  # (B, L, H, K), written
    logsumexp,  # (B, H, L), written: log2 of the sum of exp2(s_ij)
    frames,
    length_bucket,  # unused: the autotuner chooses anew for each
    scale,
    HEADS: tl.constexpr,
    KEY_HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    PRODUCTS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    first_row = (tl.num_programs(0) - 1 - tl.program_id(0)) * ROWS
    sequence, head, by_head, high, low, queries, keys, values = prologue(
        q, k, v, high, low, frames, HEADS, KEY_HEADS, WIDTH, PRODUCTS, ROWS, COLUMNS
    )
    logsumexp += by_head
    mask += sequence * frames

    rows = first_row + tl.arange(0, ROWS)
    q_tile = load_tile(queries, first_row, frames, HEADS, WIDTH, ROWS, PRODUCTS)  # (ROWS, K)
    o_sum = tl.zeros((ROWS, WIDTH), dtype=logsumexp.dtype.element_ty)
    weight = tl.zeros((ROWS,), dtype=logsumexp.dtype.element_ty)
    maximum = tl.full((ROWS,), float("-inf"), dtype=logsumexp.dtype.element_ty)

    # Keys wholly in the past. A row's own running sum cancels in its softmax: scores are relative to the first row's.
    diagonal = first_row // COLUMNS * COLUMNS
    high_base, low_base = tl.load(high + first_row), tl.load(low + first_row)
    for start in range(0, diagonal, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        k_tile = load_tile(keys, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)  # (COLUMNS, K)
        v_tile = load_tile(values, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
        s = tl.dot(q_tile, tl.trans(k_tile), input_precision=PRODUCTS, out_dtype=o_sum.dtype) * scale
        s -= differences(high, low, columns, high_base, low_base, frames)[None, :]
        if PADDED:
            s = tl.where(is_real(mask, columns, frames)[None, :], s, float("-inf"))
        o_sum, weight, maximum = _softmax_step(s, v_tile, o_sum, weight, maximum, PADDED, PRODUCTS)
    maximum += differences(high, low, rows, high_base, low_base, frames)  # from here on relative to each row's own

    for start in range(diagonal, tl.minimum(first_row + ROWS, frames), COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        k_tile = load_tile(keys, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
        v_tile = load_tile(values, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
        s = tl.dot(q_tile, tl.trans(k_tile), input_precision=PRODUCTS, out_dtype=o_sum.dtype) * scale
        s += pairwise_differences(high, low, rows, columns, frames)
        seen = rows[:, None] >= columns[None, :]
        if PADDED:
            seen &= is_real(mask, columns, frames)[None, :]
        s = tl.where(seen, s, float("-inf"))
        o_sum, weight, maximum = _softmax_step(s, v_tile, o_sum, weight, maximum, PADDED, PRODUCTS)

    empty = weight == 0.0
    weight = tl.where(empty, 1.0, weight)
    of_rows = elements(first_element(sequence, head, frames, HEADS, WIDTH), rows, HEADS, WIDTH)
    tl.store(o + of_rows, (o_sum / weight[:, None]).to(o.dtype.element_ty), mask=rows[:, None] < frames)
    tl.store(logsumexp + rows, tl.where(empty, 0.0, maximum + tl.log2(weight)), mask=rows < frames)
