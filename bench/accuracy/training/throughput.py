"""How fast a row of the table is trained: six mixers on one pass of the encoders, compared with one after another.

One after another is how the paper's code trains: everything in float32, and the encoders run again for each mixer. Both
are measured in one process, on the same batches, after a warm-up that compiles. The same learners serve both, so they
share CUDA graphs.
"""

import dataclasses
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from bench.accuracy.corpora.base import TRAIN, Corpus
from bench.accuracy.corpora.demo import write_demo_corpus
from bench.accuracy.inputs.batches import Batch, Crops, Order, load
from bench.accuracy.inputs.features import Encoders, open_encoders
from bench.accuracy.parts import DEFAULT_LAYER
from bench.accuracy.run import Direction, ModelConfig, Run
from bench.accuracy.training.compiling import compiling_ahead
from bench.accuracy.training.computing import choose_precision, start_accelerator
from bench.accuracy.training.events import Preparing
from bench.accuracy.training.implementations import check_mixers
from bench.accuracy.training.learner import Learner
from bench.accuracy.training.rates import PART_STEPS, WARM_UP_STEPS, Rate, TimedTraining
from bench.accuracy.training.setup import Request, prepare
from bench.environment import environment
from bench.files import write_atomically
from bench.speech import samples_of
from mixers import autotuning
from mixers.support.errors import UserError
from mixers.support.precision import use_precision

TOGETHER = "together"

# The paper's table: encoders, seeds as requested, training utterances of release 1.11, epochs.
TABLE_ENCODERS, TABLE_SEEDS, TABLE_UTTERANCES, TABLE_EPOCHS = 4, 3, 84_030, 20


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What has been measured so far.

    Attributes:
        environment: The machine, as `bench.environment.environment` returns it.
        speech, text: The encoders.
        batch: Utterances in a step.
        crop_seconds: Length of each utterance.
        precision: The precision of the training together.
        direction: Which frames a frame sees in every way of training.
        mixers: With their implementations.
        rates: The rate of all mixers together, then of each alone.
    """

    environment: dict[str, Any]
    speech: str
    text: str
    batch: int
    crop_seconds: float
    precision: str
    direction: Direction
    mixers: tuple[str, ...]
    rates: dict[str, Rate]

    @property
    def times_faster(self) -> float | None:
        """How many times as fast training together is, for the mixers measured alone; None if there is none yet."""
        together, *alone = self.rates.values()
        if not alone:
            return None
        share = len(alone) / len(together.step_ms)
        alone_s = sum(1 / rate.utterances_per_s for rate in alone) / share  # one utterance, every mixer
        return together.utterances_per_s * alone_s

    @property
    def hours_of_the_table(self) -> float:
        """An estimate for the whole table, from the rate of one row with one seed; further seeds may cost less."""
        utterances = TABLE_ENCODERS * TABLE_SEEDS * TABLE_EPOCHS * TABLE_UTTERANCES
        return utterances / self.rates[TOGETHER].utterances_per_s / 3600

    def write(self, path: Path) -> None:
        """Write everything as JSON.

        Raises:
            UserError: It cannot be written.
        """
        content = {
            **vars(self),
            "rates": {name: vars(rate) for name, rate in self.rates.items()},
            "times_faster": self.times_faster,
            "hours_of_the_table": self.hours_of_the_table,
        }
        try:
            write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}", hint="Give another --output.") from None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One way of training was measured.

    Attributes:
        name: ``together``, or the mixer that was trained alone.
        rate: Its rate.
        throughput: All that has been measured so far.
    """

    name: str
    rate: Rate
    throughput: Throughput


def measure(
    *,
    speech: str,
    text: str,
    mixers: Sequence[str],
    direction: Direction,
    batch: int,
    crop_seconds: float,
    utterances: int,
    steps: int,
    device: str,
    workers: int,
) -> Iterator[Preparing | Measured]:
    """Measure the rate of all mixers together, then of each alone as the paper's code trains it.

    Args:
        speech: The speech encoder.
        text: The text encoder.
        mixers: With or without implementations.
        direction: Which frames a frame may see.
        batch: Utterances in a step.
        crop_seconds: Length of each utterance.
        utterances: The size of the synthetic corpus that is made for this.
        steps: Timed steps of each way of training.
        device: ``cuda`` or ``cpu``.
        workers: Additional processes that read audio.

    Raises:
        UserError: A choice is unknown, or the corpus is too small.
    """
    precision = choose_precision(None, device=device)
    check_mixers(mixers, "matched", direction, device=device)
    with tempfile.TemporaryDirectory(prefix="sbench-") as scratch:
        yield Preparing(task="Making a corpus")
        folder = Path(scratch) / "corpus"
        write_demo_corpus(folder, utterances=utterances, speakers=40, seed=0, seconds=(crop_seconds, crop_seconds))
        yield Preparing(task="Loading the encoders")
        request = _request(
            folder,
            speech=speech,
            text=text,
            mixers=tuple(mixers),
            direction=direction,
            batch=batch,
            crop_seconds=crop_seconds,
        )
        run, corpus, encoders = prepare(request, precision=precision, device=device)
        throughput = Throughput(
            environment=environment(device),
            speech=speech,
            text=text,
            batch=batch,
            crop_seconds=crop_seconds,
            precision=precision,
            direction=run.direction,
            mixers=run.mixers,
            rates={},
        )
        yield Preparing(task="Training together, then one after another")
        accelerator = start_accelerator(device)
        measured = _rates(run, corpus, encoders, accelerator=accelerator, steps=steps, workers=workers)
        del encoders  # so that their memory is free once others replace them
        for name, rate in measured:
            throughput = dataclasses.replace(throughput, rates=throughput.rates | {name: rate})
            yield Measured(name=name, rate=rate, throughput=throughput)


def _request(
    corpus: Path,
    *,
    speech: str,
    text: str,
    mixers: tuple[str, ...],
    direction: Direction,
    batch: int,
    crop_seconds: float,
) -> Request:
    return Request(
        corpus=f"msp-podcast:{corpus}",
        speech=speech,
        text=text,
        mixers=mixers,
        seeds=1,
        preset="matched",
        direction=direction,
        layer=DEFAULT_LAYER,
        epochs=1,
        batch=batch,
        learning_rate=1e-4,
        crop_seconds=crop_seconds,
        data_seed=0,
        missing_text="error",
    )


def _rates(
    run: Run, corpus: Corpus, encoders: Encoders, *, accelerator: Accelerator, steps: int, workers: int
) -> Iterator[tuple[str, Rate]]:
    """Yield the name and the rate of each way of training."""
    needed_steps = WARM_UP_STEPS + steps + PART_STEPS
    _check_size(corpus, needed=needed_steps * run.batch)
    use_precision("native")  # in float32 every library then computes by its own default, as in the paper's code
    configs = [config for config, seed in run.models() if seed == run.seeds[0]]
    ways: dict[str, tuple[str, list[ModelConfig]]] = {TOGETHER: (run.precision, configs)}
    ways |= {config.mixer: ("float32", [config]) for config in configs}
    loaded = run.precision
    with compiling_ahead(
        configs,
        precisions=[precision for precision, _ in ways.values()],
        products="native",
        batch=run.batch,
        frames=encoders[0].frames(samples_of(run.crop_seconds)),
        text=run.text is not None,
        device=accelerator.device,
    ):
        if encoders[1] is not None:  # as in every epoch but the first, texts are encoded already
            encoders[1].prepare([each.text for each in corpus.split(TRAIN)])
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
        if precision != loaded:
            encoders = open_encoders(dataclasses.replace(run, precision=precision), device=str(accelerator.device))
            loaded = precision
        batches = _batches(run, corpus, steps=needed_steps, workers=workers)
        training = TimedTraining(learners, encoders, device=accelerator.device, encode_texts_again=name != TOGETHER)
        with autotuning.compiling_side_by_side(settling=True):
            yield name, training.rate(batches, steps=steps)


def _check_size(corpus: Corpus, *, needed: int) -> None:
    """Check that a corpus has enough training utterances."""
    available = len(corpus.split(TRAIN))
    if available < needed:
        hint = f"Give --utterances {math.ceil(1.05 * needed * len(corpus.utterances) / available)}, or fewer --steps."
        raise UserError(f"{available} training utterances are too few: {needed} are needed", hint=hint)


def _batches(run: Run, corpus: Corpus, *, steps: int, workers: int) -> Iterator[Batch]:
    train = corpus.split(TRAIN)[: steps * run.batch]
    crops = Crops(train, seconds=run.crop_seconds, seed=run.data_seed, epoch=0)
    order = Order(len(train), batch=run.batch, seed=run.data_seed, epoch=0)
    yield from load(crops, order, classes=corpus.classes, workers=workers)
