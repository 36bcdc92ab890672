"""A speech encoder as it is measured: in one piece, or in windows that go through in batches.

The input of wav2vec 2.0's family is the waveform, that of Whisper the log-mel spectrograms of its windows.
Feature extractors (normalisation, spectrograms) run before the call, usually on the CPU, so they are not in the time.

Up to `WINDOWS_IN_A_BATCH` windows of equal length are a batch. The last, shorter window goes through alone, at its own
length; Whisper pads it with silence to 30 s. The frames of all windows are put together within the call.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.efficiency.measurement.execution import callable_model
from bench.efficiency.measurement.sizes import Sizes
from bench.efficiency.settings import WINDOWS_IN_A_BATCH
from bench.efficiency.task import Task
from bench.efficiency.waveforms import Waveforms
from bench.encoders import load_encoder, normalise
from bench.hub import hide_progress_bars
from bench.speech import HOP_SAMPLES, cut_into_windows, samples_of
from mixers.support.precision import DTYPES


class WindowedEncoder(nn.Module):
    """An encoder that hears a recording in windows.

    Attributes:
        encoder: A model of transformers.
        width: Features per frame, D.
        window: Samples of a window; None for one piece.
        log_mel: Whether the encoder hears spectrograms, as Whisper does.
    """

    def __init__(self, encoder: nn.Module, *, width: int, window: int | None, log_mel: bool) -> None:
        super().__init__()
        self.width = width
        self.encoder = encoder
        self.window = window
        self.log_mel = log_mel

    def forward(self, x: Tensor, samples: int) -> Float[Tensor, "B L D"]:
        """Encode recordings of equal length.

        Args:
            x: Waveforms (B, samples), or the spectrograms of all their windows (B, windows, mels, columns).
            samples: Length of the recordings.

        Returns:
            The last layer. Of spectrograms only the frames of the recording itself, one for every 320 samples.
        """
        frames = [self._encode(batch).reshape(len(x), -1, self.width) for batch in self._batches(x, samples)]
        whole = frames[0] if len(frames) == 1 else torch.cat(frames, dim=1)  # (B, L, D)
        return whole[:, : samples // HOP_SAMPLES] if self.log_mel else whole

    def _encode(self, batch: Tensor) -> Tensor:
        features: Tensor = self.encoder(batch).last_hidden_state
        return features

    def _batches(self, x: Tensor, samples: int) -> Iterator[Tensor]:
        """Yield (windows, samples) or (windows, mels, columns), with the windows of all sequences in a batch."""
        start = 0
        for length, count in self.batches(samples):
            if self.log_mel:
                yield x[:, start : start + count].flatten(0, 1)
                start += count
            else:
                yield x[:, start : start + count * length].reshape(-1, length)
                start += count * length

    def batches(self, samples: int) -> Iterator[tuple[int, int]]:
        """Yield the length of the windows of each batch, and how many of each sequence are in it."""
        windows = [len(window) for window in cut_into_windows(samples, self.window)]
        alike = [windows[0]] * len(windows) if self.log_mel else windows  # spectrograms are of equal length
        for length, group in itertools.groupby(alike):
            left = sum(1 for _ in group)
            while left:
                count = min(left, WINDOWS_IN_A_BATCH)
                yield length, count
                left -= count


class MeasuredEncoder:
    """The encoder of a task, on its device. See `bench.efficiency.subjects.Subject`."""

    def __init__(self, task: Task) -> None:
        hide_progress_bars()
        contestant, plan = task.contestant, task.plan
        assert isinstance(task.source, Waveforms)
        self._source = task.source
        self._batch = contestant.setting.batch
        self._device, self._dtype = plan.device_type, DTYPES[contestant.setting.precision]
        self._loaded = load_encoder(
            contestant.mixer, width=None, device=self._device, dtype=self._dtype, seed=plan.seed
        )
        self._network: Any = self._loaded.model  # of Whisper a feature extractor with the encoder behind it
        encoder: Any = self._network.encoder if self._loaded.log_mel else self._network
        self.model = WindowedEncoder(
            encoder,
            width=self._loaded.width,
            window=None if contestant.window_s is None else samples_of(contestant.window_s),
            log_mel=self._loaded.log_mel,
        )
        self._called = callable_model(self.model, contestant.setting.execution)
        self._flops_of: dict[int, int] = {}  # a window of each length

    def audio(self, seconds: float) -> Tensor:
        """Return the input of a batch: the same audio, started at another place in each sequence."""
        waveform = self._source.waveform(seconds)  # (samples,)
        step = len(waveform) // self._batch
        rolled = torch.stack([waveform.roll(row * step) for row in range(self._batch)])  # (B, samples)
        return self._prepared(rolled).to(self._device, self._dtype)

    def random(self, samples: int) -> Tensor:
        """Return random input of this length, made on the device."""
        return torch.randn(self._shape(samples), device=self._device, dtype=self._dtype)

    def bind(self, x: Tensor, samples: int) -> Callable[[], object]:
        """Return a function that encodes an input of this length."""

        def call() -> object:
            with torch.inference_mode():
                return self._called(x, samples)

        return call

    def sizes(self, samples: int | None = None) -> Sizes:
        """Return the size of the encoder, and of a call on this length."""
        weights = [*self.model.parameters()]
        sizes = Sizes(
            parameters=sum(each.numel() for each in weights),
            fused_attention=self._network.config._attn_implementation != "eager",
        )
        if samples is None:
            return sizes
        flops = sum(count * self._flops(length) for length, count in self.model.batches(samples))
        numbers = math.prod(self._shape(samples)) + sum(each.numel() for each in weights)
        numbers += self._batch * self._loaded.frames(samples) * self._loaded.width
        return dataclasses.replace(sizes, flops=self._batch * flops, minimum_bytes=numbers * weights[0].element_size())

    def _shape(self, samples: int) -> tuple[int, ...]:
        """Return the shape of the input at this length."""
        if not self.model.log_mel:
            return self._batch, samples
        config = self._network.config
        windows = len(cut_into_windows(samples, self.model.window))
        return self._batch, windows, config.num_mel_bins, 2 * config.max_source_positions

    def _prepared(self, waveforms: Float[Tensor, "B samples"]) -> Tensor:
        """Return what the encoder hears of waveforms on the CPU: waveforms, or spectrograms of all windows."""
        if self._loaded.normalises:
            return torch.stack([normalise(each) for each in waveforms])
        if not self._loaded.log_mel:
            return waveforms
        windows = cut_into_windows(waveforms.shape[1], self.model.window)
        return torch.stack([self._network.spectrogram(waveforms[:, each.start : each.stop]) for each in windows], dim=1)

    def _flops(self, length: int) -> int:
        """Return the arithmetic of one window, as PyTorch counts it on tensors that hold no numbers."""
        if length not in self._flops_of:
            with (
                FlopCounterMode(display=False) as counter,
                FakeTensorMode(allow_non_fake_inputs=True),
                sdpa_kernel(SDPBackend.MATH),  # not every fused attention is counted
                torch.no_grad(),
            ):
                shape = (1, *self._shape(length)[2:]) if self.model.log_mel else (1, length)
                self.model.encoder(torch.empty(shape, device=self._device, dtype=self._dtype))
            self._flops_of[length] = counter.get_total_flops()
        return self._flops_of[length]
