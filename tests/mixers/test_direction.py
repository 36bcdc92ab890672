"""What a mixer and a stack of it compute in each direction of time, and that nothing but the direction changes."""

import dataclasses
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import mixers
from mixers import stack
from mixers.base import Implementation, Mixer, MixerConfig, SequenceModel, View
from mixers.contract import promises
from mixers.sa import SoftmaxAttention
from mixers.support.errors import UserError
from mixers.support.reversal import mix_both_ways, reversal
from tests.mixers.test_contract import EXACT, PAPER, every_mixer, features, on_cpu, runnable_here, small
from tests.mixers.test_equations import SECOND_FORMS, heads, merged
from tests.mixers.test_more_equations import MORE_FORMS
from tests.mixers.test_registry import MEAN

WIDTH = 32
WHOLE_CLIP = {"alternating", "both"}
ALL_FORMS = SECOND_FORMS | MORE_FORMS
every_direction = pytest.mark.parametrize("direction", stack.DIRECTIONS)


def directions_of(name: str) -> tuple[str, ...]:
    """All for the paper's mixers. Others show what they do of themselves in two: the past, and the whole clip."""
    return stack.DIRECTIONS if name in PAPER else ("causal", "both")


each_direction = pytest.mark.parametrize(
    ("name", "direction"), [(name, direction) for name in mixers.names() for direction in directions_of(name)]
)
each_direction_on_cpu = pytest.mark.parametrize(
    ("name", "implementation", "direction"),
    [(*each, direction) for each in runnable_here() for direction in directions_of(each[0])],
)


def built(name: str, direction: str, *, preset: str = "matched", implementation: str = "reference") -> SequenceModel:
    """A model of four heads of width 8, in float64, whose stack's feed-forwards are small."""
    return stack.build(
        name, implementation=implementation, preset=preset, width=WIDTH, direction=direction, seed=3
    ).double()


def frames_of(batch: int, frames: int, *, seed: int = 0) -> Tensor:
    return torch.randn(batch, frames, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def attention_to_the_past(mixer: Any, x: Tensor) -> Tensor:
    q, k, v = heads(mixer.q_proj(x)), heads(mixer.k_proj(x)), heads(mixer.v_proj(x))
    frames = []
    for t in range(x.shape[1]):
        weight = torch.exp((q[:, :, t : t + 1] * k[:, :, : t + 1]).sum(-1) / q.shape[-1] ** 0.5)  # (B, H, t + 1)
        frames.append((weight[..., None] * v[:, :, : t + 1]).sum(2) / weight.sum(2)[..., None])
    return mixer.o_proj(merged(torch.stack(frames, dim=2)))


def second_form(name: str, view: View, mixer: Mixer, x: Tensor) -> Tensor:
    if name == "sa" and view == "past":
        return attention_to_the_past(mixer, x)
    form = ALL_FORMS[name]
    if view == "past" or not mixer.causal:
        return form(mixer, x)
    return (form(mixer, x) + form(mixer, x.flip(1)).flip(1)) / 2


@on_cpu
@pytest.mark.parametrize("view", ["past", "clip"])
@given(frames=st.integers(1, 20))
@settings(max_examples=5, deadline=None)
def test_a_mixer_equals_its_second_form(name: str, implementation: str, view: View, frames: int) -> None:
    if name not in ALL_FORMS:
        pytest.skip("has no second form here")
    mixer, x = small(name, implementation=implementation), features(2, frames, seed=frames)
    mixer.see(view)
    with torch.no_grad():
        expected = second_form(name, view, mixer, x)
        torch.testing.assert_close(mixer(x), expected, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(mixer.reference(x), expected, rtol=1e-9, atol=1e-11)


@every_mixer
@every_direction
def test_a_stack_equals_its_blocks_by_hand(name: str, direction: str) -> None:
    """Frames are flipped around the mixer alone, while the stack flips them between blocks."""
    model, x = built(name, direction), frames_of(2, 9)
    causal = mixers.load(name).causal
    with torch.no_grad():
        expected = x
        for index, block in enumerate(model.blocks):  # type: ignore[arg-type]
            mixer = block.mixer
            mixer.see("past" if causal or direction == "causal" else "clip")
            normed = block.mixer_norm(expected)
            forward = mixer(normed)
            backward = mixer(normed.flip(1)).flip(1)
            mixed = forward
            if causal and direction == "both":
                mixed = (forward + backward) / 2
            if causal and direction == "alternating" and index % 2:
                mixed = backward
            expected = expected + mixed
            expected = expected + block.feed_forward(block.feed_forward_norm(expected))
        torch.testing.assert_close(built(name, direction)(x), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_alternating_frames_come_out_in_their_order(depth: int) -> None:
    layers = [small("retnet", seed=seed) for seed in range(depth)]
    model = stack.MixerStack(layers, target_parameters=20_000_000, alternating=True).double().eval()
    x = features(1, 7)
    with torch.no_grad():
        expected = x
        for index, block in enumerate(model.blocks):
            expected = block(expected.flip(1), None).flip(1) if index % 2 else block(expected, None)
        torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-12)


@each_direction_on_cpu
@given(frames=st.integers(2, 12), data=st.data())
@settings(max_examples=5, deadline=None)
def test_what_a_change_moves(name: str, implementation: str, direction: str, frames: int, data: st.DataObject) -> None:
    """Nothing before it where the stack is causal; the first frame too where it sees the whole clip."""
    t = data.draw(st.integers(1, frames - 1))
    model, x = built(name, direction, implementation=implementation), frames_of(1, frames, seed=frames)
    sees_all = direction in WHOLE_CLIP or (direction == "paper" and not mixers.load(name).causal)
    found = promises.causality(model, x, at=t, causal=not sees_all, tolerance=1e-14)
    assert found.kept, found


@each_direction_on_cpu
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=3))
@settings(max_examples=5, deadline=None)
def test_a_padded_batch_equals_each_sequence_alone(
    name: str, implementation: str, direction: str, lengths: list[int]
) -> None:
    x = frames_of(len(lengths), max(lengths) + 2, seed=7)
    mask = torch.arange(x.shape[1]) < torch.tensor(lengths)[:, None]
    for preset in ("matched", "layer"):
        model = built(name, direction, preset=preset, implementation=implementation)
        found = promises.padding(model, x, mask, tolerance=EXACT.output)
        assert found.kept, found


@each_direction
def test_gradients(name: str, direction: str) -> None:
    mask = torch.tensor([[True] * 4, [True] * 3 + [False]])
    found = promises.derivatives(built(name, direction, preset="layer"), frames_of(2, 4), mask)
    assert found.kept, found


@each_direction
def test_every_parameter_of_a_stack_matters(name: str, direction: str) -> None:
    model = built(name, direction).train()
    model(frames_of(1, 6)).square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@every_mixer
@pytest.mark.parametrize("preset", ["matched", "layer"])
def test_weights_are_the_same_in_every_direction(name: str, preset: str) -> None:
    first, *others = (built(name, direction, preset=preset).state_dict() for direction in stack.DIRECTIONS)
    for other in others:
        assert other.keys() == first.keys()
        assert all(torch.equal(other[key], value) for key, value in first.items())
    counts = {stack.count_parameters(name, preset=preset, direction=direction) for direction in stack.DIRECTIONS}
    assert len(counts) == 1


@every_mixer
def test_a_bare_layer_in_alternating_is_the_first_block(name: str) -> None:
    layer, x = built(name, "alternating", preset="layer"), frames_of(1, 5)
    assert isinstance(layer, Mixer)
    assert layer.sees == ("past" if layer.causal else "clip")
    with torch.no_grad():
        assert torch.equal(layer(x), built(name, "paper", preset="layer")(x))


@every_mixer
def test_arithmetic_knows_the_direction(name: str) -> None:
    sizes = {"batch": 2, "frames": 10}
    for preset in ("matched", "layer"):
        causal, alternating, both, paper = (built(name, each, preset=preset) for each in stack.DIRECTIONS)
        assert paper.flops(**sizes) == alternating.flops(**sizes)
        if mixers.load(name).causal:
            assert causal.flops(**sizes) == paper.flops(**sizes)
            mixing = causal.passes * causal.mixing_flops(**sizes)
            assert both.flops(**sizes) == causal.flops(**sizes) + mixing
            assert both.passes * both.mixing_flops(**sizes) == 2 * mixing
        elif name in PAPER:
            assert both.flops(**sizes) == paper.flops(**sizes)
            hidden = paper.mixing_flops(**sizes) - causal.mixing_flops(**sizes)
            assert hidden == paper.mixing_flops(**sizes) * (10 * 9 // 2) // 10**2


def test_an_unknown_direction_suggests_the_nearest_one() -> None:
    for function in (built, lambda name, direction: stack.count_parameters(name, preset="layer", direction=direction)):
        with pytest.raises(UserError, match="unknown direction 'alternate'") as caught:
            function("sa", "alternate")
        assert "Did you mean 'alternating'?" in caught.value.hint


def test_what_needs_the_whole_clip_cannot_be_causal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SoftmaxAttention, "can_be_causal", False)
    with pytest.raises(UserError, match="sa cannot be causal"):
        built("sa", "causal")
    for direction in ("alternating", "both", "paper"):
        built("sa", direction)


@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=3), width=st.sampled_from([1, 2, 3, 8]))
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_reversal_keeps_padding_behind(dtype: torch.dtype, lengths: list[int], width: int) -> None:
    x = torch.arange(len(lengths) * 7 * 2 * width).view(len(lengths), 7, 2, width).to(dtype)
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    for view in (x, x.transpose(2, 3), x[..., 1:], x[:, :, 0]):
        y = reversal(mask)(view)
        for row, length in enumerate(lengths):
            assert torch.equal(y[row, :length], view[row, :length].flip(0))
            assert torch.equal(y[row, length:], view[row, length:])
        assert torch.equal(reversal(mask)(y), view)
        assert torch.equal(reversal(None)(view), view.flip(1))


def test_the_second_way_holds_no_input_of_the_first() -> None:
    first: list[Any] = []

    def mix(*inputs: Tensor) -> Tensor:
        assert all(reference() is None for reference in first)
        first.extend(map(weakref.ref, inputs))
        return torch.stack(inputs).sum(0)

    with torch.inference_mode():
        forward, backward = mix_both_ways(mix, [torch.ones(1, 4, 2), torch.arange(8.0).view(1, 4, 2)], None)
    assert torch.equal(forward, backward)
    assert all(reference() is None for reference in first)


@pytest.mark.parametrize("mask", [None, torch.tensor([[True, True, True], [True, False, False]])])
def test_gradients_of_reversal(mask: Tensor | None) -> None:
    x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(reversal(mask), (x,))
    assert torch.autograd.gradgradcheck(lambda x: reversal(mask)(x) ** 2, (x,))


@pytest.mark.parametrize("mask", [None, torch.tensor([[True, True, True], [True, False, False]])])
def test_torch_compile_reverses_in_one_graph(mask: Tensor | None) -> None:
    def forward(x: Tensor) -> Tensor:
        return 2 * reversal(mask)(3 * x)

    x = torch.randn(2, 3, 4, requires_grad=True)
    y, expected = torch.compile(forward, fullgraph=True, backend="aot_eager")(x), forward(x)
    torch.testing.assert_close(y, expected)
    gradients = [torch.autograd.grad(each.square().sum(), x)[0] for each in (y, expected)]
    torch.testing.assert_close(*gradients)


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A mixer that states its equations and nothing about direction."""
    (tmp_path / "running_mean.py").write_text(MEAN)
    monkeypatch.setattr(mixers, "__path__", [*mixers.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "mixers.running_mean", raising=False)
    return "running_mean"


CHECKS: list[Callable[..., None]] = [
    test_a_stack_equals_its_blocks_by_hand,
    test_gradients,
    test_every_parameter_of_a_stack_matters,
]


@pytest.mark.parametrize("check", CHECKS)
@every_direction
def test_a_mixer_needs_no_code_for_directions(third_party: str, check: Callable[..., None], direction: str) -> None:
    check(third_party, direction)


@every_direction
def test_a_mixer_without_code_for_directions_keeps_the_contract(third_party: str, direction: str) -> None:
    for check in (test_what_a_change_moves, test_a_padded_batch_equals_each_sequence_alone):
        check(name=third_party, implementation="reference", direction=direction)
    test_weights_are_the_same_in_every_direction(third_party, "matched")
    test_arithmetic_knows_the_direction(third_party)
    mixer = mixers.load(third_party)
    assert mixer.reach == "not stated"
    assert mixer.state_numbers(MixerConfig()) is None


def test_a_run_of_its_own_in_both_directions_is_used() -> None:
    class Doubling(SoftmaxAttention):
        causal = True
        implementations = {"reference": Implementation(run_both_ways=lambda _, x, __: 2 * x)}

    mixer, x = Doubling(MixerConfig(width=8, num_heads=2)), torch.randn(1, 3, 8)
    mixer.see("clip")
    assert torch.equal(mixer(x), 2 * x)


STATES = {"sa": None, "fox": None, "retnet": 524_288, "gsa": 524_288, "lightnet": 262_144, "kda": 262_144}
STATES |= {"gated_deltanet": 262_144, "deltanet": 262_144, "gla": 131_072, "mamba2": 262_144, "rwkv7": 65_536}
STATES |= {"sliding": 2 * 250 * 1024, "summary": 1024}
FEED_FORWARDS = {"retnet": 512, "gsa": 1536, "kda": 1536, "lightnet": 1792, "sa": 1888, "fox": 1888}
FEED_FORWARDS |= {"gated_deltanet": 1536, "deltanet": 1888, "gla": 1888, "mamba2": 1120, "rwkv7": 1696}
FEED_FORWARDS |= {"sliding": 1888, "summary": 1888}


@pytest.mark.parametrize("name", sorted(STATES))
def test_how_much_a_mixer_can_keep(name: str) -> None:
    mixer = mixers.load(name)
    assert mixer.state_numbers(mixer.presets["matched"]) == STATES[name]
    assert stack.feed_forward_width_of(name, preset="matched") == FEED_FORWARDS[name]
    with torch.device("meta"):
        model = stack.build(name, implementation="reference", preset="matched")
    assert model.blocks[0].feed_forward.down.in_features == FEED_FORWARDS[name]  # type: ignore[index, union-attr]


def test_how_far_back_a_mixer_sees() -> None:
    reach = {name: mixers.load(name).reach for name in PAPER}
    assert reach["sa"] == "the whole clip"
    assert reach["retnet"] == "fixed half-lives of 0.44, 0.88, 1.8, 3.5 s by head"
    assert reach["kda"] == "learned half-life, at first 0.0087 to 14 s"
    assert all("learned" in reach[name] for name in ("fox", "gsa", "kda", "lightnet"))


def half_lives_of_a_new_layer(name: str) -> Tensor:
    """Half-lives in seconds of every gate of normalised features, without what KDA's projection adds to its steps."""
    torch.manual_seed(0)
    mixer = mixers.load(name)
    layer: Any = mixer(dataclasses.replace(mixer.presets["matched"], width=1024)).layer
    if name == "kda":
        log_keep = -layer.A_log.exp()[:, None] * torch.nn.functional.softplus(layer.dt_bias).view(4, -1)
    else:
        logit = layer.f_proj(torch.nn.functional.rms_norm(torch.randn(200, 1024), (1024,)))
        log_keep = torch.nn.functional.logsigmoid(logit) / (8 if name == "gsa" else 1)
    return torch.tensor(0.5).log() / log_keep.detach().flatten() / 50


@pytest.mark.parametrize("name", ["fox", "gsa", "kda"])
def test_reach_of_learned_decays_is_that_of_a_new_layer(name: str) -> None:
    low, high = (float(part) for part in mixers.load(name).reach.removesuffix(" s").split("at first ")[1].split(" to "))
    within = (
        (half_lives_of_a_new_layer(name) >= 0.95 * low) & (half_lives_of_a_new_layer(name) <= 1.05 * high)
    ).float()
    assert within.mean() > 0.85
