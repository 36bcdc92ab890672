"""A precision is set for both PyTorch and Triton."""

import os
from collections.abc import Iterator

import pytest
import torch

from mixers.support.precision import is_full_float32, use_precision


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TRITON_F32_DEFAULT", "")  # so that it is restored after the test
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


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
