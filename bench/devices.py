"""Which processor to compute on; shared by both halves."""

import torch

from mixers.errors import UserError, unknown_name


def choose_device(name: str) -> str:
    """Return ``cuda`` or ``cpu``; ``auto`` takes the GPU where there is one.

    Raises:
        UserError: There is no such kind of device, or CUDA was asked for where there is none.
    """
    if name not in ("auto", "cuda", "cpu"):
        raise unknown_name("device", name, ("auto", "cuda", "cpu"))
    if name == "cuda" and not torch.cuda.is_available():
        built = f"PyTorch {torch.__version__}"
        raise UserError(
            f"no CUDA GPU is visible to {built}", hint="Check `nvidia-smi`, and that this PyTorch is built for CUDA."
        )
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
