"""The precision of matrix products, applied alike to PyTorch's and to Triton's.

Left alone they differ: PyTorch multiplies float32 matrices in IEEE arithmetic, Triton in TF32, whose products have ten
bits of mantissa. So two mixers in "float32" may differ by 3e-4 for that alone.

In ``float32`` PyTorch's products are IEEE. Triton's are sums of six products of bfloat16 parts, which hold all 24 bits
of a float32: they are as exact, and run on tensor cores. Its IEEE products do not: Triton unrolls every multiplication
of a tile, which is more than its compiler is good for at the library's largest tiles.
"""

import os

import torch

DTYPES = {"bfloat16": torch.bfloat16, "tf32": torch.float32, "float32": torch.float32, "native": torch.float32}

# What Triton falls back to where a kernel names no precision, and then also where it asks for IEEE. Triton reads it
# whenever it compiles, and keeps kernels compiled under different values apart.
_TRITON_DEFAULT = "TRITON_F32_DEFAULT"
_SIX_PARTS = "bf16x6"
_FIRST_WITH_BFLOAT16 = (8, 0)  # compute capability


def use_precision(name: str) -> None:
    """Compute in a precision from now on, in this process, which must not have run a Triton kernel before.

    Args:
        name: ``bfloat16``; ``tf32``: float32 tensors, products in TF32; ``float32``: products as exact as IEEE's; or
            ``native``: float32 tensors, every library at its own default.
    """
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name != "float32"  # as PyTorch has it by default
    if name == "float32":
        old = torch.cuda.is_available() and torch.cuda.get_device_capability() < _FIRST_WITH_BFLOAT16
        os.environ[_TRITON_DEFAULT] = "ieee" if old else _SIX_PARTS
    else:
        os.environ.pop(_TRITON_DEFAULT, None)


def is_full_float32() -> bool:
    """Tell whether `use_precision` was told to compute in float32."""
    return os.environ.get(_TRITON_DEFAULT) in (_SIX_PARTS, "ieee")
