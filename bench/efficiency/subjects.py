"""What a contestant calls: a mixer's model, an encoder or the head, each with its input."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

import mixers
from bench.efficiency.measured_head import MeasuredHead
from bench.efficiency.measurement.execution import bind, callable_model
from bench.efficiency.measurement.sizes import Sizes, sizes_of
from bench.efficiency.selection import cannot_be
from bench.efficiency.settings import Contestant
from bench.efficiency.task import Task
from bench.efficiency.waveforms import Waveforms
from bench.speech import frames_of
from mixers import stack
from mixers.base import SequenceModel
from mixers.support.precision import DTYPES


class Subject(Protocol):
    """A model on its device, in its precision, with its input. Lengths are in samples at 16 kHz."""

    @property
    def model(self) -> nn.Module:
        """What is called."""

    def audio(self, seconds: float) -> Tensor:
        """Return the input of a batch: the same audio, started at another place in each sequence.

        Raises:
            UserError: A recording cannot be read.
        """

    def random(self, samples: int) -> Tensor:
        """Return random input of this length, made on the device."""

    def bind(self, x: Tensor, samples: int) -> Callable[[], object]:
        """Return a function that issues one pass on an input of this length."""

    def sizes(self, samples: int | None = None) -> Sizes:
        """Return the size of the model, and of a call on this length if one is given."""


def build(task: Task) -> Subject:
    """Build what a task measures.

    Raises:
        Exception: Whatever a library raises.
    """
    if task.contestant.setting.part != "encoder":
        return _OnFeatures(task)
    from bench.efficiency.measured_encoder import MeasuredEncoder  # needs a second of imports, mixers do not

    return MeasuredEncoder(task)


def unavailable(contestant: Contestant, *, device_type: str) -> str:
    """Return why a contestant cannot run on ``cpu`` or ``cuda``, or in its direction; empty if it can."""
    setting = contestant.setting
    if setting.part != "mixer":
        return ""
    mixer = mixers.load(contestant.mixer)
    config = stack.sizes(mixer, setting.preset, width=setting.width, heads=setting.heads)
    return cannot_be(mixer, setting.direction) or mixer.unavailable(
        contestant.implementation, config, device_type=device_type, precision=setting.precision
    )


class _OnFeatures:
    """A mixer or the head: its input is features (B, L, D)."""

    def __init__(self, task: Task) -> None:
        setting = task.contestant.setting
        assert not isinstance(task.source, Waveforms)
        self._source = task.source
        self._setting, self._device, self._dtype = setting, task.plan.device_type, DTYPES[setting.precision]
        self.model: SequenceModel | MeasuredHead = _model(task).to(self._device, self._dtype)
        self.model.train(setting.pass_ == "training")
        normal = torch.Generator().manual_seed(task.plan.seed)
        text = torch.randn(setting.batch, setting.text_tokens, self.model.width, generator=normal)  # (B, N, D)
        self._bind = partial(
            bind,
            callable_model(self.model, setting.execution),
            pass_=setting.pass_,
            text=text.to(self._device, self._dtype) if setting.text_tokens else None,
        )

    def audio(self, seconds: float) -> Tensor:
        features = self._source.features(seconds).to(self._device, self._dtype)  # (1, L, D)
        step = features.shape[1] // self._setting.batch
        return torch.cat([features.roll(row * step, dims=1) for row in range(self._setting.batch)])  # (B, L, D)

    def random(self, samples: int) -> Tensor:
        size = self._setting.batch, frames_of(samples), self.model.width
        return torch.randn(size, device=self._device, dtype=self._dtype)

    def bind(self, x: Tensor, samples: int) -> Callable[[], object]:  # noqa: ARG002
        return self._bind(x)

    def sizes(self, samples: int | None = None) -> Sizes:
        if samples is None:
            return Sizes(parameters=self.model.parameter_count())
        setting = self._setting
        frames = frames_of(samples) + setting.text_tokens
        return sizes_of(self.model, batch=setting.batch, frames=frames, pass_=setting.pass_)


def _model(task: Task) -> SequenceModel | MeasuredHead:
    contestant, seed = task.contestant, task.plan.seed
    setting = contestant.setting
    if setting.part == "head":
        return MeasuredHead(setting.width, seed=seed)
    return stack.build(
        contestant.mixer,
        implementation=contestant.implementation,
        preset=setting.preset,
        width=setting.width,
        heads=setting.heads,
        direction=setting.direction,
        seed=seed,
    )
