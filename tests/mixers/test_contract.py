"""What every mixer promises, whatever its mechanism. A new file in mixers/ is tested automatically."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import mixers
from mixers.base import Mixer
from mixers.contract import promises
from mixers.contract.agreement import TOLERANCES
from mixers.support.errors import UserError

WIDTH, NUM_HEADS = 16, 2
EXACT = TOLERANCES["float64"]
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
    found = promises.shape(small(name, implementation=implementation), features(2, 9))
    assert found.kept, found


@on_cpu
@given(frames=st.integers(2, 12), data=st.data())
@settings(max_examples=10, deadline=None)
def test_causality(name: str, implementation: str, frames: int, data: st.DataObject) -> None:
    """A change from frame t on changes nothing before t in a causal mixer, and the first frame in another one."""
    t = data.draw(st.integers(1, frames - 1))
    mixer, x = small(name, implementation=implementation), features(1, frames, seed=frames)
    found = promises.causality(mixer, x, at=t, causal=mixer.causal)
    assert found.kept, found


@on_cpu
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=3))
@settings(max_examples=10, deadline=None)
def test_a_padded_batch_equals_each_sequence_alone(name: str, implementation: str, lengths: list[int]) -> None:
    mixer = small(name, implementation=implementation)
    x = features(len(lengths), max(lengths) + 2, seed=7)  # padded frames hold numbers as large as the others
    mask = torch.arange(x.shape[1]) < torch.tensor(lengths)[:, None]
    found = promises.padding(mixer, x, mask, tolerance=EXACT.output)
    assert found.kept, found


@on_cpu
def test_padding_in_the_middle_changes_nothing(name: str, implementation: str) -> None:
    mixer, x = small(name, implementation=implementation), features(1, 9)
    mask = torch.tensor([[True, True, False, True, True, False, False, True, False]])
    found = promises.padding(mixer, x, mask, tolerance=EXACT.output)
    assert found.kept, found


@on_cpu
def test_implementations_agree_on_the_same_parameters(name: str, implementation: str) -> None:
    mixer, x = small(name, implementation=implementation), features(2, 11)
    torch.testing.assert_close(mixer(x), mixer.reference(x), rtol=1e-10, atol=1e-12)
    found = promises.agreement(mixer, x, tolerance=EXACT.output)
    assert found.kept, found
    layers = {each: small(name, implementation=each) for each in ("reference", implementation)}
    assert promises.same_parameters(layers).kept


@every_mixer
def test_gradients(name: str) -> None:
    found = promises.derivatives(small(name), features(1, 4))
    assert found.kept, found


@on_cpu
def test_every_parameter_has_the_gradient_of_the_reference(name: str, implementation: str) -> None:
    mixer = small(name, implementation=implementation)
    found = promises.gradients(mixer, features(1, 6), features(1, 6, seed=1), tolerance=EXACT.gradients)
    assert found.kept, found


@every_mixer
def test_bfloat16_stays_near_float64(name: str) -> None:
    mixer, x = small(name).bfloat16(), features(1, 64).bfloat16()
    assert mixer(x).dtype == torch.bfloat16
    found = promises.agreement(mixer, x, tolerance=TOLERANCES["bfloat16"].output)
    assert found.kept, found


@every_mixer
def test_arithmetic_grows_with_length(name: str) -> None:
    """Linear mixers cost the same for each frame, attention costs in proportion to the length."""
    mixer = small(name)
    found = promises.growth(mixer)
    assert found.kept, found
    if name in PAPER:
        assert found.measured.endswith("2.00" if name in {"sa", "fox"} else "1.00")


def test_softmax_attention_counts_its_arithmetic_exactly() -> None:
    mixer = small("sa")
    found = promises.arithmetic(mixer, features(2, 11))
    assert found.kept, found
    mixing = f"{mixer.mixing_flops(batch=2, frames=11):,}"
    assert found.measured.endswith(f"mixing: {mixing} stated, {mixing} counted in products")


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
