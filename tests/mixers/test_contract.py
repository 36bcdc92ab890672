"""What every mixer promises, whatever its mechanism. A new file in mixers/ is tested automatically."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import mixers
from mixers.base import Mixer
from mixers.support.errors import UserError

WIDTH, NUM_HEADS = 16, 2
PAPER = {"sa", "retnet", "lightnet", "gsa", "fox", "kda"}


def small(name: str, *, implementation: str = "reference", seed: int = 0) -> Mixer:
    """A mixer of two heads of width 8, in float64."""
    torch.manual_seed(seed)
    mixer = mixers.load(name)
    config = dataclasses.replace(mixer.presets["matched"], width=WIDTH, num_heads=NUM_HEADS)
    return mixer(config, implementation=implementation).double().eval()


def runnable_here() -> list[tuple[str, str]]:
    """Every mixer and implementation that runs on the CPU."""
    return [
        (name, implementation)
        for name in mixers.names()
        for implementation in mixers.load(name).implementations
        if not mixers.load(name).unavailable(implementation, mixers.load(name).presets["matched"], device_type="cpu")
    ]


def features(batch: int, frames: int, *, seed: int = 0) -> Tensor:
    return torch.randn(batch, frames, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


on_cpu = pytest.mark.parametrize(("name", "implementation"), runnable_here())
every_mixer = pytest.mark.parametrize("name", mixers.names())


def test_the_six_mixers_of_the_paper_are_found() -> None:
    assert set(mixers.names()) >= PAPER


@on_cpu
def test_shape_and_finite_values(name: str, implementation: str) -> None:
    y = small(name, implementation=implementation)(features(2, 9))
    assert y.shape == (2, 9, WIDTH)
    assert y.isfinite().all()
    assert y.abs().min() > 0


@on_cpu
@given(frames=st.integers(2, 12), data=st.data())
@settings(max_examples=10, deadline=None)
def test_causality(name: str, implementation: str, frames: int, data: st.DataObject) -> None:
    """A change at frame t changes nothing before t in a causal mixer, and earlier frames in a bidirectional one."""
    t = data.draw(st.integers(1, frames - 1))
    mixer, x = small(name, implementation=implementation), features(1, frames, seed=frames)
    changed = x.clone()
    changed[:, t] += 1
    with torch.no_grad():
        moved = (mixer(changed) - mixer(x)).abs().amax(-1)[0] > 1e-12  # (L,)
    assert moved[t:].any()
    assert moved[:t].any() != mixer.causal


@on_cpu
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=3))
@settings(max_examples=10, deadline=None)
def test_a_padded_batch_equals_each_sequence_alone(name: str, implementation: str, lengths: list[int]) -> None:
    mixer = small(name, implementation=implementation)
    x = features(len(lengths), max(lengths) + 2, seed=7)  # padded frames hold numbers as large as the others
    mask = torch.arange(x.shape[1]) < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        y = mixer(x, mask)
        alone = [mixer(x[row : row + 1, :length])[0] for row, length in enumerate(lengths) if length]
    assert (y[~mask] == 0).all()
    torch.testing.assert_close(y[mask], torch.cat([y[:0].flatten(0, 1), *alone]), rtol=1e-10, atol=1e-12)


@on_cpu
def test_padding_in_the_middle_changes_nothing(name: str, implementation: str) -> None:
    mixer, x = small(name, implementation=implementation), features(1, 9)
    mask = torch.tensor([[True, True, False, True, True, False, False, True, False]])
    with torch.no_grad():
        torch.testing.assert_close(mixer(x, mask)[mask], mixer(x[:, mask[0]])[0], rtol=1e-10, atol=1e-12)


@on_cpu
def test_implementations_agree_on_the_same_parameters(name: str, implementation: str) -> None:
    mixer, x = small(name, implementation=implementation), features(2, 11)
    torch.testing.assert_close(mixer(x), mixer.reference(x), rtol=1e-10, atol=1e-12)


@every_mixer
def test_gradients(name: str) -> None:
    mixer, x = small(name), features(1, 4).requires_grad_()
    parameters = dict(mixer.named_parameters())

    def forward(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(mixer, dict(zip(parameters, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(forward, (x, *parameters.values()), fast_mode=True)


@every_mixer
def test_every_parameter_matters(name: str) -> None:
    mixer = small(name)
    mixer(features(1, 6)).square().sum().backward()
    for parameter_name, parameter in mixer.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@every_mixer
def test_bfloat16_stays_near_float32(name: str) -> None:
    mixer, x = small(name).float(), features(1, 64).float()
    expected = mixer(x)
    y = mixer.bfloat16()(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert (y.float() - expected).norm() / expected.norm() < 3e-2


@every_mixer
def test_arithmetic_grows_with_length(name: str) -> None:
    """Linear mixers cost the same for each frame, attention costs in proportion to the length."""
    mixer = small(name)
    per_frame = [mixer.mixing_flops(batch=1, frames=frames) / frames for frames in (1000, 2000)]
    growth = per_frame[1] / per_frame[0]
    assert 1 <= growth <= 2
    if name in PAPER:
        assert growth == pytest.approx(2 if name in {"sa", "fox"} else 1, rel=1e-3)
    batched = [mixer.flops(batch=batch, frames=10) for batch in (1, 3)]
    assert batched[1] == 3 * batched[0]


def test_softmax_attention_counts_its_arithmetic_exactly() -> None:
    mixer = small("sa")
    with FlopCounterMode(display=False) as counter:
        mixer(features(2, 11))
    assert mixer.flops(batch=2, frames=11) == counter.get_total_flops()


def test_minimum_bytes() -> None:
    mixer = small("sa").float()
    assert mixer.minimum_bytes(batch=2, frames=10) == 4 * (2 * 2 * 10 * WIDTH + 4 * WIDTH**2 + WIDTH)


def test_a_wrong_name_suggests_the_nearest_one() -> None:
    with pytest.raises(UserError, match="unknown mixer 'lightnett'") as caught:
        mixers.load("lightnett")
    assert "Did you mean 'lightnet'?" in caught.value.hint
    with pytest.raises(UserError, match="unknown implementation of sa 'sdp'") as caught:
        small("sa", implementation="sdp")
    assert "Did you mean 'sdpa'?" in caught.value.hint
