"""The model is section 3.2's: a batch scores as its utterances do alone; presets and directions are what they say."""

import importlib.metadata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mixers
from bench.accuracy.parts import Layer
from bench.accuracy.run import DIRECTIONS, PRESETS, Direction, ModelConfig, Preset
from bench.accuracy.training.differences import DIFFERENCES
from bench.accuracy.training.implementations import choose_implementation
from bench.accuracy.training.model import EmotionModel, build
from bench.head import AttentionPooling
from mixers import stack
from mixers.support.errors import UserError

WIDTH, CLASSES, LAYERS = 64, 8, 3

# The paper's code, in millions of parameters: bare layers and its classifier of 1.59 M.
RELEASED = {"sa": 4.20, "retnet": 8.39, "lightnet": 3.41, "gsa": 5.24, "fox": 2.39, "kda": 2.50}


def config(
    mixer: str,
    preset: Preset,
    *,
    width: int = WIDTH,
    direction: Direction = "alternating",
    layer: Layer = "weighted",
    stream_norms: bool = True,
    classifier_layers: int = 5,
) -> ModelConfig:
    return ModelConfig(
        mixer=mixer,
        implementation="reference",
        preset=preset,
        width=width,
        num_classes=CLASSES,
        speech_layers=LAYERS,
        layer=layer,
        stream_norms=stream_norms,
        classifier_layers=classifier_layers,
        direction=direction,
    )


def features(layer: Layer = "weighted", *, batch: int, frames: int) -> torch.Tensor:
    shape = (batch, LAYERS, frames, WIDTH) if layer == "weighted" else (batch, frames, WIDTH)
    return torch.randn(shape, generator=torch.Generator().manual_seed(frames), dtype=torch.float64)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("mixer", mixers.names())
def test_pitfall_3_a_batch_scores_as_its_utterances_do_alone(mixer: str, preset: Preset, direction: Direction) -> None:
    """Padded tokens hold noise, and neither mixer nor pooling may see it."""
    model = build(config(mixer, preset, direction=direction), seed=0).double().eval()
    speech, lengths = features(batch=3, frames=5), (4, 1, 2)
    text = torch.randn(3, 4, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    together = model(speech, text, mask)
    for row, length in enumerate(lengths):
        alone = model(speech[row : row + 1], text[row : row + 1, :length])
        assert torch.allclose(together[row], alone[0], atol=1e-9)


def sees_ahead(mixer: str, preset: Preset, direction: Direction) -> bool:
    """Whether a frame of speech sees the text, which comes after it."""
    if direction == "causal":
        return False
    return not mixers.load(mixer).causal or direction == "both" or (preset != "released" and direction == "alternating")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("mixer", mixers.names())
def test_what_speech_and_text_see_of_each_other(mixer: str, preset: Preset, direction: Direction) -> None:
    plain = config(mixer, preset, direction=direction, layer="last", stream_norms=False)
    model = build(plain, seed=0).double().eval()
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    model.mixer.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    speech = features("last", batch=1, frames=5)
    text, other_text = torch.randn(2, 1, 3, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    other_speech = speech.clone()
    other_speech[..., 0, :] = other_text[0, 0]
    for given_speech, given_text in ((speech, text), (speech, other_text), (other_speech, text)):
        model(given_speech, given_text)
    (u, h), (_, of_other_text), (_, of_other_speech) = seen
    assert torch.equal(u, torch.cat((speech, text), dim=1))  # in this order in every direction
    change = (of_other_text - h).abs().amax(-1)[0]
    assert (change[:5] > 1e-9).all() if sees_ahead(mixer, preset, direction) else (change[:5] == 0).all()
    assert ((of_other_speech - h).abs().amax(-1)[0, 5:] > 1e-9).all()


@pytest.mark.parametrize("mixer", mixers.names())
def test_the_direction_changes_no_weight(mixer: str) -> None:
    first, *others = (build(config(mixer, "matched", direction=each), seed=0).state_dict() for each in DIRECTIONS)
    for other in others:
        assert other.keys() == first.keys()
        assert all(torch.equal(other[name], first[name]) for name in first)


@given(frames=st.integers(1, 20), scaled=st.booleans(), seed=st.integers(0, 100))
@settings(max_examples=20)
def test_pooling_is_equations_3_and_4(frames: int, scaled: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pooling = AttentionPooling(16, scaled=scaled).double()
    h = torch.randn(1, frames, 16, generator=generator, dtype=torch.float64)
    shares = [torch.exp(frame @ pooling.query / (4 if scaled else 1)) for frame in h[0]]
    expected = sum((share / sum(shares) * frame for share, frame in zip(shares, h[0], strict=True)), torch.zeros(16))
    assert torch.allclose(pooling(h)[0], expected)


@pytest.mark.parametrize("mixer", RELEASED)
def test_size_at_full_width(mixer: str) -> None:
    with torch.device("meta"):
        sizes = {preset: build(config(mixer, preset, width=1024), seed=0).parameter_count() / 1e6 for preset in PRESETS}
    assert sizes["matched"] == pytest.approx(20 + 1.59, abs=0.2)  # the stack and the same classifier
    assert sizes["conformer"] == pytest.approx(30 + 1.59, abs=0.2)
    assert sizes["released"] == pytest.approx(RELEASED[mixer] + 1.59, abs=0.02)


def test_layers_begin_equal_and_are_trained() -> None:
    model = build(config("sa", "matched"), seed=0)
    weights = dict(model.named_parameters())["layers.weights"]
    assert weights.tolist() == pytest.approx([1 / LAYERS] * LAYERS)
    model(features(batch=2, frames=4).float()).sum().backward()
    assert weights.grad is not None


def test_weights_follow_from_the_seed() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    models = [build(config("sa", "matched"), seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), before)
    first, same, other = (nn.utils.parameters_to_vector(model.parameters()) for model in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_dropout_is_off_in_evaluation_and_on_in_training() -> None:
    model = build(config("sa", "matched"), seed=0)
    speech = features(batch=1, frames=6).float()
    assert torch.equal(model.eval()(speech), model(speech))
    assert not torch.equal(model.train()(speech), model(speech))


@pytest.mark.parametrize("preset", PRESETS)
def test_layer_norms_and_depth_are_independent_of_the_preset(preset: Preset) -> None:
    speech = features("last", batch=2, frames=4).float()
    sizes = set()
    for norms, depth in ((True, 5), (False, 1)):
        chosen = config("sa", preset, layer=2, stream_norms=norms, classifier_layers=depth)
        model = EmotionModel(chosen)
        assert isinstance(model.layers, nn.Identity)
        assert {type(model.speech_norm), type(model.text_norm)} == {nn.LayerNorm if norms else nn.Identity}
        assert sum(isinstance(each, nn.GELU) for each in model.classifier.modules()) == depth
        assert model(speech).shape == (2, CLASSES)
        sizes.add(model.parameter_count())
    assert len(sizes) == 2


@pytest.mark.parametrize("width", [256, 512])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("mixer", mixers.names())
def test_the_mixer_in_training_is_the_one_that_a_sweep_of_its_width_measures(
    mixer: str, preset: Preset, width: int
) -> None:
    with torch.device("meta"):
        trained = EmotionModel(config(mixer, preset, width=width)).mixer
        measured = stack.build(mixer, implementation="reference", preset=preset, width=width, direction="alternating")
    sizes = [{name: each.shape for name, each in one.named_parameters()} for one in (trained, measured)]
    assert sizes[0] == sizes[1]


def test_every_part_is_stated_with_its_source() -> None:
    assert all(part.name and part.matched and part.released for part in DIFFERENCES)
    assert {part.source for part in DIFFERENCES} == {"text", "code", "ours"}
    assert [part.source for part in DIFFERENCES if "names none" in part.matched] == ["code"] * 3
    assert all(part.released != part.matched for part in DIFFERENCES)


@pytest.mark.parametrize(
    ("mixer", "width", "capability", "triton", "chosen"),
    [
        ("retnet", 1024, (9, 0), "3.6.0", "retnet/fla"),
        ("retnet", 64, (9, 0), "3.6.0", "retnet/reference"),  # which Triton miscompiles there
        ("retnet", 64, (9, 0), "3.7.1", "retnet/fla"),
        ("retnet", 64, (8, 0), "3.6.0+git12ab", "retnet/fla"),
        ("fox", 1024, (9, 0), "3.6.0", "fox/triton"),
        ("fox", 768, (9, 0), "3.6.0", "fox/triton"),
        ("fox", 2048, (9, 0), "3.6.0", "fox/flex"),  # our kernels know no heads of 512
        ("retnet", 1280, (9, 0), "3.6.0", "retnet/reference"),  # the library's know no keys of 320
        ("kda", 1280, (9, 0), "3.6.0", "kda/chunked"),
        ("kda", 512, (9, 0), "3.6.0", "kda/fla"),
    ],
)
def test_the_implementation_is_one_for_the_width_of_the_encoders(
    monkeypatch: pytest.MonkeyPatch, mixer: str, width: int, capability: tuple[int, int], triton: str, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: triton)
    assert choose_implementation(mixer, "matched", device="cuda", width=width) == chosen
    assert choose_implementation(chosen, "matched", device="cuda") == chosen  # which is right at some width
    if (chosen, width) == ("retnet/reference", 64):
        with pytest.raises(UserError, match="retnet/fla cannot be trained here: miscompiled by this Triton at fewer"):
            choose_implementation("retnet/fla", "matched", device="cuda", width=width)


def test_the_papers_lightnet_is_the_librarys_at_any_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    for width in (64, 768, 1024):
        assert choose_implementation("lightnet", "released", device="cuda", width=width) == "lightnet/fla"
        assert choose_implementation("lightnet", "matched", device="cuda", width=width) == "lightnet/triton"
