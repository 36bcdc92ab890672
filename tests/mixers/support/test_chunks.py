"""Recurrences in chunks give what they give frame by frame, at any length and however fast they forget."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mixers.support import chunks, recurrences

BATCH, HEADS, KEYS, VALUES = 2, 2, 3, 4

Inputs = tuple[Tensor, ...]


def made(seed: int, frames: int, width: int) -> Tensor:
    """(B, L, H, W), each channel with another seed."""
    return torch.randn(BATCH, frames, HEADS, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def of_additive(frames: int, channels: int, fastest: float) -> Inputs:
    q, k, v = made(0, frames, KEYS), made(1, frames, KEYS), made(2, frames, VALUES)
    return q, k, v, -fastest * made(3, frames, channels).sigmoid() ** 3


def of_delta_rule(frames: int, channels: int, fastest: float) -> Inputs:
    q, k, *others = of_additive(frames, channels, fastest)
    return q, recurrences.unit_length(k), *others, made(4, frames, 1).sigmoid()


def of_generalized_delta_rule(frames: int, channels: int, fastest: float) -> Inputs:
    del channels, fastest  # it has a decay for each channel, and RWKV-7 keeps at least exp(-0.61)
    removal, rate = recurrences.unit_length(made(4, frames, KEYS)), made(5, frames, KEYS).sigmoid()
    return *of_additive(frames, KEYS, 0.61), removal, rate


def of_slots(frames: int, channels: int, fastest: float) -> Inputs:
    return of_additive(frames, channels, fastest)


INPUTS = (of_additive, of_delta_rule, of_generalized_delta_rule, of_slots)


@pytest.mark.parametrize("inputs_of", INPUTS)
@given(frames=st.integers(1, 140), channels=st.sampled_from([1, KEYS]), fastest=st.sampled_from([0.0, 1.0, 1000.0]))
@settings(max_examples=8, deadline=None)
def test_output_and_gradients(
    inputs_of: Callable[[int, int, float], Inputs], frames: int, channels: int, fastest: float
) -> None:
    found = []
    for form in (chunks, recurrences):
        inputs = [each.requires_grad_() for each in inputs_of(frames, channels, fastest)]
        o = getattr(form, inputs_of.__name__.removeprefix("of_"))(*inputs)
        found.append((o.detach(), *torch.autograd.grad(o, inputs, made(9, frames, VALUES), materialize_grads=True)))
    for value, expected in zip(*found, strict=True):
        assert (value - expected).norm() <= 1e-10 * max(1.0, float(expected.norm()))


def test_autocast_lowers_no_state() -> None:
    inputs = [each.float() for each in of_delta_rule(100, KEYS, 1.0)]
    expected = chunks.delta_rule(*inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(chunks.delta_rule(*inputs), expected)
