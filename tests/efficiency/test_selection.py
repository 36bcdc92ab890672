"""Which implementations are measured where only a mixer is named."""

import dataclasses

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
    mixer = mixers.load(name)
    assert measured(mixer, stack.sizes(mixer, "matched"), device_type="cpu", precision="float32") == on_cpu


def test_a_default_that_does_not_compute_in_a_precision_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Softmax attention has two defaults; here the fused one knows float32 alone."""
    mixer = mixers.load("sa")
    limited = dataclasses.replace(mixer.implementations["sdpa"], precisions=("float32",))
    monkeypatch.setattr(mixer, "implementations", {**mixer.implementations, "sdpa": limited})
    found = {
        precision: measured(mixer, stack.sizes(mixer, "matched"), device_type="cpu", precision=precision)
        for precision in ("float32", "bfloat16")
    }
    assert found == {"float32": ("eager", "sdpa"), "bfloat16": ("eager",)}


@pytest.mark.parametrize("name", mixers.names())
def test_on_a_gpu_nothing_in_chunks_is_measured_unless_it_is_named(name: str) -> None:
    for preset in ("matched", "released"):
        mixer = mixers.load(name)
        found = measured(mixer, stack.sizes(mixer, preset), device_type="cuda", precision="bfloat16")
        assert found
        assert "chunked" not in found
