"""How fast a row of the table is trained: six mixers on one pass of the encoders, against one after another.

One after another is the manner of the paper's code: float32 throughout, the encoders run again for each mixer. Both are
measured in one process, on the same batches, after a warm-up that compiles what is to be compiled, and by the same
learners: the CUDA graphs of these serve both.
"""

import dataclasses
import itertools
import json
import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from bench.accuracy.corpora.base import TRAIN, Corpus
from bench.accuracy.inputs.batches import Batch, Crops, Inputs, Order, encode, load
from bench.accuracy.inputs.features import Encoders, SpeechFeatures, TextFeatures, open_encoders
from bench.accuracy.run import Run
from bench.accuracy.training.compiling import compiling_ahead
from bench.accuracy.training.learner import Learner
from bench.files import write_atomically
from bench.speech import frames_of, samples_of
from mixers import autotuning
from mixers.support.errors import UserError
from mixers.support.precision import use_precision

WARM_UP_STEPS = 4
_LAPS = 5  # steps in which each part is timed by itself
_READ_EVERY = 5  # steps, the GPU's load

TOGETHER = "together"

# The paper's table: encoders, seeds asked for, utterances of release 1.11's training set, epochs.
TABLE_ENCODERS, TABLE_SEEDS, TABLE_UTTERANCES, TABLE_EPOCHS = 4, 3, 84_030, 20


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How one way of training went.

    Attributes:
        utterances_per_s: Through all of its learners in the median step, waiting for audio included; a step in which
            something had to be compiled, as in the first minutes of a training, does not count.
        load_ms: Median wait for a batch in those steps.
        encode_ms: Both encoders; this and the next from further steps, in which one part waits for the other, as they
            need not else.
        step_ms: Forward, backward and the optimiser, by learner.
        gpu_busy: Share of time in which a kernel ran, as NVML samples it; None on a CPU.
        peak_memory_gib: The allocator's peak, weights and all; None on a CPU.
    """

    utterances_per_s: float
    load_ms: float
    encode_ms: float
    step_ms: dict[str, float]
    gpu_busy: float | None
    peak_memory_gib: float | None

    @property
    def parts(self) -> str:
        """In words, what a step consists of."""
        steps = ", ".join(f"{name} {ms:.0f}" for name, ms in self.step_ms.items())
        busy = "" if self.gpu_busy is None else f"; GPU busy {self.gpu_busy:.0%}"
        return f"ms: load {self.load_ms:.0f}, encode {self.encode_ms:.0f}, {steps}{busy}"


def measure(
    run: Run, corpus: Corpus, encoders: Encoders, *, accelerator: Accelerator, steps: int, workers: int
) -> Iterator[tuple[str, Rate]]:
    """Yield the rate of all mixers together, and of each alone in the released code's manner, as they are measured.

    Args:
        run: Its precision is that of the first way; one seed of each mixer is trained.
        corpus: With enough training utterances for the steps.
        encoders: In the run's precision; those of float32 take their room, if nobody else holds them.
        accelerator: Of one process.
        steps: Timed ones, of each way.
        workers: Processes that read audio.

    Raises:
        UserError: The corpus is too small.
    """
    needed_steps = WARM_UP_STEPS + steps + _LAPS
    need = needed_steps * run.batch
    if (have := len(corpus.split(TRAIN))) < need:
        hint = f"Give --utterances {math.ceil(1.05 * need * len(corpus.utterances) / have)}, or fewer --steps."
        raise UserError(f"{have} training utterances are too few: {need} are needed", hint=hint)
    use_precision("native")  # in float32 every library computes by its own default, as the paper's code did
    configs = [config for config, seed in run.models() if seed == run.seeds[0]]
    ways = {TOGETHER: (run.precision, configs), **{config.mixer: ("float32", [config]) for config in configs}}
    (speech, text), loaded = encoders, run.precision
    del encoders
    with compiling_ahead(
        configs,
        precisions=[precision for precision, _ in ways.values()],
        products="native",
        batch=run.batch,
        frames=frames_of(samples_of(run.crop_seconds)),
        text=run.text is not None,
        device=accelerator.device,
    ):
        if text is not None:  # as in every epoch but the first
            text.prepare([each.text for each in corpus.split(TRAIN)])
    for name, (precision, chosen) in ways.items():
        learners = [
            Learner(
                config,
                seed=run.seeds[0],
                learning_rate=run.learning_rate,
                precision=precision,
                class_weights=None,
                accelerator=accelerator,
            )
            for config in chosen
        ]
        again = name != TOGETHER
        if precision != loaded:
            speech, text = open_encoders(dataclasses.replace(run, precision=precision), device=str(accelerator.device))
            loaded = precision
        batches = _batches(run, corpus, steps=needed_steps, workers=workers)
        way = _Way(learners, speech, text, device=accelerator.device, again=again)
        with autotuning.compiling_side_by_side(settling=True):
            yield name, way.rate(batches, steps=steps)


def hours_of_the_table(together: Rate) -> float:
    """Return an estimate for the whole table from the rate of one row with one seed; further seeds may cost less."""
    return TABLE_ENCODERS * TABLE_SEEDS * TABLE_EPOCHS * TABLE_UTTERANCES / together.utterances_per_s / 3600


def write(rates: Mapping[str, Rate], path: Path, *, facts: dict[str, object]) -> dict[str, object]:
    """Write what has been measured so far as JSON and return it; `times_faster` counts the mixers that have been.

    Raises:
        UserError: It cannot be written.
    """
    together, *apart = rates.values()
    share = len(apart) / len(together.step_ms)
    alone_s = sum(1 / rate.utterances_per_s for rate in apart) / share if apart else None  # an utterance, every mixer
    content: dict[str, object] = {
        **facts,
        "rates": {name: vars(rate) for name, rate in rates.items()},
        "times_faster": None if alone_s is None else together.utterances_per_s * alone_s,
        "hours_of_the_table": hours_of_the_table(together),
    }
    try:
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", hint="Give another --output.") from None
    return content


class _Way:
    """One way of training: some learners behind the encoders."""

    def __init__(
        self,
        learners: Sequence[Learner],
        speech: SpeechFeatures,
        text: TextFeatures | None,
        *,
        device: torch.device,
        again: bool,
    ) -> None:
        """Take note; `again`: texts are encoded whenever they come, as in its code."""
        self._learners = learners
        self._speech, self._text = speech, text
        self._device, self._again = device, again

    def rate(self, batches: Iterator[Batch], *, steps: int) -> Rate:
        """Train on the batches: some to warm up, those that are timed, and some to tell the parts apart."""
        on_gpu = self._device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        busy: list[int] = []
        for _ in self._steps(itertools.islice(batches, WARM_UP_STEPS)):
            pass
        waits: list[float] = []
        began, rates = time.perf_counter(), []  # every step ends with the losses on the host
        for step, batch in enumerate(self._steps(_timed(itertools.islice(batches, steps), waits))):
            now = time.perf_counter()
            rates.append(len(batch.names) / (now - began))
            began = now
            if on_gpu and step % _READ_EVERY == _READ_EVERY - 1:
                busy.append(torch.cuda.utilization(self._device))
                began = time.perf_counter()
        encode_ms, step_ms = self._laps(batches)
        return Rate(
            utterances_per_s=statistics.median(rates),
            load_ms=1e3 * statistics.median(waits),
            encode_ms=encode_ms,
            step_ms=step_ms,
            gpu_busy=statistics.fmean(busy) / 100 if busy else None,
            peak_memory_gib=torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
        )

    def _steps(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Train as training does, or in the other way; yield each batch once all have learned from it."""
        for step, batch in enumerate(batches):
            inputs = self._encode(batch)
            losses = torch.stack([learner.step(inputs, moment=f"0/{step}") for learner in self._learners])
            losses.tolist()  # as training does, which sees that they are finite
            yield batch

    def _encode(self, batch: Batch) -> Inputs:
        if self._text is not None:
            if self._again:
                self._text.forget()
            self._text.prepare(batch.texts)
        return encode(batch, speech=self._speech, text=self._text, device=self._device)

    def _laps(self, batches: Iterable[Batch]) -> tuple[float, dict[str, float]]:
        """Return the median ms of encoding a batch, and of each learner's step."""
        times: dict[str, list[float]] = {name: [] for name in ("encode", *(each.name for each in self._learners))}
        clock = 0.0

        def lap(part: str) -> None:
            nonlocal clock
            clock, before = self._now(), clock
            times[part].append(clock - before)

        for step, batch in enumerate(batches):
            clock = self._now()
            inputs = self._encode(batch)
            lap("encode")
            for learner in self._learners:
                learner.step(inputs, moment=f"1/{step}")
                lap(learner.name)
        medians = {name: 1e3 * statistics.median(laps) for name, laps in times.items()}
        return medians.pop("encode"), medians

    def _now(self) -> float:
        """Return the time in seconds once the device has done all that it was given."""
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def _timed(batches: Iterator[Batch], waits: list[float]) -> Iterator[Batch]:
    """Pass batches on, and note the seconds that each was waited for."""
    began = time.perf_counter()
    for batch in batches:
        waits.append(time.perf_counter() - began)
        yield batch
        began = time.perf_counter()


def _batches(run: Run, corpus: Corpus, *, steps: int, workers: int) -> Iterator[Batch]:
    train = corpus.split(TRAIN)[: steps * run.batch]
    crops = Crops(train, seconds=run.crop_seconds, seed=run.data_seed, epoch=0)
    order = Order(len(train), batch=run.batch, seed=run.data_seed, epoch=0)
    yield from load(crops, order, classes=corpus.classes, workers=workers)
