"""Before an implementation is timed it is compared with its reference; that costs no timing."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mixers
from bench.efficiency import conformity, worker
from bench.efficiency.inputs import RandomFeatures
from bench.efficiency.isolation import Ready
from bench.efficiency.records import Record
from bench.efficiency.settings import Contestant, Plan, Setting
from bench.efficiency.task import Task
from bench.reporting.efficiency.columns import document
from mixers import stack
from mixers.base import Mixer
from mixers.contract.agreement import TOLERANCES
from tests.cli.commands import measure_quickly


def record_of(*, process: int = 1, prepare: bool = False, **axes: Any) -> Record | None:
    (record,) = records_of(0.1, process=process, prepare=prepare, **axes)
    return record


def records_of(*seconds: float, process: int = 1, prepare: bool = False, **axes: Any) -> list[Record]:
    setting = Setting(**({"preset": "layer", "precision": "float32"} | axes))
    contestant = Contestant(mixer="sa", implementation="sdpa", setting=setting)
    plan = Plan(contestants=(contestant,), seconds=seconds, device_type="cpu", seed=0, time_budget_s=None)
    source = RandomFeatures(width=1024, seed=0)
    task = Task(contestant=contestant, plan=plan, source=source, shared=Path(), process=process)
    results = worker.measure(plan.seconds, task=task, prepare=prepare)
    return [each.record for each in results if not isinstance(each, Ready)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    measure_quickly(monkeypatch, samples=4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("pass_", ["inference", "training"])
@pytest.mark.parametrize("direction", ["causal", "both"])
def test_a_sound_implementation_conforms(precision: str, pass_: str, direction: str) -> None:
    record = record_of(precision=precision, pass_=pass_, direction=direction)
    assert record
    assert (record.status, record.conforms, record.conformity_note) == ("ok", True, "")
    assert record.kernel == "flash"  # which PyTorch chooses on a CPU
    assert record.conformity_error is not None
    assert 0 < record.conformity_error < TOLERANCES[precision].output


def disturbed(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    attend = torch.nn.functional.scaled_dot_product_attention
    return lambda *inputs, **options: change(attend(*inputs, **options))


@pytest.mark.parametrize("prepare", [False, True])
def test_another_result_does_not_conform_and_is_timed(monkeypatch: pytest.MonkeyPatch, prepare: bool) -> None:
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", disturbed(lambda y: 1.01 * y))
    record = record_of(prepare=prepare)
    assert record
    assert (record.status, record.conforms) == ("ok", False)
    assert record.conformity_error == pytest.approx(0.01, rel=0.1)
    assert record.latency_ms


def test_a_gradient_that_is_wrong_does_not_conform(monkeypatch: pytest.MonkeyPatch) -> None:
    halved = disturbed(lambda y: (y + y.detach()) / 2)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", halved)
    conforms = [each.conforms for pass_ in ("inference", "training") if (each := record_of(pass_=pass_))]
    assert conforms == [True, False]


@pytest.mark.parametrize(("scale", "conforms"), [(1.0, True), (1.01, False), (math.nan, False)])
def test_what_compiling_changes_does_not_conform(scale: float, conforms: bool) -> None:
    def compile_with_a_mistake(graph: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
        return lambda *inputs: [scale * each for each in graph(*inputs)]

    model = stack.build("sa", implementation="sdpa", preset="layer", width=32)
    compiled, x = torch.compile(torch.sin, backend=compile_with_a_mistake), torch.randn(8)
    setting = Setting(preset="layer", precision="float32", execution="compile")
    found = conformity.check(model, setting, shortest_s=0.1, bind_compiled=lambda: lambda: compiled(x))
    assert (found.conforms, found.conformity_note) == (conforms, "a result is not finite" if scale != scale else "")
    assert found.conformity_error is None or found.conformity_error == pytest.approx(scale - 1, abs=1e-5)


def test_a_compiled_model_is_called_once_more_in_inference(monkeypatch: pytest.MonkeyPatch) -> None:
    """In training its dropout would differ from that of the uncompiled model."""
    called: list[torch.Size] = []

    def call(bound: Callable[[], torch.Tensor]) -> float:
        called.append(bound().shape)
        return 0.0

    monkeypatch.setattr(torch, "compile", lambda model: model)  # the annotations that tests check cannot be compiled
    monkeypatch.setattr(conformity, "_error_of_compiling", call)
    for execution, pass_ in (("compile", "inference"), ("compile", "training"), ("eager", "inference")):
        record = record_of(execution=execution, pass_=pass_)
        assert record
        assert record.conforms
    assert called == [(1, 4, 1024)]


def test_what_is_not_finite_does_not_conform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", disturbed(lambda y: y / 0))
    record = record_of()
    assert record
    assert (record.status, record.conforms, record.conformity_error) == ("ok", False, None)
    assert record.conformity_note == "a result is not finite"


@pytest.mark.parametrize("pass_", ["inference", "training"])
def test_a_pass_that_changes_its_input_or_its_shape_does_not_conform(
    monkeypatch: pytest.MonkeyPatch, pass_: str
) -> None:
    forward = mixers.load("sa").forward

    def changing(mixer: Mixer, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        with torch.no_grad():
            x.mul_(5)
        return forward(mixer, x, mask)

    for wrong, note in (
        (changing, "a pass changed its input"),
        (lambda *inputs: forward(*inputs)[:, :1], "output is (1, 1, 1024), not (1, 4, 1024)"),
    ):
        monkeypatch.setattr(mixers.load("sa"), "forward", wrong)
        record = record_of(pass_=pass_, preset="matched")
        assert record
        assert (record.status, record.conforms, record.conformity_error) == ("ok", False, None)
        assert record.conformity_note == note


@pytest.mark.parametrize("axes", [{}, {"execution": "compile"}, {"batch": 2, "text_tokens": 5}])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [(lambda y: y / 0, "output is not finite"), (lambda y: y[:, :1], "output is ({0}, 1, 1024), not ({0}, {1}, 1024)")],
)
def test_an_output_that_is_wrong_at_longer_audio_does_not_conform_there(
    monkeypatch: pytest.MonkeyPatch,
    wrong: Callable[[torch.Tensor], torch.Tensor],
    said: str,
    axes: dict[str, Any],
) -> None:
    forward = mixers.load("sa").forward

    def wrong_later(mixer: Mixer, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        y = forward(mixer, x, mask)
        return wrong(y) if x.shape[1] > 14 else y

    monkeypatch.setattr(mixers.load("sa"), "forward", wrong_later)
    monkeypatch.setattr(torch, "compile", lambda model: model)  # the annotations that tests check cannot be compiled
    monkeypatch.setattr(conformity, "_error_of_compiling", lambda _: 0.0)
    short, long = records_of(0.1, 0.4, **axes)
    assert (short.status, short.conforms, short.conformity_note) == ("ok", True, "")
    assert (long.status, long.conforms, long.conformity_error) == ("ok", False, short.conformity_error)
    note = said.format(axes.get("batch", 1), 19 + axes.get("text_tokens", 0))
    assert long.conformity_note == f"at 0.4 s: {note}"
    assert long.latency_ms


def test_an_output_is_looked_at_in_inference_of_mixers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def look(_: object, *, shape: tuple[int, ...], dtype: torch.dtype) -> str:
        seen.append((shape, dtype))
        return ""

    monkeypatch.setattr(conformity, "remark_on", look)
    cases: list[dict[str, Any]] = [{"pass_": "training"}, {"preset": "head"}, {"precision": "bfloat16"}]
    for axes in cases:
        record_of(**axes)
    assert seen == [((1, 4, 1024), torch.bfloat16)]


def test_a_check_that_fails_loses_no_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(conformity, "output_error", fail)
    record = record_of()
    assert record
    assert (record.status, record.conforms, record.conformity_error) == ("ok", None, None)
    assert record.conformity_note.startswith("OutOfMemoryError: CUDA out of memory")


def test_only_mixers_are_checked_and_only_once() -> None:
    records = [record_of(process=2), record_of(preset="head")]
    assert [(each.conforms, each.conformity_note) for each in records if each] == [(None, "")] * 2


def test_the_columns_state_the_tolerances() -> None:
    text = document(Record)["conforms"]
    stated = {
        name: float(number)
        for number, names in re.findall(r"([\d.]+e-\d) in ((?:``\w+``(?: and )?)+)", text)
        for name in re.findall(r"\w+", names.replace("and", ""))
    }
    assert stated == {name: each.output for name, each in TOLERANCES.items() if name != "float64"}
    in_training = [TOLERANCES[name].gradients for name in ("float32", "tf32", "bfloat16")]
    assert [float(each) for each in re.findall(r"[\d.]+e-\d", text.partition("in training")[2])] == in_training
    assert TOLERANCES["native"] == TOLERANCES["tf32"]
    assert f"{conformity.LONGEST_S:g} s of audio" in text


def test_the_frames_checked_are_at_most_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[int] = []

    def remember(_: object, x: torch.Tensor) -> float:
        frames.append(x.shape[1])
        return 0.0

    monkeypatch.setattr(conformity, "output_error", remember)
    model = stack.build("sa", implementation="sdpa", preset="layer", width=32)
    for shortest_s in (0.5, 400.0):
        conformity.check(model, Setting(preset="layer", precision="float32"), shortest_s=shortest_s, bind_compiled=None)
    assert frames == [24, 99]
