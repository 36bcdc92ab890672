"""Times training and scoring: how many utterances per second some learners take, and where the time goes."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch.utils.benchmark import timer  # waits for the GPU, then returns seconds

from bench.accuracy.evaluation.scoring import predict
from bench.accuracy.inputs.feed import Feed, Inputs
from bench.accuracy.run import Run
from bench.accuracy.training.learner import Learner
from bench.accuracy.training.steps import Steps, gather, groups

WARM_UP_STEPS = 4
PART_STEPS = 5  # in which each part is timed by itself
_UTILISATION_STEPS = 5  # between two readings of the GPU's utilisation


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The speed of one way of training.

    Attributes:
        utterances_per_s: All learners and processes together, in the median step, including the wait for audio. With
            several seeds, each of which draws its own batch, an utterance counts once for each seed. The median
            excludes steps that compile something, as in the first minutes of a training.
        load_ms: Mean wait for audio in these steps.
        encode_ms: Both encoders, for the seeds of the first process. Like the next, it is from further steps, in which
            each part waits for the one before.
        step_ms: Forward, backward and optimiser of each learner of the first process.
        gpu_busy: Share of the time in which a kernel ran, as NVML samples it; None on a CPU.
        peak_memory_gib: The allocator's peak in the first process, including weights; None on a CPU.
    """

    utterances_per_s: float
    load_ms: float
    encode_ms: float
    step_ms: dict[str, float]
    gpu_busy: float | None
    peak_memory_gib: float | None


@dataclass(frozen=True, kw_only=True)
class ScoringRate:
    """The speed of one way of scoring whole recordings with all learners.

    Attributes:
        utterances_per_s: Encoding, all learners and processes together, including the wait for audio.
        first_utterances_per_s: The first time, in which kernels are compiled for the lengths that occur.
        utterances: How many were scored the second time.
        gpu_busy: As in `Rate`.
    """

    utterances_per_s: float
    first_utterances_per_s: float
    utterances: int
    gpu_busy: float | None


class TimedTraining:
    """Some learners behind the encoders, trained to be timed."""

    def __init__(
        self, run: Run, learners: Sequence[Learner], feed: Feed, *, count: int, accelerator: Accelerator
    ) -> None:
        """Prepare to train.

        Args:
            run: What is trained.
            learners: Those of this process.
            feed: The training utterances.
            count: Their number.
            accelerator: Knows the other processes.
        """
        self._groups, self._feed, self._accelerator = groups(run, learners), feed, accelerator
        self._steps = Steps(self._groups, feed, count=count, batch=run.batch)
        self._utterances = run.batch * (1 if run.shared_data else len(run.seeds))  # of a step
        self._names = run.learners()

    def rate(self, *, steps: int) -> Rate:
        """Train: `WARM_UP_STEPS` for warm-up, then the timed steps, then `PART_STEPS` to time each part."""
        on_gpu = self._accelerator.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        inputs = self._steps.inputs(0)
        busy: list[int] = []
        rates: list[float] = []
        waited = 0.0
        for step in range(WARM_UP_STEPS + steps):
            if step == WARM_UP_STEPS:
                waited = self._feed.waited_s
            began = time.perf_counter()
            losses: dict[str, torch.Tensor] = {}
            for group in self._groups:
                losses |= self._steps.take(group, next(inputs), moment=f"0/{step}")
            gather(losses, names=self._names, accelerator=self._accelerator)  # every step ends with them on the host
            rates.append(self._utterances / (time.perf_counter() - began))
            if on_gpu and step % _UTILISATION_STEPS == _UTILISATION_STEPS - 1 and step >= WARM_UP_STEPS:
                busy.append(torch.cuda.utilization(self._accelerator.device))
        waited = self._feed.waited_s - waited
        encode_ms, step_ms = self._time_parts(inputs)
        return Rate(
            utterances_per_s=statistics.median(rates[WARM_UP_STEPS:]),
            load_ms=1e3 * waited / steps,
            encode_ms=encode_ms,
            step_ms=step_ms,
            gpu_busy=statistics.fmean(busy) / 100 if busy else None,
            peak_memory_gib=torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
        )

    def _time_parts(self, inputs: Iterator[Inputs]) -> tuple[float, dict[str, float]]:
        """Return the median ms of encoding the batches of a step, and of each learner's step."""
        encode_s: list[float] = []
        step_s: dict[str, list[float]] = {each.name: [] for group in self._groups for each in group.learners}
        for step in range(PART_STEPS):
            began = timer()
            encoded = [next(inputs) for _ in self._groups]
            ended = timer()
            encode_s.append(ended - began)
            for group, each in zip(self._groups, encoded, strict=True):
                staged = self._steps.stage(each)
                for learner in group.learners:
                    began = timer()
                    learner.step(staged, moment=f"1/{step}")
                    ended = timer()
                    step_s[learner.name].append(ended - began)
        return 1e3 * statistics.median(encode_s), {name: 1e3 * statistics.median(each) for name, each in step_s.items()}


def scoring_rate(
    learners: Sequence[Learner],
    feed: Feed,
    batches: Sequence[Sequence[int]],
    *,
    at_least: int,
    accelerator: Accelerator,
) -> ScoringRate:
    """Score recordings twice, and return the rates.

    The second time they are scored again and again, until there were so many: processes that read audio take about a
    second to start, which is little in a large corpus.
    """
    once = sum(map(len, batches))
    repeated = [*batches] * math.ceil(max(at_least, once) / once)
    busy: list[int] = []

    def read_utilisation(_: int) -> None:
        if accelerator.device.type == "cuda":
            busy.append(torch.cuda.utilization(accelerator.device))

    def score(batches: Sequence[Sequence[int]], done: Callable[[int], None]) -> float:
        began = time.perf_counter()
        predict(learners, feed, batches, accelerator=accelerator, done=done)  # ends with the scores on the host
        return sum(map(len, batches)) / (time.perf_counter() - began)

    first, later = score(batches, lambda _: None), score(repeated, read_utilisation)
    return ScoringRate(
        utterances_per_s=later,
        first_utterances_per_s=first,
        utterances=sum(map(len, repeated)),
        gpu_busy=statistics.fmean(busy) / 100 if busy else None,
    )
