"""How fast a row of the table is trained: six mixers on one pass of the encoders, against one after another.

One after another is the manner of the paper's code: float32 throughout, the encoders run again for each mixer. Both are
measured in one process, on the same batches, after a warm-up that compiles what is to be compiled.
"""

import functools
import json
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from bench.accuracy.compiling import compiling_ahead
from bench.accuracy.corpora.base import TRAIN, Corpus
from bench.accuracy.data import Batch, Crops, Order, encode, load
from bench.accuracy.features import SpeechFeatures, TextFeatures, load_features
from bench.accuracy.learner import Learner
from bench.accuracy.runs import Run
from bench.reporting.atomic import write_atomically
from bench.speech import frames_of, samples_of
from mixers import tuned
from mixers.errors import UserError
from mixers.precision import DTYPES, use_precision

WARM_UP_STEPS = 3

TOGETHER = "together"

# The paper's table: encoders, seeds asked for, utterances of release 1.11's training set, epochs.
TABLE_ENCODERS, TABLE_SEEDS, TABLE_UTTERANCES, TABLE_EPOCHS = 4, 3, 84_030, 20


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How one way of training went.

    Attributes:
        utterances_per_s: Through all of its learners, waiting for audio included.
        load_ms: Median wait for a batch; `encode_ms` and `step_ms` (by learner) are what follows.
        encode_ms: Both encoders.
        step_ms: Forward, backward and the optimiser.
        gpu_busy: Share of time in which a kernel ran, as NVML samples it; None on a CPU.
        peak_memory_gib: The allocator's peak, weights and all; None on a CPU.
    """

    utterances_per_s: float
    load_ms: float
    encode_ms: float
    step_ms: dict[str, float]
    gpu_busy: float | None
    peak_memory_gib: float | None


def measure(
    run: Run, corpus: Corpus, *, accelerator: Accelerator, steps: int, workers: int
) -> Iterator[tuple[str, Rate]]:
    """Yield the rate of all mixers together, and of each alone in the released code's manner, as they are measured.

    Args:
        run: Its precision is that of the first way; one seed of each mixer is trained.
        corpus: With enough training utterances for the steps.
        accelerator: Of one process.
        steps: Timed ones, of each way.
        workers: Processes that read audio.

    Raises:
        UserError: The corpus is too small.
    """
    need = (WARM_UP_STEPS + steps) * run.batch
    if len(corpus.split(TRAIN)) < need:
        hint = f"Give {need} of them, or fewer steps."
        raise UserError(f"{len(corpus.split(TRAIN))} training utterances are too few", hint=hint)
    use_precision("native")  # in float32 every library computes by its own default, as the paper's code did
    configs = [config for config, seed in run.models() if seed == run.seeds[0]]
    ways = {TOGETHER: (run.precision, configs), **{config.mixer: ("float32", [config]) for config in configs}}

    @functools.lru_cache(maxsize=1)  # those of the precision before it make room
    def encoders(precision: str) -> tuple[SpeechFeatures, TextFeatures | None]:
        device = str(accelerator.device)
        encoder, text = load_features(run.speech, run.text, device=device, dtype=DTYPES[precision])
        return SpeechFeatures(encoder, scale=run.scale, all_layers=False), text

    with compiling_ahead(
        configs,
        precisions=[precision for precision, _ in ways.values()],
        products="native",
        batch=run.batch,
        frames=frames_of(samples_of(run.crop_seconds)),
        text=run.text is not None,
        device=accelerator.device,
    ):
        encoders(run.precision)
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
        speech, text = encoders(precision)
        again = name != TOGETHER
        if text is not None and not again:  # as in every epoch but the first
            text.prepare([each.text for each in corpus.split(TRAIN)])
        batches = _batches(run, corpus, steps=WARM_UP_STEPS + steps, workers=workers)
        with tuned.settling_for_similar_choices(), tuned.compiling_side_by_side():
            rate = _rate(batches, learners, speech, text, device=accelerator.device, again=again)
        yield name, rate


def hours_of_the_table(together: Rate, *, batch: int) -> float:
    """Return an estimate for the whole table: each encoder's batches are encoded once for all mixers and seeds."""
    step_ms = together.encode_ms + TABLE_SEEDS * sum(together.step_ms.values())
    return TABLE_ENCODERS * TABLE_EPOCHS * TABLE_UTTERANCES / batch * step_ms / 3.6e6


def write(rates: Mapping[str, Rate], path: Path, *, facts: dict[str, object], batch: int) -> dict[str, object]:
    """Write what was measured as JSON and return it.

    Raises:
        UserError: It cannot be written.
    """
    together, *apart = rates.values()
    alone_s = sum(1 / rate.utterances_per_s for rate in apart)  # for one utterance through every mixer
    content: dict[str, object] = {
        **facts,
        "rates": {name: vars(rate) for name, rate in rates.items()},
        "times_faster": together.utterances_per_s * alone_s,
        "hours_of_the_table": hours_of_the_table(together, batch=batch),
    }
    try:
        write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", hint="Give another --output.") from None
    return content


def _rate(
    batches: Iterable[Batch],
    learners: Sequence[Learner],
    speech: SpeechFeatures,
    text: TextFeatures | None,
    *,
    device: torch.device,
    again: bool,
) -> Rate:
    """Train on the batches, the first few to warm up; `again`: every text is encoded whenever it comes."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    times: dict[str, list[float]] = {"load": [], "encode": [], **{learner.name: [] for learner in learners}}
    busy: list[int] = []
    utterances = 0
    began = clock = time.perf_counter()
    for step, batch in enumerate(batches):
        clock = _lap(times["load"], clock, device)
        if text is not None:
            if again:  # as the paper's code does, for each batch
                text.forget()
            text.prepare(batch.texts)
        inputs = encode(batch, speech=speech, text=text, device=device)
        clock = _lap(times["encode"], clock, device)
        for learner in learners:
            learner.step(*inputs, moment=f"0/{step}")
            clock = _lap(times[learner.name], clock, device)
        if on_gpu:
            busy.append(torch.cuda.utilization(device))
        utterances += len(batch.texts)
        if step == WARM_UP_STEPS - 1:
            utterances, began = 0, time.perf_counter()
            clock = began
            for laps in times.values():
                laps.clear()
    elapsed = time.perf_counter() - began
    medians = {name: 1e3 * statistics.median(laps) for name, laps in times.items()}
    return Rate(
        utterances_per_s=utterances / elapsed,
        load_ms=medians.pop("load"),
        encode_ms=medians.pop("encode"),
        step_ms=medians,
        gpu_busy=statistics.fmean(busy[WARM_UP_STEPS:]) / 100 if busy else None,
        peak_memory_gib=torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
    )


def _batches(run: Run, corpus: Corpus, *, steps: int, workers: int) -> Iterator[Batch]:
    train = corpus.split(TRAIN)[: steps * run.batch]
    crops = Crops(train, seconds=run.crop_seconds, seed=run.data_seed, epoch=0)
    order = Order(len(train), batch=run.batch, seed=run.data_seed, epoch=0)
    yield from load(crops, order, classes=corpus.classes, workers=workers)


def _lap(laps: list[float], began: float, device: torch.device) -> float:
    """Note the time since, once the device has done all that it was given; return the time."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    now = time.perf_counter()
    laps.append(now - began)
    return now
