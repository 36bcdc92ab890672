"""Products of float32 tiles, made of bfloat16 products: each float32 is taken as the sum of several bfloat16 parts.

The kernels' constant `PRODUCTS` names the way.

- ``tf32``: The tensor cores of sm_90 take TF32 only where the summed axis is contiguous. In q k^T and do v^T it is, and
  these products are in TF32. In p v, ds k, ds q and p do the sum runs over the frames of a loaded tile. This tile would
  have to be transposed on its way into shared memory, where 16 threads at a time would write to one bank. In these
  products each float32 is therefore taken as two bfloat16 parts, which may lie either way. high + low is off by at most
  2^-17. Of the four products of parts, low times low is left out. Three products at twice the rate take 1.5 times as
  long as one in TF32, and are closer: TF32 is off by 2^-11.
- ``bf16x6``, for full float32: No tensor core multiplies float32, and without tensor cores a tile takes far longer.
  Three bfloat16 parts hold all 24 bits of a float32. Triton sums the six of their nine products that reach these bits.
- ``ieee``: The tiles as they come, for bfloat16, for float64, and in Triton's interpreter.
"""

import triton
import triton.language as tl


@triton.jit
def add_product(weights, tile, total, PRODUCTS: tl.constexpr):
    """Return total + weights tile, a product that sums over the frames of the tile."""
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
