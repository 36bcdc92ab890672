"""Causal softmax attention with a forget gate, as Triton kernels; memory grows with the length, not with its square.

Letters: B batch, L frames, H heads of queries, G heads of keys and values (each serves H / G of queries), K width.
With log forget gates f (B, L, H), running sums c_i = f_1 + ... + f_i, and scale = 1 / sqrt(K), of each head

    s_ij = scale q_i.k_j + c_i - c_j          for j <= i
    p_ij = exp(s_ij) / sum_j exp(s_ij),       o_i = sum_j p_ij v_j

Source: Lin et al. 2025, "Forgetting Transformer", arXiv 2503.02130, equations 3 to 6. Computed tile by tile with a
running maximum, as in Dao 2024, "FlashAttention-2", arXiv 2307.08691, algorithms 1 and 2. The gradients, from do:

    delta_i = do_i.o_i,   ds_ij = p_ij (do_i.v_j - delta_i)
    dq_i = scale sum_j ds_ij k_j,   dk_j = scale sum_i ds_ij q_i,   dv_j = sum_i p_ij do_i
    dc_t = sum_j ds_tj - sum_i ds_it,   df_t = dc_t + ... + dc_L

The row sums in dc vanish but for rounding; with them, what an output in bfloat16 puts into delta cancels in df.

**Running sums.** Over 20,000 frames they reach a magnitude where float32 has no digits left for the difference of two
neighbours. So they are summed in float64 and kept as two float32 each, whose differences are exact where they matter:
key by key on the diagonal; elsewhere from a frame of the tile itself, the first row or the last column, since a frame
that is far from it in c has no weight. All are in units of log 2, for exp2.

**Tiles.** A program of the forward pass and of dq keeps ROWS queries and walks over their past, COLUMNS keys at a time;
one of dk or dv keeps COLUMNS keys and walks over their future. At a width of 256 a multiprocessor of an NVIDIA GPU has
registers for the float32 sums of 128 rows beside the scores, and no more: so dk and dv, which in one program would be
two such sums at half the rows, are two launches, for 8 products of tiles instead of 7. What else is kept and walked
lies in shared memory: in bfloat16, 128 queries and twice 64 keys and values take 192 KiB. float32 takes twice as much,
and a GPU that has less gets smaller tiles. From sm_90 on a unit of its own copies tiles there (TMA): a program
describes a head's frames to it, whose addresses would take registers, and it fills in zeros beyond the last frame. In
full float32 tiles come by addresses all the same: they have to pass through registers, to be taken apart, and by way of
that unit all took twice as long. Among the tiles that fit the autotuner chooses; a prepared choice spares it that.
Those wholly in the past or future need no causal mask, so the diagonal is a loop of its own: the second, since before
the other it would have the compiler of sm_90 wait for each product. The longest programs start first.

**Products of float32** (`PRODUCTS`) are made of bfloat16's, each float32 being the sum of several parts.

- ``tf32``: The tensor cores of sm_90 take TF32 only where the summed axis is contiguous. In q k^T and do v^T it is, and
  they do. A tile that was walked to and is then summed over (p v, ds k, ds q, p do) would have to be turned round on
  its way into shared memory, where 16 threads at a time write to one bank. There each float32 is taken as two of
  bfloat16, which may lie either way: high + low is off by 2^-17 at most, and of the four products low times low is left
  out. Three at twice the rate take half as long again as one in TF32, and come closer, TF32 being off by 2^-11.
- ``bf16x6``, for full float32: tensor cores multiply none, and without them a tile takes far longer. Three parts hold
  all 24 bits of a float32, and of their nine products Triton sums the six that reach into these.
- ``ieee``: as they come; of bfloat16 or float64, and in Triton's interpreter.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_LOG_2 = tl.constexpr(math.log(2))

# Kept, walked, warps, stages. The interpreter, which cannot time them, gets a single one.
_TILES = (
    ((32, 16, 4, 1),)
    if os.environ.get("TRITON_INTERPRET") == "1"
    else (
        (128, 128, 8, 2),
        (128, 64, 8, 3),
        (128, 64, 8, 2),
        (128, 64, 4, 2),
        (128, 32, 8, 3),
        (128, 32, 8, 2),
        (128, 16, 8, 3),
        (128, 16, 8, 2),
        (64, 64, 8, 2),
        (64, 64, 4, 2),
        (64, 32, 8, 2),
        (64, 32, 4, 2),
        (64, 16, 4, 2),
        (64, 16, 4, 1),
        (32, 32, 4, 2),
        (32, 16, 4, 2),
        (16, 16, 4, 2),
        (16, 16, 4, 1),
    )
)


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """What a program of a kernel holds on chip.

    Attributes:
        kept: Which extent of a tile it keeps, ``ROWS`` or ``COLUMNS``; it walks along the other.
        inputs: Tiles of inputs that it keeps; those it walks over are two.
    """

    kept: str
    inputs: int

    def shared_bytes(self, config: triton.Config, *, width: int, element_size: int, products: str) -> int:
        """Return how much shared memory a candidate takes at most: its tiles, and some for sums between warps."""
        kept, walked = self._extents(config)
        if products == "bf16x6":  # three bfloat16 of each, and what was loaded ahead
            tiles = 3 * 2 * (self.inputs * kept + walked) + 2 * (config.num_stages - 1) * walked * element_size
        else:
            tiles = (self.inputs * kept + 2 * config.num_stages * walked) * element_size
        return int(tiles * width + 2048)

    def fits(self, config: triton.Config, *, width: int, element_size: int, products: str, room: int) -> bool:
        """Tell whether a candidate fits in shared memory, and in registers well enough to be fast."""
        kept, walked = self._extents(config)
        of_sums = kept * width // (32 * config.num_warps)  # registers of a thread, which has 255
        narrow = walked == 16 and kept > 32 and element_size == 2  # wider ones fit
        shared = self.shared_bytes(config, width=width, element_size=element_size, products=products)
        return not narrow and of_sums <= 128 and shared <= room

    def _extents(self, config: triton.Config) -> tuple[int, int]:
        rows, columns = config.kwargs["ROWS"], config.kwargs["COLUMNS"]
        return (rows, columns) if self.kept == "ROWS" else (columns, rows)


FORWARD = Tiles(kept="ROWS", inputs=1)
OF_QUERIES = Tiles(kept="ROWS", inputs=2)
OF_KEYS = Tiles(kept="COLUMNS", inputs=2)
OF_VALUES = Tiles(kept="COLUMNS", inputs=1)


def _tuned(tiles: Tiles, *keys: str) -> dict[str, Any]:
    """Return what the autotuner of a kernel chooses among, and what makes it choose anew."""

    def fitting(configs: Sequence[triton.Config], arguments: Mapping[str, Any], **more: Any) -> list[triton.Config]:
        q: Tensor = arguments["q"]
        of_kernel = OF_VALUES if more.get("VALUES") else tiles
        sizes = {
            "width": more["WIDTH"],
            "element_size": q.element_size(),
            "products": more["PRODUCTS"],
            "room": torch.cuda.get_device_properties(q.device).shared_memory_per_block_optin,  # type: ignore[attr-defined]
        }
        return [config for config in configs if of_kernel.fits(config, **sizes)] or [configs[-1]]

    configs = [
        triton.Config(
            {"ROWS": kept, "COLUMNS": walked} if tiles.kept == "ROWS" else {"ROWS": walked, "COLUMNS": kept},
            num_warps=warps,
            num_stages=stages,
        )
        for kept, walked, warps, stages in _TILES
    ]
    return {
        "configs": configs,
        "key": ["WIDTH", "length_bucket", "PRODUCTS", *keys],
        "prune_configs_by": {"early_config_prune": fitting},
    }


@triton.jit
def _start(sequence, head, frames, HEADS: tl.constexpr, WIDTH: tl.constexpr):
    """Return where the elements of a head begin."""
    return (sequence * frames * HEADS + head) * WIDTH


@triton.jit
def _elements(start, at, HEADS: tl.constexpr, WIDTH: tl.constexpr):
    """Return where the elements of some frames lie, of a head that begins at `start`, (at, WIDTH)."""
    return start + at[:, None] * (HEADS * WIDTH) + tl.arange(0, WIDTH)[None, :]


@triton.jit
def _frames_of(
    x, sequence, head, frames, HEADS: tl.constexpr, WIDTH: tl.constexpr, EXTENT: tl.constexpr, PRODUCTS: tl.constexpr
):
    """Return what `_tile` loads the frames of a head from, EXTENT at a time: a description of them, or an address."""
    of_head = x + _start(sequence, head, frames, HEADS, WIDTH)
    if PRODUCTS != "bf16x6":
        of_head = tl.make_tensor_descriptor(
            of_head, shape=[frames, WIDTH], strides=[HEADS * WIDTH, 1], block_shape=[EXTENT, WIDTH]
        )
    return of_head


@triton.jit
def _tile(
    of_head, first, frames, HEADS: tl.constexpr, WIDTH: tl.constexpr, EXTENT: tl.constexpr, PRODUCTS: tl.constexpr
):
    """Load some frames of a head, (EXTENT, WIDTH); beyond the last they are zeros."""
    if PRODUCTS == "bf16x6":
        at = first + tl.arange(0, EXTENT)
        tile = tl.load(of_head + _elements(0, at, HEADS, WIDTH), mask=at[:, None] < frames, other=0.0)
    else:
        tile = of_head.load([first, 0])
    return tile


@triton.jit
def _differences(high, low, at, high_base, low_base, frames):
    """Return c[at] - c_base, from the two parts of each."""
    inside = at < frames
    from_high = tl.load(high + at, mask=inside, other=0.0) - high_base
    return from_high + (tl.load(low + at, mask=inside, other=0.0) - low_base)


@triton.jit
def _bias(high, low, rows, columns, frames):
    """Return c_i - c_j of a tile, as exact as the sums themselves."""
    high_i = tl.load(high + rows, mask=rows < frames, other=0.0)
    high_j = tl.load(high + columns, mask=columns < frames, other=0.0)
    low_i = tl.load(low + rows, mask=rows < frames, other=0.0)
    low_j = tl.load(low + columns, mask=columns < frames, other=0.0)
    return (high_i[:, None] - high_j[None, :]) + (low_i[:, None] - low_j[None, :])


@triton.jit
def _real(mask, at, frames):
    """Tell which frames are no padding."""
    return tl.load(mask + at, mask=at < frames, other=0) != 0


@triton.jit
def _add_product(weights, tile, total, PRODUCTS: tl.constexpr):
    """Return total + weights tile, a product that sums over the walked axis."""
    if PRODUCTS == "tf32":
        high, tile_high = weights.to(tl.bfloat16), tile.to(tl.bfloat16)
        low, tile_low = (
            (weights - high.to(tl.float32)).to(tl.bfloat16),
            (tile - tile_high.to(tl.float32)).to(tl.bfloat16),
        )
        total = tl.dot(high, tile_high, total)
        total = tl.dot(low, tile_high, total)
        return tl.dot(high, tile_low, total)
    return tl.dot(weights.to(tile.dtype), tile, total, input_precision=PRODUCTS, out_dtype=total.dtype)


@triton.jit
def _softmax_step(s, v_tile, o_sum, weight, maximum, PADDED: tl.constexpr, PRODUCTS: tl.constexpr):
    """Take in a tile of scores: sums of weighted values, of weights, and the maximum that both are relative to."""
    new_maximum = tl.maximum(maximum, tl.max(s, 1))
    # a row that has met only padding keeps sums of zero
    reference = tl.where(new_maximum == float("-inf"), 0.0, new_maximum) if PADDED else new_maximum
    p = tl.exp2(s - reference[:, None])
    shrink = tl.exp2(maximum - reference)
    o_sum = _add_product(p, v_tile, o_sum * shrink[:, None], PRODUCTS)
    return o_sum, weight * shrink + tl.sum(p, 1), new_maximum


@triton.autotune(**_tuned(FORWARD))
@triton.jit(do_not_specialize=["frames", "length_bucket"])
def forgetting_attention_forward_kernel(
    q,  # (B, L, H, K)
    k,  # (B, L, G, K)
    v,  # (B, L, G, K)
    high,  # (B, H, L)
    low,  # (B, H, L)
    mask,  # (B, L)
    o,  # (B, L, H, K)
    logsumexp,  # (B, H, L): log2 of the sum of exp2(s_ij)
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
    sequence = (tl.program_id(1) // HEADS).to(tl.int64)
    head = tl.program_id(1) % HEADS
    key_head = head // (HEADS // KEY_HEADS)
    of_head = (sequence * HEADS + head) * frames
    high += of_head
    low += of_head
    logsumexp += of_head
    mask += sequence * frames
    queries = _frames_of(q, sequence, head, frames, HEADS, WIDTH, ROWS, PRODUCTS)
    keys = _frames_of(k, sequence, key_head, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
    values = _frames_of(v, sequence, key_head, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)

    rows = first_row + tl.arange(0, ROWS)
    q_tile = _tile(queries, first_row, frames, HEADS, WIDTH, ROWS, PRODUCTS)  # (ROWS, K)
    o_sum = tl.zeros((ROWS, WIDTH), dtype=logsumexp.dtype.element_ty)
    weight = tl.zeros((ROWS,), dtype=logsumexp.dtype.element_ty)
    maximum = tl.full((ROWS,), float("-inf"), dtype=logsumexp.dtype.element_ty)

    # Keys wholly in the past. As a row's own sum cancels in its softmax, scores are relative to that of the first row.
    diagonal = first_row // COLUMNS * COLUMNS
    high_base, low_base = tl.load(high + first_row), tl.load(low + first_row)
    for start in range(0, diagonal, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        k_tile = _tile(keys, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)  # (COLUMNS, K)
        v_tile = _tile(values, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
        s = tl.dot(q_tile, tl.trans(k_tile), input_precision=PRODUCTS, out_dtype=o_sum.dtype) * scale
        s -= _differences(high, low, columns, high_base, low_base, frames)[None, :]
        if PADDED:
            s = tl.where(_real(mask, columns, frames)[None, :], s, float("-inf"))
        o_sum, weight, maximum = _softmax_step(s, v_tile, o_sum, weight, maximum, PADDED, PRODUCTS)
    maximum += _differences(high, low, rows, high_base, low_base, frames)  # from here on relative to each row's own

    for start in range(diagonal, tl.minimum(first_row + ROWS, frames), COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        k_tile = _tile(keys, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
        v_tile = _tile(values, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
        s = tl.dot(q_tile, tl.trans(k_tile), input_precision=PRODUCTS, out_dtype=o_sum.dtype) * scale
        s += _bias(high, low, rows, columns, frames)
        seen = rows[:, None] >= columns[None, :]
        if PADDED:
            seen &= _real(mask, columns, frames)[None, :]
        s = tl.where(seen, s, float("-inf"))
        o_sum, weight, maximum = _softmax_step(s, v_tile, o_sum, weight, maximum, PADDED, PRODUCTS)

    empty = weight == 0.0
    weight = tl.where(empty, 1.0, weight)
    of_rows = _elements(_start(sequence, head, frames, HEADS, WIDTH), rows, HEADS, WIDTH)
    tl.store(o + of_rows, (o_sum / weight[:, None]).to(o.dtype.element_ty), mask=rows[:, None] < frames)
    tl.store(logsumexp + rows, tl.where(empty, 0.0, maximum + tl.log2(weight)), mask=rows < frames)


@triton.jit
def _dq_step(
    q_tile, k_tile, v_tile, do_tile, bias, seen, delta, dq_sum, ds_sum, scale, ALL: tl.constexpr, PRODUCTS: tl.constexpr
):
    """Take in a tile: sums of ds_ij k_j and of ds_ij over j; the bias has the row's logsumexp taken off."""
    p = tl.exp2(tl.dot(q_tile, tl.trans(k_tile), input_precision=PRODUCTS, out_dtype=dq_sum.dtype) * scale + bias)
    if not ALL:
        p = tl.where(seen, p, 0.0)
    ds = p * (tl.dot(do_tile, tl.trans(v_tile), input_precision=PRODUCTS, out_dtype=dq_sum.dtype) - delta[:, None])
    return _add_product(ds, k_tile, dq_sum, PRODUCTS), ds_sum + tl.sum(ds, 1)


@triton.autotune(**_tuned(OF_QUERIES))
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
    dq,  # (B, L, H, K)
    delta,  # (B, H, L), written
    dc,  # (B, H, L), written: the row sums
    frames,
    length_bucket,
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
    sequence = (tl.program_id(1) // HEADS).to(tl.int64)
    head = tl.program_id(1) % HEADS
    key_head = head // (HEADS // KEY_HEADS)
    of_head = (sequence * HEADS + head) * frames
    high += of_head
    low += of_head
    mask += sequence * frames
    queries = _frames_of(q, sequence, head, frames, HEADS, WIDTH, ROWS, PRODUCTS)
    gradients = _frames_of(do, sequence, head, frames, HEADS, WIDTH, ROWS, PRODUCTS)
    keys = _frames_of(k, sequence, key_head, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
    values = _frames_of(v, sequence, key_head, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)

    rows = first_row + tl.arange(0, ROWS)
    inside = rows < frames
    of_rows = _elements(_start(sequence, head, frames, HEADS, WIDTH), rows, HEADS, WIDTH)
    q_tile = _tile(queries, first_row, frames, HEADS, WIDTH, ROWS, PRODUCTS)  # (ROWS, K)
    do_tile = _tile(gradients, first_row, frames, HEADS, WIDTH, ROWS, PRODUCTS)
    row_logsumexp = tl.load(logsumexp + of_head + rows, mask=inside, other=float("inf"))
    o_tile = tl.load(o + of_rows, mask=inside[:, None], other=0.0).to(row_logsumexp.dtype)
    row_delta = tl.sum(o_tile * do_tile.to(row_logsumexp.dtype), 1)
    dq_sum = tl.zeros((ROWS, WIDTH), dtype=row_logsumexp.dtype)
    ds_sum = tl.zeros((ROWS,), dtype=row_logsumexp.dtype)

    diagonal = first_row // COLUMNS * COLUMNS
    high_base, low_base = tl.load(high + first_row), tl.load(low + first_row)
    of_row = _differences(high, low, rows, high_base, low_base, frames) - row_logsumexp
    for start in range(0, diagonal, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        k_tile = _tile(keys, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)  # (COLUMNS, K)
        v_tile = _tile(values, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
        bias = of_row[:, None] - _differences(high, low, columns, high_base, low_base, frames)[None, :]
        seen = _real(mask, columns, frames)[None, :] if PADDED else columns[None, :] >= 0
        dq_sum, ds_sum = _dq_step(
            q_tile, k_tile, v_tile, do_tile, bias, seen, row_delta, dq_sum, ds_sum, scale, not PADDED, PRODUCTS
        )
    for start in range(diagonal, tl.minimum(first_row + ROWS, frames), COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        k_tile = _tile(keys, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
        v_tile = _tile(values, start, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
        bias = _bias(high, low, rows, columns, frames) - row_logsumexp[:, None]
        seen = rows[:, None] >= columns[None, :]
        if PADDED:
            seen &= _real(mask, columns, frames)[None, :]
        dq_sum, ds_sum = _dq_step(
            q_tile, k_tile, v_tile, do_tile, bias, seen, row_delta, dq_sum, ds_sum, scale, False, PRODUCTS
        )

    tl.store(dq + of_rows, (dq_sum * (scale * _LOG_2)).to(dq.dtype.element_ty), mask=inside[:, None])
    tl.store(delta + of_head + rows, row_delta, mask=inside)
    tl.store(dc + of_head + rows, ds_sum, mask=inside)


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
    """Take in a tile, keys down and queries across: sums of p_ij do_i, or of ds_ij q_i and ds_ij, over i."""
    p = tl.exp2(tl.dot(k_tile, tl.trans(q_tile), input_precision=PRODUCTS, out_dtype=total.dtype) * scale + bias)
    if not ALL:
        p = tl.where(seen, p, 0.0)
    if VALUES:
        total = _add_product(p, do_tile, total, PRODUCTS)
    else:
        ds = p * (tl.dot(v_tile, tl.trans(do_tile), input_precision=PRODUCTS, out_dtype=total.dtype) - delta[None, :])
        total = _add_product(ds, q_tile, total, PRODUCTS)
        ds_sum += tl.sum(ds, 1)
    return total, ds_sum


@triton.autotune(**_tuned(OF_KEYS, "VALUES"))
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
    out,  # (B, L, H, K), written: what each head of queries gives to dv if VALUES, else to dk
    dc,  # (B, H, L), written with dk: the column sums
    frames,
    length_bucket,
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
    sequence = (tl.program_id(1) // HEADS).to(tl.int64)
    head = tl.program_id(1) % HEADS
    key_head = head // (HEADS // KEY_HEADS)
    of_head = (sequence * HEADS + head) * frames
    high += of_head
    low += of_head
    logsumexp += of_head
    delta += of_head
    queries = _frames_of(q, sequence, head, frames, HEADS, WIDTH, ROWS, PRODUCTS)
    gradients = _frames_of(do, sequence, head, frames, HEADS, WIDTH, ROWS, PRODUCTS)
    keys = _frames_of(k, sequence, key_head, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
    values = _frames_of(v, sequence, key_head, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)

    columns = first_column + tl.arange(0, COLUMNS)
    inside = columns < frames
    k_tile = _tile(keys, first_column, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)  # (COLUMNS, K)
    v_tile = k_tile
    if not VALUES:
        v_tile = _tile(values, first_column, frames, KEY_HEADS, WIDTH, COLUMNS, PRODUCTS)
    total = tl.zeros((COLUMNS, WIDTH), dtype=logsumexp.dtype.element_ty)
    ds_sum = tl.zeros((COLUMNS,), dtype=logsumexp.dtype.element_ty)
    real = _real(mask + sequence * frames, columns, frames) if PADDED else inside

    future = tl.minimum(tl.cdiv(first_column + COLUMNS, ROWS) * ROWS, frames)
    # Queries wholly in the future, relative to the last column.
    last_column = tl.minimum(first_column + COLUMNS, frames) - 1
    high_base, low_base = tl.load(high + last_column), tl.load(low + last_column)
    of_column = _differences(high, low, columns, high_base, low_base, frames)
    for start in range(future, frames, ROWS):
        rows = start + tl.arange(0, ROWS)
        q_tile = _tile(queries, start, frames, HEADS, WIDTH, ROWS, PRODUCTS)  # (ROWS, K)
        do_tile = _tile(gradients, start, frames, HEADS, WIDTH, ROWS, PRODUCTS)
        row_logsumexp = tl.load(logsumexp + rows, mask=rows < frames, other=float("inf"))
        row_delta = tl.load(delta + rows, mask=rows < frames, other=0.0)
        of_row = _differences(high, low, rows, high_base, low_base, frames) - row_logsumexp
        bias = of_row[None, :] - of_column[:, None]
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
        q_tile = _tile(queries, start, frames, HEADS, WIDTH, ROWS, PRODUCTS)
        do_tile = _tile(gradients, start, frames, HEADS, WIDTH, ROWS, PRODUCTS)
        row_logsumexp = tl.load(logsumexp + rows, mask=rows < frames, other=float("inf"))
        row_delta = tl.load(delta + rows, mask=rows < frames, other=0.0)
        bias = tl.trans(_bias(high, low, rows, columns, frames)) - row_logsumexp[None, :]
        seen = (rows[None, :] >= columns[:, None]) & real[:, None]
        total, ds_sum = _dkv_step(
            k_tile, v_tile, q_tile, do_tile, bias, seen, row_delta, total, ds_sum, scale, VALUES, False, PRODUCTS
        )

    of_columns = _elements(_start(sequence, head, frames, HEADS, WIDTH), columns, HEADS, WIDTH)
    if not VALUES:
        total *= scale * _LOG_2
        tl.store(dc + of_head + columns, ds_sum, mask=inside)
    tl.store(out + of_columns, total.to(out.dtype.element_ty), mask=inside[:, None])


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
    """Sum over time in float64: from the first frame on, in two parts; or, if not TO_HEADS, from the last one back."""
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
            # a gate that is shut for good, at a log of -inf, shuts no less at this
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
