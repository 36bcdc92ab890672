"""Which implementations are measured where only a mixer is named."""

import pytest

import mixers
from bench.efficiency.selection import measured
from mixers import stack


@pytest.mark.parametrize(
    ("name", "on_cpu"),
    [
        ("sa", ("eager", "sdpa")),
        ("fox", ("reference",)),
        ("kda", ("chunked",)),
        ("kda+sa", ("chunked+sdpa",)),
        ("sliding", ("blocks",)),
        ("summary", ("eager",)),
    ],
)
def test_on_a_cpu_it_is_what_runs_there_of_the_defaults_or_else_the_fastest(name: str, on_cpu: tuple[str, ...]) -> None:
    assert measured(mixers.load(name), stack.sizes(mixers.load(name), "matched"), device_type="cpu") == on_cpu


@pytest.mark.parametrize("name", mixers.names())
def test_on_a_gpu_nothing_in_chunks_is_measured_unless_it_is_named(name: str) -> None:
    for preset in ("matched", "released"):
        found = measured(mixers.load(name), stack.sizes(mixers.load(name), preset), device_type="cuda")
        assert found
        assert "chunked" not in found
