"""A precision is set for both PyTorch and Triton."""

import os

import pytest
import torch

from mixers.support.precision import is_full_float32, use_precision


@pytest.mark.parametrize(
    ("name", "capability", "torchs", "tritons"),
    [
        ("float32", (9, 0), "highest", "bf16x6"),
        ("float32", (7, 5), "highest", "ieee"),
        ("tf32", (9, 0), "high", None),
        ("native", (9, 0), "highest", None),
        ("bfloat16", (9, 0), "highest", None),
    ],
)
def test_each_has_its_products(
    monkeypatch: pytest.MonkeyPatch, name: str, capability: tuple[int, int], torchs: str, tritons: str | None
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    use_precision(name)
    assert torch.get_float32_matmul_precision() == torchs
    assert os.environ.get("TRITON_F32_DEFAULT") == tritons
    assert torch.backends.cudnn.allow_tf32 == (name != "float32")
    assert is_full_float32() == (name == "float32")
