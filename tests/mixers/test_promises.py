"""Each check of the contract finds the mistake that it is there for."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mixers.base import Implementation, Mixer, MixerConfig
from mixers.contract import promises
from mixers.contract.agreement import TOLERANCES, BrokenPromiseError, output_error, relative_error, training_error
from mixers.contract.examination import Examined, examine

EXACT = TOLERANCES["float64"]
WIDTH = 8


class Overwriting(torch.autograd.Function):
    """Gives its input, and in the backward pass writes over it, as a kernel could."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        ctx.saved_tensors[0].data.copy_(upstream[0])
        return upstream[0]


class Sums(Mixer):
    """The sum of the past, projected."""

    arxiv = "0000.00000"
    causal = True
    presets = {"matched": MixerConfig(), "released": MixerConfig()}
    implementations = {
        "reference": Implementation(),
        "padded": Implementation(run=lambda mixer, x, _: mixer.equations(x)),
        "early": Implementation(run=lambda mixer, x, _: mixer.equations(x.roll(-1, dims=1))),
        "frozen": Implementation(run=lambda mixer, x, _: mixer.equations(x.detach()) + 0 * x),
        "overwriting": Implementation(run=lambda mixer, x, _: mixer.equations(Overwriting.apply(x))),
        "endless": Implementation(run=lambda mixer, x, _: mixer.equations(x) / torch.zeros_like(x)),
    }

    def __init__(self, config: MixerConfig, *, implementation: str = "reference") -> None:
        super().__init__(config, implementation=implementation)
        self.o_proj = nn.Linear(config.width, config.width)

    def equations(self, x: Tensor) -> Tensor:
        y: Tensor = self.o_proj(x.cumsum(1))
        return y

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        return batch * frames * self.width


def built(kind: type[Sums] = Sums, *, implementation: str = "reference") -> Sums:
    torch.manual_seed(0)
    return kind(MixerConfig(width=WIDTH, num_heads=2), implementation=implementation).double()


def frames(batch: int = 1, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 6, WIDTH, dtype=torch.float64, generator=generator)


def agreement(mixer: Mixer) -> promises.Finding:
    return promises.agreement(mixer, frames(), tolerance=EXACT.output)


def gradients(mixer: Mixer) -> promises.Finding:
    return promises.gradients(mixer, frames(), frames(seed=1), tolerance=EXACT.gradients)


def padding(mixer: Mixer) -> promises.Finding:
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    return promises.padding(mixer, frames(2), mask, tolerance=EXACT.output)


def causality(mixer: Mixer, *, causal: bool = True) -> promises.Finding:
    return promises.causality(mixer, frames(), at=3, causal=causal)


def test_a_sound_mixer_keeps_all() -> None:
    mixer = built()
    for found in (agreement(mixer), gradients(mixer), padding(mixer), causality(mixer)):
        assert found.kept, found
    assert promises.shape(mixer, frames()).kept
    assert promises.derivatives(mixer, frames()).kept


@pytest.mark.parametrize(
    ("implementation", "broken"),
    [
        ("padded", {padding}),
        ("early", {agreement, gradients, padding, causality}),
        ("frozen", {gradients, padding}),
        ("endless", {agreement, gradients, padding, causality}),
    ],
)
def test_a_wrong_implementation_breaks_what_it_does_wrong(implementation: str, broken: set[Any]) -> None:
    mixer = built(implementation=implementation)
    found = {check: check(mixer) for check in (agreement, gradients, padding, causality)}
    assert {check for check, each in found.items() if not each.kept} == broken, found
    assert promises.shape(mixer, frames()).kept is (implementation != "endless")


def test_a_pass_that_changes_its_input_is_found() -> None:
    with pytest.raises(BrokenPromiseError, match="changed its input"):
        gradients(built(implementation="overwriting"))
    with pytest.raises(BrokenPromiseError, match="changed its input"):
        training_error(built(implementation="overwriting"), frames(), frames(seed=1))


def scaled_in_place(x: Tensor) -> Tensor:
    with torch.no_grad():
        x.mul_(5)
    return x


WRONG: dict[str, tuple[Callable[[Sums, Tensor], object], str]] = {
    "changes its input": (lambda mixer, x: mixer.equations(scaled_in_place(x)), "a pass changed its input"),
    "changes its input with gradients": (lambda mixer, x: mixer.equations(x.mul_(5)), "a pass changed its input"),
    "one frame": (lambda mixer, x: mixer.equations(x).mean(1, keepdim=True), "output is (1, {0}, {1}), not"),
    "too short": (lambda mixer, x: mixer.equations(x)[:, 1:], "output is (1, {0}, {1}), not"),
    "less precise": (lambda mixer, x: mixer.equations(x).half(), "output is torch.float16, not torch.float"),
    "no tensor": (lambda mixer, x: (mixer.equations(x), None), "output is of type tuple, not a tensor"),
}


def broken(case: str) -> tuple[type[Sums], str]:
    """A mixer without the checks of shapes that tests have, and what is said of it."""

    class Broken(Sums):
        implementations = {"reference": Implementation(), "fast": Implementation()}

        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            is_fast = self.implementation == "fast"
            return WRONG[case][0](self, x) if is_fast else super().forward(x, mask)  # type: ignore[return-value]

    return Broken, WRONG[case][1]


@pytest.mark.parametrize("case", WRONG)
def test_what_breaks_the_contract_is_said_and_no_error_of_a_library(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import mixers

    kind, said = broken(case)
    for error in (output_error, lambda mixer, x: training_error(mixer, x, frames(seed=1))):
        with pytest.raises(BrokenPromiseError, match=re.escape(said.format(1 if case == "one frame" else 5, WIDTH))):
            error(built(kind, implementation="fast"), frames())

    monkeypatch.setattr(mixers, "load", lambda _: kind)
    said = said.format(1 if case == "one frame" else 98, 256)
    for precision in ("float32", "float64"):
        verdicts = examine(Examined(mixer="broken", implementation="fast", precision=precision), device_type="cpu")
        of_layer = [each for each in verdicts if each.promise.endswith(f"{precision}, causal")]
        assert len(of_layer) == 2
        for each in of_layer:
            assert each.kept is False
            assert each.measured.startswith(said)


def test_a_mixer_that_should_see_the_whole_clip_must() -> None:
    mixer = built()
    assert not causality(mixer, causal=False).kept
    mixer.see("clip")
    assert causality(mixer, causal=False).kept
    assert not causality(mixer).kept


def test_an_unused_parameter_is_named() -> None:
    class Unused(Sums):
        def __init__(self, config: MixerConfig, *, implementation: str = "reference") -> None:
            super().__init__(config, implementation=implementation)
            self.other = nn.Parameter(torch.ones(3))

        def equations(self, x: Tensor) -> Tensor:
            return super().equations(x) + 0 * self.other.sum()

    found = gradients(built(Unused))
    assert (found.kept, found.measured) == (False, "no gradient of other")
    assert not promises.same_parameters({"one": built(), "two": built(Unused)}).kept
    assert promises.same_parameters({"one": built(), "two": built()}).kept


def test_a_gradient_that_is_no_derivative_is_found() -> None:
    class Halved(Sums):
        def equations(self, x: Tensor) -> Tensor:
            y = super().equations(x)
            return (y + y.detach()) / 2

    assert not promises.derivatives(built(Halved), frames()).kept


def test_sizes_and_arithmetic() -> None:
    assert [promises.size(count, target=1000).kept for count in (980, 991, 1009, 1020)] == [False, True, True, False]
    assert promises.arithmetic(built(), frames()).kept

    class Twice(Sums):
        def equations(self, x: Tensor) -> Tensor:
            y: Tensor = self.o_proj(super().equations(x))
            return y

    assert not promises.arithmetic(built(Twice), frames()).kept


@pytest.mark.parametrize(("power", "kept"), [(0, False), (1, True), (1.5, True), (2, True), (3, False)])
def test_growth(power: float, kept: bool) -> None:
    class Growing(Sums):
        def mixing_flops(self, *, batch: int, frames: int) -> int:
            return batch * round(1000 * frames**power)

    assert promises.growth(built(Growing)).kept is kept


@pytest.mark.parametrize(
    ("of_mixing", "kept", "said"),
    [
        (lambda _: 0, True, "none between frames"),
        (lambda frames: -5 * frames, False, "negative: -5,000 at 1,000 frames and -10,000 at 2,000"),
        (lambda frames: max(0, frames - 1500), False, "with the length to the power of inf"),
    ],
)
def test_growth_of_little_or_less(of_mixing: Callable[[int], int], kept: bool, said: str) -> None:
    class Growing(Sums):
        def mixing_flops(self, *, batch: int, frames: int) -> int:
            return batch * of_mixing(frames)

    found = promises.growth(built(Growing))
    assert (found.kept, found.measured) == (kept, said)


def test_errors_are_relative_and_by_norm() -> None:
    assert relative_error(torch.tensor([3.0, 4.5]), torch.tensor([3.0, 4.0])) == pytest.approx(0.1)
    assert output_error(built(), frames()) == 0
    assert not math.isfinite(output_error(built(implementation="endless"), frames()))
    assert training_error(built(), frames(), frames(seed=1)) == 0
    assert output_error(built(implementation="frozen"), frames()) == 0
    assert training_error(built(implementation="frozen"), frames(), frames(seed=1)) == pytest.approx(1)
    with pytest.raises(BrokenPromiseError, match=r"a result is \(1, 3\), not \(2, 3\)"):
        relative_error(torch.ones(1, 3), torch.ones(2, 3))
    assert math.isnan(training_error(built(), frames(), torch.full_like(frames(), float("nan"))))


def test_an_error_in_a_check_is_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    import mixers

    class Raising(Sums):
        implementations = {"reference": Implementation(run=lambda *_: 1 / 0)}  # type: ignore[arg-type]

    monkeypatch.setattr(mixers, "load", lambda _: Raising)
    verdicts = examine(Examined(mixer="raising", implementation="reference", precision="float32"), device_type="cpu")
    assert {each.kept for each in verdicts} == {False}
    assert {each.measured for each in verdicts} == {"ZeroDivisionError: division by zero"}
    exact = examine(Examined(mixer="raising", implementation="reference", precision="float64"), device_type="cpu")
    assert {(each.kept, each.measured) for each in exact} == {(None, "takes no float64 (ZeroDivisionError)")}


def test_what_states_its_precisions_is_not_checked_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    import mixers

    def never(*_: object) -> Tensor:
        raise AssertionError("it was called")

    class Stating(Sums):
        implementations = {
            "reference": Implementation(),
            "fast": Implementation(run=never, precisions=("bfloat16", "float32")),
        }

    monkeypatch.setattr(mixers, "load", lambda _: Stating)
    verdicts = examine(Examined(mixer="stating", implementation="fast", precision="float64"), device_type="cpu")
    assert {(each.kept, each.measured) for each in verdicts} == {(None, "computes in bfloat16 and float32")}


def test_what_computes_float64_in_less_breaks_a_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    import mixers

    class Rounding(Sums):
        implementations = {
            "reference": Implementation(),
            "fast": Implementation(run=lambda mixer, x, _: mixer.equations(x.float().double())),
        }

    monkeypatch.setattr(mixers, "load", lambda _: Rounding)
    verdicts = examine(Examined(mixer="rounding", implementation="fast", precision="float64"), device_type="cpu")
    assert {each.kept for each in verdicts if each.promise.startswith("output")} == {False}
