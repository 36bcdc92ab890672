"""Calls whose memory is known before it is measured."""

from functools import partial

import pytest
import torch

from bench.efficiency.measurement.execution import PASSES, bind, capture
from bench.efficiency.measurement.memory import GIB, measure_memory, peak_bytes
from bench.efficiency.settings import RELEASED_TEXT_TOKENS
from bench.speech import frames_of, samples_of
from mixers import stack

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def allocate(device: str, *, mebibytes: int) -> torch.Tensor:
    """Take so much twice, one after the other, and once more beside it to return."""
    for _ in range(2):
        torch.empty(mebibytes * 2**20, dtype=torch.uint8, device=device)
    kept = torch.empty(mebibytes * 2**20, dtype=torch.uint8, device=device)
    torch.empty(mebibytes * 2**20, dtype=torch.uint8, device=device)
    return kept


@pytest.mark.parametrize("device", DEVICES)
def test_peak_of_known_allocations(device: str) -> None:
    standing = allocate(device, mebibytes=64)  # what was there before does not count
    for mebibytes in (2, 32, 4):
        assert peak_bytes(partial(allocate, device, mebibytes=mebibytes), device_type=device) == 2 * mebibytes * 2**20
    del standing


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("frames", [512, 1024, 2048])
def test_eager_attention_keeps_two_score_matrices_to_the_byte(device: str, frames: int) -> None:
    """When the softmax is taken there lie, beside both matrices, queries, keys and values."""
    model = stack.build("sa", implementation="eager", preset="released").to(device)
    x = torch.randn(1, frames, 1024, device=device)
    with torch.inference_mode():
        model(x)
        memory = measure_memory(lambda: model(x), model=model, x=x, device_type=device)
    scores, features = 4 * 4 * frames**2, 4 * frames * 1024
    assert memory.peak == 2 * scores + 3 * features
    assert memory.input == features
    assert memory.weights == 4 * (4 * 1024 * 1024 + 1024)
    if device == "cuda":
        assert memory.reserved is not None
        assert memory.reserved >= memory.peak + memory.input + memory.weights
    else:
        assert memory.reserved is None


@pytest.mark.gpu
@pytest.mark.parametrize("pass_", PASSES)
def test_a_graph_takes_what_the_call_takes_that_it_captures(pass_: str) -> None:
    model = stack.build("sa", implementation="sdpa", preset="layer").to("cuda", torch.bfloat16)
    call = bind(model, torch.randn(1, 2048, 1024, device="cuda", dtype=torch.bfloat16), pass_=pass_)
    call()
    capture(call)  # cuBLAS sets up its workspace for the stream of captures
    eager, graph = (peak_bytes(each, device_type="cuda") for each in (call, partial(capture, call)))
    assert graph == pytest.approx(eager, abs=2**20)


def test_the_papers_memory_at_400_s_is_that_of_the_text_that_released_appends() -> None:
    """Beside the matrices, queries, keys and values lies the sequence itself, which is put together within the call."""
    frames = frames_of(samples_of(400.0)) + RELEASED_TEXT_TOKENS
    assert round((2 * 4 * 4 * frames**2 + 4 * 4 * frames * 1024) / GIB, 2) == 12.35
