"""The backward pass. The equations and the letters are in `mixers.kernels.fox`.

As in the forward pass, the diagonal has a loop of its own, which comes second.
"""

import math

import triton
import triton.language as tl

from mixers.kernels.fox.frames import elements, first_element, head_frames, is_real, load_tile, prologue
from mixers.kernels.fox.products import add_product
from mixers.kernels.fox.running_sums import differences, pairwise_differences
from mixers.kernels.fox.tiles import KEY_GRADIENT, QUERY_GRADIENT, autotune_options

_LOG_2 = tl.constexpr(math.log(2))


@triton.jit
def _dq_step(
    q_tile, k_tile, v_tile, do_tile, bias, seen, delta, dq_sum, ds_sum, scale, ALL: tl.constexpr, PRODUCTS: tl.constexpr
):
    """Add a tile to the sums of ds_ij k_j and of ds_ij over j.

    The bias is c_i - c_j less the logsumexp of row i. If ALL, every key of the tile is seen.
    """
    p = tl.exp2(tl.dot(q_tile, tl.trans(k_tile), input_precision=PRODUCTS, out_dtype=dq_sum.dtype) * scale + bias)
    if not ALL:
        p = tl.where(seen, p, 0.0)
    ds = p * (tl.dot(do_tile, tl.trans(v_tile), input_precision=PRODUCTS, out_dtype=dq_sum.dtype) - delta[:, None])
    return add_product(ds, k_tile, dq_sum, PRODUCTS), ds_sum + tl.sum(ds, 1)


@triton.autotune(**autotune_options(QUERY_GRADIENT))
@triton.jit(do_not_specialize=["frames", "length_bucket"])
def forgetting_attention_dq_kernel(
    q,  # (B, L, H, K)
    k,  # (B, L, G, K)
    v,  # (B, L, G, K)
    high,  # (B, H, L)
    low,  # (B, H, L)
    mask,  # (B, L)
    o,  # (B, L, H, K)
    logsumexp,  # (B, H, L)
    do,  # (B, L, H, K)
    dq,  # (B, L, H, K), written
    delta,  # (B, H, L), written
    dc,  # (B, H, L), written: the row sums
    frames,
    length_bucket,  # unused, as in the forward kernel
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
    mask += sequence * frames
    gradients = head_frames(do, sequence, head, frames, HEADS, WIDTH, ROWS, PRODUCTS)

    rows = first_row + tl.arange(0, ROWS)
    inside = rows < frames
    of_rows = elements(first_element(sequence, head, frames, HEADS, WIDTH), rows, HEADS, WIDTH)
    q_tile = load_tile(queries, first_row, frames, HEADS, WIDTH, ROWS, PRODUCTS)  # (ROWS, K)
    do_tile = load_tile(gradients, first_row, frames, HEADS, WIDTH, ROWS, PRODUCTS)
    row_logsumexp = tl.load(logsumexp + by_head + rows, mask=inside, other=float("inf"))
    o_tile = tl.load(o + of_rows, mask=inside[:, None], other=0.0).to(row_logsumexp.dtype)
    row_delta = tl.sum(o_tile * do_tile.to(row_logsumexp.dtype), 1)
    dq_sum = tl.zeros((ROWS, WIDTH), dtype=row_logsumexp.dtype)
    ds_sum = tl.zeros((ROWS,), dtype=row_logsumexp.dtype)

    # Keys wholly in the past, relative to the first row.
    diagonal = first_row // COLUMNS * COLUMNS
    high_base, low_base = tl.load(high + first_row), tl.load(low + first_row)
    row_bias = differences(high, low, rows, high_base, low_base, frames) - row_logsumexp
    for start in range(0, diagonal, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        k_tile = load_tile(keys, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)  # (COLUMNS, K)
        v_tile = load_tile(values, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
        bias = row_bias[:, None] - differences(high, low, columns, high_base, low_base, frames)[None, :]
        seen = is_real(mask, columns, frames)[None, :] if PADDED else columns[None, :] >= 0
        dq_sum, ds_sum = _dq_step(
            q_tile, k_tile, v_tile, do_tile, bias, seen, row_delta, dq_sum, ds_sum, scale, not PADDED, PRODUCTS
        )

    for start in range(diagonal, tl.minimum(first_row + ROWS, frames), COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        k_tile = load_tile(keys, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
        v_tile = load_tile(values, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
        bias = pairwise_differences(high, low, rows, columns, frames) - row_logsumexp[:, None]
        seen = rows[:, None] >= columns[None, :]
        if PADDED:
            seen &= is_real(mask, columns, frames)[None, :]
        dq_sum, ds_sum = _dq_step(
            q_tile, k_tile, v_tile, do_tile, bias, seen, row_delta, dq_sum, ds_sum, scale, False, PRODUCTS
        )

    tl.store(dq + of_rows, (dq_sum * (scale * _LOG_2)).to(dq.dtype.element_ty), mask=inside[:, None])
    tl.store(delta + by_head + rows, row_delta, mask=inside)
    tl.store(dc + by_head + rows, ds_sum, mask=inside)


@triton.jit
def _dkv_step(
    k_tile,
    v_tile,
    q_tile,
    do_tile,
    bias,
    seen,
    delta,
    total,
    ds_sum,
    scale,
    VALUES: tl.constexpr,
    ALL: tl.constexpr,
    PRODUCTS: tl.constexpr,
):
    """Add a tile of keys (rows) and queries (columns) to sums over i: of p_ij do_i, or of ds_ij q_i and of ds_ij.

    The bias and ALL are as in `_dq_step`.
    """
    p = tl.exp2(tl.dot(k_tile, tl.trans(q_tile), input_precision=PRODUCTS, out_dtype=total.dtype) * scale + bias)
    if not ALL:
        p = tl.where(seen, p, 0.0)
    if VALUES:
        total = add_product(p, do_tile, total, PRODUCTS)
    else:
        ds = p * (tl.dot(v_tile, tl.trans(do_tile), input_precision=PRODUCTS, out_dtype=total.dtype) - delta[None, :])
        total = add_product(ds, q_tile, total, PRODUCTS)
        ds_sum += tl.sum(ds, 1)
    return total, ds_sum


@triton.autotune(**autotune_options(KEY_GRADIENT, "VALUES"))
@triton.jit(do_not_specialize=["frames", "length_bucket"])
def forgetting_attention_dkv_kernel(
    q,  # (B, L, H, K)
    k,  # (B, L, G, K)
    v,  # (B, L, G, K)
    high,  # (B, H, L)
    low,  # (B, H, L)
    mask,  # (B, L)
    logsumexp,  # (B, H, L)
    delta,  # (B, H, L)
    do,  # (B, L, H, K)
    out,  # (B, L, H, K), written: each query head's part of dv if VALUES, otherwise of dk
    dc,  # (B, H, L), written with dk: the column sums
    frames,
    length_bucket,  # unused, as in the forward kernel
    scale,
    HEADS: tl.constexpr,
    KEY_HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    PRODUCTS: tl.constexpr,
    VALUES: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    first_column = tl.program_id(0) * COLUMNS
    sequence, head, by_head, high, low, queries, keys, values = prologue(
        q, k, v, high, low, frames, HEADS, KEY_HEADS, WIDTH, PRODUCTS, ROWS, COLUMNS
    )
    logsumexp += by_head
    delta += by_head
    gradients = head_frames(do, sequence, head, frames, HEADS, WIDTH, ROWS, PRODUCTS)

    columns = first_column + tl.arange(0, COLUMNS)
    inside = columns < frames
    k_tile = load_tile(keys, first_column, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)  # (COLUMNS, K)
    v_tile = k_tile
    if not VALUES:
        v_tile = load_tile(values, first_column, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
    total = tl.zeros((COLUMNS, WIDTH), dtype=logsumexp.dtype.element_ty)
    ds_sum = tl.zeros((COLUMNS,), dtype=logsumexp.dtype.element_ty)
    real = is_real(mask + sequence * frames, columns, frames) if PADDED else inside

    # Queries wholly in the future, relative to the last column.
    future = tl.minimum(tl.cdiv(first_column + COLUMNS, ROWS) * ROWS, frames)
    last_column = tl.minimum(first_column + COLUMNS, frames) - 1
    high_base, low_base = tl.load(high + last_column), tl.load(low + last_column)
    column_bias = differences(high, low, columns, high_base, low_base, frames)
    for start in range(future, frames, ROWS):
        rows = start + tl.arange(0, ROWS)
        q_tile = load_tile(queries, start, frames, HEADS, WIDTH, ROWS, PRODUCTS)  # (ROWS, K)
        do_tile = load_tile(gradients, start, frames, HEADS, WIDTH, ROWS, PRODUCTS)
        row_logsumexp = tl.load(logsumexp + rows, mask=rows < frames, other=float("inf"))
        row_delta = tl.load(delta + rows, mask=rows < frames, other=0.0)
        row_bias = differences(high, low, rows, high_base, low_base, frames) - row_logsumexp
        bias = row_bias[None, :] - column_bias[:, None]
        total, ds_sum = _dkv_step(
            k_tile,
            v_tile,
            q_tile,
            do_tile,
            bias,
            real[:, None],
            row_delta,
            total,
            ds_sum,
            scale,
            VALUES,
            not PADDED,
            PRODUCTS,
        )

    for start in range(first_column // ROWS * ROWS, future, ROWS):
        rows = start + tl.arange(0, ROWS)
        q_tile = load_tile(queries, start, frames, HEADS, WIDTH, ROWS, PRODUCTS)
        do_tile = load_tile(gradients, start, frames, HEADS, WIDTH, ROWS, PRODUCTS)
        row_logsumexp = tl.load(logsumexp + rows, mask=rows < frames, other=float("inf"))
        row_delta = tl.load(delta + rows, mask=rows < frames, other=0.0)
        bias = tl.trans(pairwise_differences(high, low, rows, columns, frames)) - row_logsumexp[None, :]
        seen = (rows[None, :] >= columns[:, None]) & real[:, None]
        total, ds_sum = _dkv_step(
            k_tile, v_tile, q_tile, do_tile, bias, seen, row_delta, total, ds_sum, scale, VALUES, False, PRODUCTS
        )

    of_columns = elements(first_element(sequence, head, frames, HEADS, WIDTH), columns, HEADS, WIDTH)
    if not VALUES:
        total *= scale * _LOG_2
        tl.store(dc + by_head + columns, ds_sum, mask=inside)
    tl.store(out + of_columns, total.to(out.dtype.element_ty), mask=inside[:, None])
