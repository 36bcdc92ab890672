"""Stacks of two mixers, and Conformers: what they compute, what their frames see, and that padding changes nothing."""

from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

import mixers
from mixers import stack
from mixers.base import SequenceModel
from mixers.contract import promises
from mixers.stack.blocks import ConformerBlock
from mixers.support.errors import UserError

WIDTH = 64
MODELS = [("kda+sa", "matched"), ("sa+fox", "conformer"), ("retnet", "conformer"), ("retnet+gsa", "conformer")]
every_model = pytest.mark.parametrize(("name", "preset"), MODELS)
every_direction = pytest.mark.parametrize("direction", stack.DIRECTIONS)


def built(name: str, preset: str, direction: str, *, width: int = WIDTH) -> SequenceModel:
    way = next(iter(mixers.load(name).implementations))
    return stack.build(name, implementation=way, preset=preset, width=width, direction=direction).double()


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@every_direction
@every_model
def test_what_frames_see(name: str, preset: str, direction: str) -> None:
    model = built(name, preset, direction)
    causal = stack.is_causal(mixers.load(name), direction, preset=preset)
    assert causal == (direction == "causal" or (direction == "paper" and name.startswith("retnet")))
    for at in (1, 40):
        found = promises.causality(model, random(1, 70, WIDTH), at=at, causal=causal)
        if causal or at == 1:
            assert found.kept, found


@every_direction
@every_model
def test_padding(name: str, preset: str, direction: str) -> None:
    model = built(name, preset, direction)
    mask = torch.arange(50) < torch.tensor([50, 33, 3])[:, None]
    found = promises.padding(model, random(3, 50, WIDTH), mask, tolerance=1e-10)
    assert found.kept, found


@settings(max_examples=15)
@given(names=st.lists(st.sampled_from(mixers.names()), min_size=2, max_size=2, unique=True), preset=st.booleans())
def test_any_two_mixers_make_a_stack(names: list[str], preset: bool) -> None:
    name = "+".join(names)
    model = built(name, "matched" if preset else "conformer", "both", width=256)
    assert [type(block.mixer).name() for block in model.blocks] == names  # type: ignore[union-attr]
    assert model(random(1, 5, 256)).isfinite().all()
    assert promises.size(stack.count_parameters(name, preset="matched"), target=20_000_000).kept


def test_the_blocks_of_a_hybrid_are_those_of_its_mixers() -> None:
    hybrid: Any = built("kda+sa", "matched", "causal")
    expected = x = random(2, 9, WIDTH)
    for index, name in enumerate(("kda", "sa")):
        block, alone = hybrid.blocks[index], cast("Any", built(name, "layer", "causal"))
        alone.load_state_dict(block.mixer.state_dict())
        expected = expected + alone(block.mixer_norm(expected))
        expected = expected + block.feed_forward(block.feed_forward_norm(expected))
    torch.testing.assert_close(hybrid(x), expected)


@pytest.mark.parametrize("causal", [True, False])
def test_a_conformer_s_convolution_by_hand(causal: bool) -> None:
    torch.manual_seed(0)
    layer = stack.build("sa", implementation="reference", preset="layer", width=WIDTH)
    convolution = ConformerBlock(layer, 32, causal=causal).double().convolution  # type: ignore[arg-type]
    x = random(1, 40, WIDTH)
    value, gate = (x @ convolution.value_and_gate.weight.T).chunk(2, dim=-1)
    gated = value * gate.sigmoid()
    taps = convolution.depthwise.weight[:, 0]  # (D, K)
    first = -30 if causal else -15
    expected = torch.zeros_like(gated)
    for frame in range(40):
        for tap in range(31):
            if 0 <= (seen := frame + first + tap) < 40:
                expected[0, frame] += taps[:, tap] * gated[0, seen]
    expected = F.silu(F.rms_norm(expected, (WIDTH,))) @ convolution.project.weight.T
    torch.testing.assert_close(convolution(x), expected)


@every_direction
def test_every_parameter_of_a_conformer_matters(direction: str) -> None:
    model = built("retnet", "conformer", direction)
    model(random(1, 40, WIDTH)).square().sum().backward()
    assert [name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()] == []


def test_a_hybrid_says_what_its_mixers_say() -> None:
    kda, sa, both = (mixers.load(name) for name in ("kda", "sa", "kda+sa"))
    sizes = stack.sizes(both, "matched", heads=8)
    assert both.unavailable("fla+sdpa", sizes, device_type="cpu") == "needs a CUDA GPU"
    assert both.unavailable("reference+sdpa", sizes, device_type="cpu") == ""
    assert both.defaults(sizes) == ("fla+sdpa",)
    assert both.state_numbers(sizes) is None  # attention's grows
    assert both.reach_at(sizes) == f"{kda.reach}; then {sa.reach}"
    assert mixers.load("kda+sa") is both
    assert mixers.load("kda+retnet").state_numbers(stack.sizes(mixers.load("kda+retnet"), "matched", heads=8)) == max(
        mixers.load(name).state_numbers(stack.sizes(mixers.load(name), "matched", heads=8)) or 0
        for name in ("kda", "retnet")
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kda+kda", "kda\\+kda is no hybrid of two mixers"),
        ("kda+sa+fox", "kda\\+sa\\+fox is no hybrid of two mixers"),
        ("kda+", "unknown mixer ''"),
        ("kda+saa", "unknown mixer 'saa'"),
    ],
)
def test_what_is_no_hybrid(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        mixers.load(name)


@pytest.mark.parametrize("preset", ["layer", "released"])
def test_a_bare_layer_is_no_hybrid(preset: str) -> None:
    with pytest.raises(UserError, match="a block for each of its mixers"):
        stack.build("kda+sa", implementation="reference+reference", preset=preset)
