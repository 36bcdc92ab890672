"""Stacks have 20 M or 30 M parameters whatever the mixer; the released layers have what the paper's code has."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import mixers
from bench.efficiency.measurement.sizes import TRAINING_FLOPS
from mixers import stack
from mixers.contract import promises
from mixers.support.errors import UserError

SIZES = {"matched": 20_000_000, "conformer": 30_000_000}

# the paper's code, in millions of parameters (mixers/stack builds the same bare layers)
RELEASED = {"sa": 4.20, "retnet": 8.39, "lightnet": 3.41, "gsa": 5.24, "fox": 2.39, "kda": 2.50}


@pytest.mark.parametrize("preset", SIZES)
@pytest.mark.parametrize("name", [*mixers.names(), "kda+sa"])
def test_size_of_stacks(name: str, preset: str) -> None:
    found = promises.size(stack.count_parameters(name, preset=preset), target=SIZES[preset])
    assert found.kept, found


@pytest.mark.parametrize("preset", SIZES)
@pytest.mark.parametrize("name", [name for name in mixers.names() if name != "summary"])  # which has no heads
def test_twice_the_heads_are_half_as_wide(name: str, preset: str) -> None:
    config = stack.sizes(mixers.load(name), preset)
    twice = stack.sizes(mixers.load(name), preset, heads=2 * config.num_heads)
    assert (twice.width, twice.head_width * 2) == (config.width, config.head_width)
    found = promises.size(stack.count_parameters(name, preset=preset, heads=twice.num_heads), target=SIZES[preset])
    assert found.kept, found


@pytest.mark.parametrize("width", [256, 512, 768])
@pytest.mark.parametrize("name", mixers.names())
def test_matched_size_follows_the_square_of_the_width(name: str, width: int) -> None:
    with torch.device("meta"):
        model = stack.build(name, implementation="reference", preset="matched", width=width)
    half_a_step = 2 * 3 * width * 16  # of the feed-forward's width, a multiple of 32
    assert model.parameter_count() == pytest.approx(20e6 * (width / 1024) ** 2, abs=half_a_step)


@pytest.mark.parametrize(("name", "millions"), RELEASED.items())
def test_released_size(name: str, millions: float) -> None:
    assert stack.count_parameters(name, preset="released") / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize("name", mixers.names())
def test_layer_is_one_mixer_of_the_matched_stack(name: str) -> None:
    layer = stack.build(name, implementation="reference", preset="layer")
    matched = stack.build(name, implementation="reference", preset="matched")
    first = next(module for module in matched.modules() if isinstance(module, type(layer)))
    assert [p.shape for p in layer.parameters()] == [p.shape for p in first.parameters()]


@pytest.mark.parametrize("name", mixers.names())
@pytest.mark.parametrize("preset", stack.PRESETS)
def test_padding_and_shape(name: str, preset: str) -> None:
    model = stack.build(name, implementation="reference", preset=preset)
    x, mask = torch.randn(2, 5, 1024), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    with torch.inference_mode():
        y, alone = model(x, mask), model(x[1:, :3])
    assert y.shape == x.shape
    assert (y[1, 3:] == 0).all()
    torch.testing.assert_close(y[1:, :3], alone, rtol=1e-4, atol=1e-5)


def test_weights_come_from_the_seed_alone() -> None:
    def weights(seed: int) -> torch.Tensor:
        return torch.nn.utils.parameters_to_vector(
            stack.build("sa", implementation="sdpa", preset="released", seed=seed).parameters()
        )

    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = weights(0)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(weights(0), first)
    assert not torch.equal(weights(1), first)


def test_arithmetic_of_the_stack_is_that_of_its_matrices_and_its_mixers() -> None:
    model = stack.build("sa", implementation="reference", preset="matched")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.randn(1, 7, 1024))
    assert model.flops(batch=1, frames=7) == counter.get_total_flops()


@pytest.mark.parametrize("preset", stack.PRESETS)
@pytest.mark.parametrize("name", mixers.names())
def test_arithmetic_of_projections_is_what_pytorch_counts(name: str, preset: str) -> None:
    """Batched products are the mixing, whose arithmetic depends on the form. All others are projections."""
    model = stack.build(name, implementation="reference", preset=preset)
    found = promises.arithmetic(model, torch.randn(2, 8, 1024))
    assert found.kept, found


def test_training_multiplies_three_times_as_much() -> None:
    """The factor of a worker for a training pass, which is forward and backward."""
    model = stack.build("sa", implementation="eager", preset="matched")
    x = torch.randn(1, 7, 1024, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    assert TRAINING_FLOPS * model.flops(batch=1, frames=7) == counter.get_total_flops()


def test_unknown_preset() -> None:
    with pytest.raises(UserError, match="unknown preset 'match'") as caught:
        stack.build("sa", implementation="eager", preset="match")
    assert "Did you mean 'matched'?" in caught.value.hint
