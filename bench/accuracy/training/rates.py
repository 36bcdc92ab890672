"""Times training steps: how many utterances per second some learners train on, and where the time goes."""

import itertools
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.benchmark import timer  # waits for the GPU, then returns seconds

from bench.accuracy.inputs.batches import Batch, Inputs, encode
from bench.accuracy.inputs.features import Encoders
from bench.accuracy.training.learner import Learner

WARM_UP_STEPS = 4
PART_STEPS = 5  # in which each part is timed by itself
_UTILISATION_STEPS = 5  # between two readings of the GPU's utilisation


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The speed of one way of training.

    Attributes:
        utterances_per_s: All learners together, in the median step, including the wait for audio. The median excludes
            steps that compile something, as in the first minutes of a training.
        load_ms: Median wait for a batch in these steps.
        encode_ms: Both encoders. Like the next, it is from further steps, in which each part waits for the one before.
        step_ms: Forward, backward and optimiser of each learner.
        gpu_busy: Share of the time in which a kernel ran, as NVML samples it; None on a CPU.
        peak_memory_gib: The allocator's peak, including weights; None on a CPU.
    """

    utterances_per_s: float
    load_ms: float
    encode_ms: float
    step_ms: dict[str, float]
    gpu_busy: float | None
    peak_memory_gib: float | None


class TimedTraining:
    """Some learners behind the encoders, trained to be timed."""

    def __init__(
        self, learners: Sequence[Learner], encoders: Encoders, *, device: torch.device, encode_texts_again: bool
    ) -> None:
        """Prepare to train.

        Args:
            learners: All are trained on each batch.
            encoders: Of speech and text.
            device: The device of the learners.
            encode_texts_again: Whether to encode a text each time it occurs, as the paper's code does.
        """
        self._learners = learners
        self._speech, self._text = encoders
        self._device, self._encode_texts_again = device, encode_texts_again

    def rate(self, batches: Iterator[Batch], *, steps: int) -> Rate:
        """Train on batches: `WARM_UP_STEPS` for warm-up, then the timed steps, then `PART_STEPS` to time each part."""
        on_gpu = self._device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        busy: list[int] = []
        for _ in self._steps(itertools.islice(batches, WARM_UP_STEPS)):
            pass
        waits: list[float] = []
        began, rates = time.perf_counter(), []  # every step ends with the losses on the host
        for step, batch in enumerate(self._steps(_time_waits(itertools.islice(batches, steps), waits))):
            now = time.perf_counter()
            rates.append(len(batch.names) / (now - began))
            began = now
            if on_gpu and step % _UTILISATION_STEPS == _UTILISATION_STEPS - 1:
                busy.append(torch.cuda.utilization(self._device))
                began = time.perf_counter()
        encode_ms, step_ms = self._time_parts(batches)
        return Rate(
            utterances_per_s=statistics.median(rates),
            load_ms=1e3 * statistics.median(waits),
            encode_ms=encode_ms,
            step_ms=step_ms,
            gpu_busy=statistics.fmean(busy) / 100 if busy else None,
            peak_memory_gib=torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
        )

    def _steps(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Train on the batches; yield each batch after all learners have taken their step on it."""
        for step, batch in enumerate(batches):
            inputs = self._encode(batch)
            losses = torch.stack([learner.step(inputs, moment=f"0/{step}") for learner in self._learners])
            losses.tolist()  # as in training, which checks that they are finite
            yield batch

    def _encode(self, batch: Batch) -> Inputs:
        if self._text is not None:
            if self._encode_texts_again:
                self._text.forget()
            self._text.prepare(batch.texts)
        return encode(batch, speech=self._speech, text=self._text, device=self._device)

    def _time_parts(self, batches: Iterable[Batch]) -> tuple[float, dict[str, float]]:
        """Return the median ms of encoding a batch, and of each learner's step."""
        encode_s: list[float] = []
        step_s: dict[str, list[float]] = {learner.name: [] for learner in self._learners}
        for step, batch in enumerate(batches):
            began = timer()
            inputs = self._encode(batch)
            ended = timer()
            encode_s.append(ended - began)
            for learner in self._learners:
                began = ended
                learner.step(inputs, moment=f"1/{step}")
                ended = timer()
                step_s[learner.name].append(ended - began)
        return 1e3 * statistics.median(encode_s), {name: 1e3 * statistics.median(each) for name, each in step_s.items()}


def _time_waits(batches: Iterator[Batch], waits: list[float]) -> Iterator[Batch]:
    """Yield the batches, and append the seconds that each was waited for."""
    began = time.perf_counter()
    for batch in batches:
        waits.append(time.perf_counter() - began)
        yield batch
        began = time.perf_counter()
