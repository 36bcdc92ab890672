"""The precision of matrix products, applied alike to PyTorch's and to Triton's.

By default they differ: PyTorch multiplies float32 matrices in IEEE arithmetic, Triton in TF32, whose mantissa has ten
bits. This alone makes two mixers in "float32" differ by 3e-4.

In ``float32`` PyTorch's products are IEEE. Triton's are sums of six products of bfloat16 parts, which hold all 24 bits
of a float32. They are as exact as IEEE, and run on tensor cores. Triton's IEEE products do not: Triton unrolls every
multiplication of a tile, and its compiler cannot cope with that at flash-linear-attention's largest tiles.
"""

import os

import torch

DTYPES = {"bfloat16": torch.bfloat16, "tf32": torch.float32, "float32": torch.float32, "native": torch.float32}

# Triton uses this precision where a kernel names none. If it is set, it also replaces IEEE. Triton reads it whenever it
# compiles, and keeps kernels apart that were compiled under different values.
_TRITON_DEFAULT = "TRITON_F32_DEFAULT"
_SIX_PARTS = "bf16x6"
_FIRST_WITH_BFLOAT16 = (8, 0)  # compute capability


def use_precision(name: str) -> None:
    """Compute in a precision from now on. This process must not have run a Triton kernel before.

    Args:
        name: ``bfloat16``; ``tf32``: float32 tensors, products in TF32; ``float32``: products as exact as IEEE's; or
            ``native``: float32 tensors, every library at its own default.
    """
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name != "float32"  # PyTorch's default is True
    if name == "float32":
        old = torch.cuda.is_available() and torch.cuda.get_device_capability() < _FIRST_WITH_BFLOAT16
        os.environ[_TRITON_DEFAULT] = "ieee" if old else _SIX_PARTS
    else:
        os.environ.pop(_TRITON_DEFAULT, None)


def is_full_float32() -> bool:
    """Tell whether `use_precision` set full float32."""
    return os.environ.get(_TRITON_DEFAULT) in (_SIX_PARTS, "ieee")
