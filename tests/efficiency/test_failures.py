"""What PyTorch's messages say of an allocation that failed."""

import pytest

from bench.efficiency.failures import describe, requested_gib


@pytest.mark.parametrize(
    ("message", "gib"),
    [
        ("CUDA out of memory. Tried to allocate 11.92 GiB. GPU 0 has a total capacity of 139.81 GiB of which", 11.92),
        ("CUDA out of memory. Tried to allocate 512.00 MiB. GPU", 0.5),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4294967296 bytes. Error code 12", 4.0),
        ("the encoder ran out of memory", None),
    ],
)
def test_the_request_is_read_from_the_message(message: str, gib: float | None) -> None:
    assert requested_gib(message) == gib


def test_a_description_is_one_line() -> None:
    assert describe(RuntimeError("first\nsecond")) == "RuntimeError: first"
    assert describe(ZeroDivisionError()) == "ZeroDivisionError: "
    assert len(describe(RuntimeError(1000 * "x"))) == 400
