"""An encoder as a contestant gives the features of its windows, says how large a call is, and may run out of memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import random_encoders
from bench.efficiency import worker
from bench.efficiency.isolation import Ready
from bench.efficiency.measured_encoder import MeasuredEncoder
from bench.efficiency.records import Record
from bench.efficiency.settings import Contestant, Plan, Setting
from bench.efficiency.task import Task
from bench.efficiency.waveforms import Waveforms
from bench.encoders import encoder_shape, load_encoder
from tests.tiny_encoder import TINY, WIDTH, save_tiny_encoder
from tests.tiny_whisper import save_tiny_whisper


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("tiny"))


def task(name: object, *, window_s: float | None = None, batch: int = 1) -> Task:
    setting = Setting(preset="encoder", precision="float32", batch=batch, width=WIDTH)
    contestant = Contestant(mixer=str(name), implementation="form", setting=setting, window_s=window_s)
    plan = Plan(contestants=(contestant,), seconds=(0.1,), device_type="cpu", seed=0, time_budget_s=None)
    return Task(contestant=contestant, plan=plan, source=Waveforms(seed=0), shared=Path())


def features(encoder: MeasuredEncoder, x: Tensor, samples: int) -> Tensor:
    made = encoder.bind(x, samples)()
    assert isinstance(made, Tensor)
    return made


@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.01, 2.3, 10.4])
@pytest.mark.parametrize("batch", [1, 2])
def test_windows_go_through_as_each_would_alone(tiny: Path, seconds: float, batch: int) -> None:
    encoder, samples = MeasuredEncoder(task(tiny, window_s=1.0, batch=batch)), round(16_000 * seconds)
    x = encoder.audio(seconds)  # (B, samples)
    assert x.shape == (batch, samples)
    ends = [*range(16_000, samples - 399, 16_000), samples]
    with torch.inference_mode():
        alone = [
            encoder.model.encoder(x[:, start:end]).last_hidden_state
            for start, end in zip([0, *ends], ends, strict=False)
        ]
    expected = torch.cat(alone, dim=1)
    assert features(encoder, x, samples).shape == expected.shape
    assert torch.allclose(features(encoder, x, samples), expected, atol=1e-5)
    assert max(count for _, count in encoder.model.batches(samples)) <= 8


def test_one_piece_is_what_the_encoder_makes(tiny: Path) -> None:
    encoder = MeasuredEncoder(task(tiny))
    loaded = load_encoder(str(tiny), width=None, device="cpu", dtype=torch.float32, seed=0)
    expected = loaded(Waveforms(seed=0).waveform(1.5))
    assert torch.allclose(features(encoder, encoder.audio(1.5), 24_000), expected, atol=1e-5)


@pytest.mark.parametrize("seconds", [1.0, 30.0, 61.0])
def test_whisper_hears_windows_of_30_s(tmp_path: Path, seconds: float) -> None:
    folder = save_tiny_whisper(tmp_path / "whisper")
    assert encoder_shape(str(folder)).window_s == 30.0
    encoder, samples = MeasuredEncoder(task(folder, window_s=30.0, batch=2)), round(16_000 * seconds)
    x = encoder.audio(seconds)
    assert x.shape[:2] == (2, -(-samples // 480_000))
    assert x.shape == encoder.random(samples).shape
    loaded = load_encoder(str(folder), width=None, device="cpu", dtype=torch.float32, seed=0)
    expected = loaded(Waveforms(seed=0).waveform(seconds))
    assert torch.allclose(features(encoder, x, samples)[:1], expected, atol=1e-4)


def test_the_arithmetic_is_that_of_all_windows(tiny: Path) -> None:
    one, two, windows = (
        MeasuredEncoder(task(tiny, window_s=window_s, batch=batch))
        for window_s, batch in ((None, 1), (None, 2), (1, 1))
    )
    second, four, whole = windows.sizes(16_000), windows.sizes(64_000), one.sizes(64_000)
    assert four.flops == 4 * (second.flops or 0)
    assert two.sizes(64_000).flops == 2 * (whole.flops or 0)
    # Scores between frames and their weighted sums, in two layers: 199 frames see each other, or four times 49 do.
    frames = 64_000 // 320
    attention = 4 * WIDTH * 2 * (199**2 - 4 * 49**2)
    assert (whole.flops or 0) - four.flops == pytest.approx(attention, abs=0.05 * (whole.flops or 0))
    weights = sum(each.numel() for each in one.model.parameters())
    assert (one.sizes().parameters, one.sizes().flops) == (weights, None)
    assert whole.minimum_bytes == 4 * (64_000 + weights + (frames - 1) * WIDTH)
    assert whole.fused_attention is True


def test_an_encoder_without_a_fused_path_says_so(tmp_path: Path) -> None:
    from transformers import WavLMConfig, WavLMModel

    WavLMModel(WavLMConfig(**TINY)).save_pretrained(tmp_path)
    assert MeasuredEncoder(task(tmp_path)).sizes().fused_attention is False


@pytest.mark.parametrize(("name", "changes"), [("xlsr-random", TINY), ("whisper-base-random", {"encoder_layers": 1})])
def test_random_encoders_can_be_measured(monkeypatch: pytest.MonkeyPatch, name: str, changes: dict[str, Any]) -> None:
    function = {"xlsr-random": "xlsr_300m_config", "whisper-base-random": "whisper_base_config"}[name]
    made: Callable[[], Any] = getattr(random_encoders, function)
    config = made()
    for field, value in changes.items():
        setattr(config, field, value)
    monkeypatch.setattr(random_encoders, function, lambda: config)
    shape = encoder_shape(name)
    encoder = MeasuredEncoder(task(name, window_s=shape.window_s))
    assert features(encoder, encoder.random(16_000), 16_000).shape[2] == shape.width
    assert encoder.sizes().fused_attention is True


def test_a_graph_captures_what_the_call_runs(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers made a mask while a graph was captured, and with a mask attention runs in a slow kernel."""
    encoder = MeasuredEncoder(task(tiny))
    masks: list[Tensor | None] = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def note(*arguments: Any, **options: Any) -> Tensor:
        masks.append(options["attn_mask"])
        return attention(*arguments, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", note)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    encoder.bind(encoder.audio(0.5), 8000)()
    assert len(masks) > 0
    assert masks == [None] * len(masks)


def test_what_does_not_fit_is_a_row_with_the_longest_that_fits(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attend = torch.nn.functional.scaled_dot_product_attention

    def refuse_long(q: Tensor, *others: Any, **options: Any) -> Tensor:
        if q.shape[2] >= 9:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 11.92 GiB.")
        return attend(q, *others, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", refuse_long)
    results = worker.measure([0.1, 0.3], task=task(tiny))
    records: list[Record] = [each.record for each in results if not isinstance(each, Ready)]
    assert [each.status for each in records] == ["ok", "oom"]
    assert records[1].oom_requested_gib == 11.92
    assert records[1].longest_fitting_seconds == pytest.approx(0.185, abs=0.02)
    assert {(each.part, each.fused_attention, each.reach) for each in records} == {("encoder", True, "the whole clip")}
