"""Every mixer learns on a GPU by its kernels as by its equations: padded text, no dropout, weights and data alike."""

import gc
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import mixers
from bench.accuracy.inputs.feed import Inputs
from bench.accuracy.inputs.random_encoders import WIDTH
from bench.accuracy.run import Direction, ModelConfig
from bench.accuracy.training.compiling import compiling_ahead
from bench.accuracy.training.implementations import choose_implementation
from bench.accuracy.training.learner import Learner
from bench.accuracy.training.replay import Stage
from bench.efficiency import isolation
from mixers.autotuning import compiling_side_by_side

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

BATCH, FRAMES, TOKENS, CLASSES, STEPS = 4, 100, 12, 8, 3


def losses(mixer: str, precision: str, width: int = 1024, direction: Direction = "alternating") -> list[float]:
    """Of some steps on one batch."""
    name, _, implementation = choose_implementation(mixer, "matched", device="cuda", width=width).partition("/")
    config = ModelConfig(
        mixer=name,
        implementation=implementation,
        preset="matched",
        width=width,
        num_classes=CLASSES,
        speech_layers=1,
        layer="last",
        stream_norms=True,
        classifier_layers=5,
        direction=direction,
    )
    learner = Learner(
        config, seed=0, learning_rate=1e-4, precision=precision, class_weights=None, device=torch.device("cuda")
    )
    for module in learner.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    generator = torch.Generator().manual_seed(0)
    speech = torch.randn(BATCH, FRAMES, width, generator=generator)
    text = torch.randn(BATCH, TOKENS, width, generator=generator)
    mask = torch.arange(TOKENS) < torch.tensor([3, 12, 7, 10])[:, None]
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    features = torch.bfloat16 if precision == "bfloat16" else torch.float32
    speech, text = (each.to("cuda", features) for each in (speech, text))
    inputs = Inputs(speech=speech, text=text, text_mask=mask.cuda(), labels=labels.cuda())
    with compiling_side_by_side(settling=True):
        return [float(learner.step(inputs, moment=str(step))) for step in range(STEPS)]


@pytest.mark.filterwarnings("ignore:.*without a CUDA graph")  # as the equations do, which wait for the mask
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("mixer", mixers.names())
def test_losses_are_those_of_the_equations(mixer: str, precision: str) -> None:
    expected = losses(f"{mixer}/reference", "float32")
    found = losses(mixer, precision)
    assert found == pytest.approx(expected, rel=0.03 if precision == "bfloat16" else 0.01)
    assert found[-1] < found[0]


@pytest.mark.filterwarnings("ignore:.*without a CUDA graph")
@pytest.mark.parametrize("width", [WIDTH, 512], ids=["of the demonstration", "of Whisper base"])
@pytest.mark.parametrize("mixer", mixers.names())
def test_so_they_are_at_other_widths(mixer: str, width: int) -> None:
    expected = losses(f"{mixer}/reference", "float32", width)
    found = isolation.call(losses, mixer, "bfloat16", width)  # on which a kernel that breaks has no effect beyond it
    assert found == pytest.approx(expected, rel=0.03)


@pytest.mark.filterwarnings("ignore:.*without a CUDA graph")
@pytest.mark.parametrize("direction", ["causal", "both"])
@pytest.mark.parametrize("mixer", mixers.names())
def test_so_they_are_in_the_other_directions(mixer: str, direction: Direction) -> None:
    expected = losses(f"{mixer}/reference", "float32", direction=direction)
    found = losses(mixer, "bfloat16", direction=direction)
    assert found == pytest.approx(expected, rel=0.03)
    assert found[-1] < found[0]


@pytest.mark.parametrize("direction", ["causal", "alternating", "both"])
@pytest.mark.parametrize("mixer", mixers.names())
def test_a_captured_learner_learns_what_an_uncaptured_one_does(mixer: str, direction: Direction) -> None:
    """With dropout, in batches of two lengths of text, bit for bit; and it was captured."""
    captured, plain = (learner(mixer, precision="bfloat16", direction=direction) for _ in range(2))
    assert captured._replayed is not None
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*without a CUDA graph")
        assert_they_learn_alike(captured, plain, tokens=(16, 32) * 4)
    assert len(captured._replayed._captured) == 2


@pytest.mark.parametrize("mixer", mixers.names())
def test_scoring_longer_recordings_leaves_captured_steps_as_they_were(mixer: str) -> None:
    """Modules then replace what they keep for their longest sequence, and memory is used for other things."""
    captured, plain = (learner(mixer, precision="bfloat16") for _ in range(2))
    plain._replayed = None
    stage, generator = Stage(), torch.Generator().manual_seed(0)
    with compiling_side_by_side(settling=True):
        for step in range(6):
            inputs = stage(batch_of(16, generator))
            first, second = (each.step(inputs, moment=str(step)) for each in (captured, plain))
            assert torch.equal(first, second), step
            if step > 1:
                longer = batch_of(2**step * 100, generator)
                for each in (captured, plain):
                    each.predict(longer)
                torch.full((2**22,), float("nan"), device="cuda")  # takes memory that was freed


def test_nothing_is_collected_while_a_step_is_captured() -> None:
    """A collection could destroy the graph of a learner that was dropped, which CUDA forbids there."""
    one, collects = learner("sa", precision="bfloat16"), list[bool]()
    one.model.register_forward_hook(lambda *_: collects.append(gc.isenabled()))
    stage, generator = Stage(), torch.Generator().manual_seed(0)
    for step in range(3):
        one.step(stage(batch_of(16, generator)), moment=str(step))
    assert collects == [True, True, False]  # a step, the rehearsal and the capture; then a replay
    assert gc.isenabled()


def test_a_learner_that_waits_for_the_gpu_learns_without_a_graph() -> None:
    waiting, plain = (learner("sa", precision="bfloat16") for _ in range(2))
    waiting.model.register_forward_hook(lambda *given: print(float(given[-1].sum())))
    message = "sa-0 trains without a CUDA graph"
    with pytest.warns(UserWarning, match=message) as warned:
        assert_they_learn_alike(waiting, plain, tokens=(16,) * 4)
    assert sum(message in str(each.message) for each in warned) == 1


def assert_they_learn_alike(one: Learner, plain: Learner, *, tokens: Sequence[int]) -> None:
    """Over batches with texts of so many tokens, the second one without graphs."""
    plain._replayed = None
    generator = torch.Generator().manual_seed(0)
    stage = Stage()
    with compiling_side_by_side(settling=True):
        for step, size in enumerate(tokens):
            inputs = stage(batch_of(size, generator))
            first, second = (each.step(inputs, moment=str(step)) for each in (one, plain))
            assert torch.equal(first, second), step
    for left, right in zip(one.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(left, right)


def learner(mixer: str, *, precision: str, direction: Direction = "alternating") -> Learner:
    name, _, implementation = choose_implementation(mixer, "matched", device="cuda").partition("/")
    config = ModelConfig(
        mixer=name,
        implementation=implementation,
        preset="matched",
        width=1024,
        num_classes=CLASSES,
        speech_layers=1,
        layer="last",
        stream_norms=True,
        classifier_layers=5,
        direction=direction,
    )
    return Learner(
        config, seed=0, learning_rate=1e-4, precision=precision, class_weights=None, device=torch.device("cuda")
    )


def batch_of(tokens: int, generator: torch.Generator) -> Inputs:
    speech = torch.randn(BATCH, FRAMES, 1024, generator=generator).to("cuda", torch.bfloat16)
    text = torch.randn(BATCH, tokens, 1024, generator=generator).to("cuda", torch.bfloat16)
    mask = torch.arange(tokens) < torch.randint(1, tokens + 1, (BATCH, 1), generator=generator)
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    return Inputs(speech=speech, text=text, text_mask=mask.cuda(), labels=labels.cuda())


def test_what_was_compiled_ahead_need_not_be_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    config = ModelConfig(
        mixer="retnet",
        implementation="fla",
        preset="matched",
        width=1024,
        num_classes=8,
        speech_layers=1,
        layer="last",
        stream_norms=True,
        classifier_layers=5,
        direction="alternating",
    )
    ahead: dict[str, Any] = {
        "products": "bfloat16",
        "batch": 4,
        "frames": 274,
        "text": True,
        "device": torch.device("cuda"),
    }
    compiled = []
    for _ in range(2):
        with compiling_ahead([config], precisions=["bfloat16"], **ahead):
            pass
        compiled.append({path.name for path in tmp_path.iterdir()})
    assert len(compiled[0]) > 10
    assert compiled[0] == compiled[1]
