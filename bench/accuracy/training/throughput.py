"""How fast a row of the table is trained and scored: six mixers on one pass of the encoders, and one after another.

One after another is how the paper's code trains: everything in float32, and the encoders run again for each mixer. All
is measured in one run, on the same batches, after a warm-up that compiles.
"""

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, Corpus, Utterance
from bench.accuracy.corpora.demo import LONGEST_S, split_sizes, write_demo_corpus
from bench.accuracy.inputs.features import Encoders, load_features, open_encoders
from bench.accuracy.inputs.feed import Feed
from bench.accuracy.parts import DEFAULT_LAYER
from bench.accuracy.run import Direction, Run
from bench.accuracy.training.compiling import compiling_ahead
from bench.accuracy.training.computing import choose_precision, share_folder
from bench.accuracy.training.events import Preparing
from bench.accuracy.training.implementations import check_mixers
from bench.accuracy.training.learner import Learner
from bench.accuracy.training.rates import (
    PART_STEPS,
    WARM_UP_STEPS,
    Rate,
    ScoringRate,
    TimedTraining,
    scoring_rate,
)
from bench.accuracy.training.setup import Request, prepare
from bench.accuracy.training.steps import build_learners
from bench.accuracy.training.throughput_record import TOGETHER, Throughput
from bench.environment import environment
from bench.speech import check_crop, samples_of
from mixers import autotuning
from mixers.support.errors import UserError
from mixers.support.precision import DTYPES, use_precision

_LONGEST_CROPS = 1.5  # the longest recording; the shortest is half a crop
_ALONE = 64  # recordings that are scored one at a time, for comparison
_SCORED = 1000  # recordings that are scored together, at least


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One way of training or scoring was measured.

    Attributes:
        name: What it was, in words.
        rate: Its rate.
        throughput: All that has been measured so far.
    """

    name: str
    rate: Rate | ScoringRate
    throughput: Throughput


def measure(
    *,
    speech: str,
    text: str,
    mixers: Sequence[str],
    seeds: int,
    direction: Direction,
    batch: int,
    crop_seconds: float,
    utterances: int,
    steps: int,
    alone: bool,
    accelerator: Accelerator,
    workers: int,
) -> Iterator[Preparing | Measured]:
    """Measure the rates of all mixers together, then of each alone as the paper's code trains it.

    Several processes measure only the first.

    Args:
        speech: The speech encoder.
        text: The text encoder.
        mixers: With or without implementations.
        seeds: Of each mixer.
        direction: Which frames a frame may see.
        batch: Utterances in a step.
        crop_seconds: Length of each training utterance.
        utterances: The size of the synthetic corpus that is made for this.
        steps: Timed steps of each way of training.
        alone: Whether to measure each alone too.
        accelerator: Distributes the work over its processes.
        workers: Additional processes that read audio, for each process.

    Raises:
        UserError: A choice is unknown, or the corpus is too small.
    """
    device = accelerator.device.type
    precision = choose_precision(None, device=device)
    check_mixers(mixers, "matched", direction, device=device)
    check_crop(crop_seconds, longest=LONGEST_S / _LONGEST_CROPS)
    needed = (WARM_UP_STEPS + steps + PART_STEPS) * batch
    _check_size(utterances, needed=needed)
    yield Preparing(task="Loading the encoders")
    loaded = load_features(speech, text, device=str(accelerator.device), dtype=DTYPES[precision])
    with _scratch(accelerator) as scratch:
        yield Preparing(task="Making a corpus")
        folder = scratch / "corpus"
        if accelerator.is_main_process:
            seconds = max(0.5, crop_seconds / 2), max(1.0, _LONGEST_CROPS * crop_seconds)
            write_demo_corpus(folder, utterances=utterances, speakers=40, seed=0, seconds=seconds)
        accelerator.wait_for_everyone()
        request = Request(
            corpus=f"msp-podcast:{folder}",
            speech=speech,
            text=text,
            mixers=tuple(mixers),
            seeds=seeds,
            preset="matched",
            direction=direction,
            layer=DEFAULT_LAYER,
            epochs=1,
            batch=batch,
            learning_rate=1e-4,
            schedule="plateau",
            crop_seconds=crop_seconds,
            data_seed=0,
            shared_data=False,
            missing_text="error",
        )
        device_name = str(accelerator.device)
        run, corpus, encoders = prepare(request, precision=precision, device=device_name, loaded=loaded)
        del loaded
        throughput = Throughput(
            environment=environment(device),
            speech=speech,
            text=text,
            processes=accelerator.num_processes,
            seeds=seeds,
            batch=batch,
            crop_seconds=crop_seconds,
            precision=precision,
            direction=run.direction,
            mixers=run.mixers,
            rates={},
            scoring={},
        )
        yield Preparing(task="Training together, then one after another")
        ways = _Ways(run, corpus, accelerator=accelerator, steps=steps, needed=needed, workers=workers)
        measured = ways.measure(encoders, alone=run.mixers if alone and accelerator.num_processes == 1 else ())
        del encoders  # so that their memory is free once others replace them
        for kind, name, rate in measured:
            known = getattr(throughput, kind)
            throughput = dataclasses.replace(throughput, **{kind: known | {name: rate}})
            words = {"rates": "training", "scoring": "scoring"}[kind]
            yield Measured(name=f"{words}, {name}", rate=rate, throughput=throughput)


@contextlib.contextmanager
def _scratch(accelerator: Accelerator) -> Iterator[Path]:
    """Yield one temporary folder to all processes; the main process removes it."""
    if accelerator.is_main_process:
        with tempfile.TemporaryDirectory(prefix="sbench-") as folder:
            yield share_folder(Path(folder), accelerator)
            accelerator.wait_for_everyone()
    else:
        yield share_folder(Path(), accelerator)
        accelerator.wait_for_everyone()


class _Ways:
    """The ways of training and scoring, one after another."""

    def __init__(
        self, run: Run, corpus: Corpus, *, accelerator: Accelerator, steps: int, needed: int, workers: int
    ) -> None:
        self._run, self._corpus, self._accelerator = run, corpus, accelerator
        self._steps, self._workers = steps, workers
        self._train = corpus.split(TRAIN)[:needed]

    def measure(self, encoders: Encoders, *, alone: Sequence[str]) -> Iterator[tuple[str, str, Rate | ScoringRate]]:
        """Yield kind, name and rate of each way."""
        run, accelerator = self._run, self._accelerator
        use_precision("native")  # in float32 every library then computes by its own default, as in the paper's code
        with self._compiling(encoders, precisions=[run.precision, *(["float32"] if alone else [])]):
            pass
        accelerator.wait_for_everyone()
        learners = self._learners(run)
        with autotuning.compiling_side_by_side(settling=True):
            yield "rates", TOGETHER, self._rate(run, learners, encoders)
            feed = self._feed(self._corpus.split(DEVELOPMENT), encoders)
            batches = feed.batches()
            at_least = _SCORED if accelerator.device.type == "cuda" else 0  # a CPU's rate is no guide
            yield "scoring", TOGETHER, scoring_rate(learners, feed, batches, at_least=at_least, accelerator=accelerator)
            if alone:
                few = [[index] for index in range(min(_ALONE, len(self._corpus.split(DEVELOPMENT))))]
                yield (
                    "scoring",
                    "one recording at a time",
                    scoring_rate(learners, feed, few, at_least=0, accelerator=accelerator),
                )
        del learners, feed
        for name in alone:
            single = dataclasses.replace(run, mixers=(name,), seeds=run.seeds[:1], precision="float32")
            if name == alone[0] and run.precision != "float32":
                encoders = open_encoders(single, device=str(accelerator.device))
            with autotuning.compiling_side_by_side(settling=True):
                rate = self._rate(single, self._learners(single), encoders, as_the_paper=True)
            yield "rates", name.partition("/")[0], rate

    def _learners(self, run: Run) -> list[Learner]:
        return build_learners(run, class_weights=None, accelerator=self._accelerator)

    def _rate(self, run: Run, learners: Sequence[Learner], encoders: Encoders, *, as_the_paper: bool = False) -> Rate:
        feed = self._feed(self._train, encoders, crop_seconds=run.crop_seconds, encode_texts_again=as_the_paper)
        count = len(self._train)
        timed = TimedTraining(run, learners, feed, count=count, accelerator=self._accelerator)
        return timed.rate(steps=self._steps)

    def _feed(
        self,
        utterances: Sequence[Utterance],
        encoders: Encoders,
        *,
        crop_seconds: float | None = None,
        encode_texts_again: bool = False,
    ) -> Feed:
        return Feed(
            utterances,
            classes=self._corpus.classes,
            encoders=encoders,
            device=self._accelerator.device,
            workers=self._workers,
            crop_seconds=crop_seconds,
            encode_texts_again=encode_texts_again,
        )

    def _compiling(self, encoders: Encoders, *, precisions: Sequence[str]) -> contextlib.AbstractContextManager[None]:
        run, accelerator = self._run, self._accelerator
        configs = [config for config, seed in run.models() if seed == run.seeds[0]]
        assert run.crop_seconds is not None
        return compiling_ahead(
            configs if accelerator.is_local_main_process else [],
            precisions=precisions,
            products="native",
            batch=run.batch,
            frames=encoders[0].frames(samples_of(run.crop_seconds)),
            text=run.text is not None,
            device=accelerator.device,
        )


def _check_size(utterances: int, *, needed: int) -> None:
    """Check that a synthetic corpus will have enough training utterances."""
    available = split_sizes(utterances)["Train"]
    if available < needed:
        hint = f"Give --utterances {math.ceil(1.05 * needed * utterances / available)}, or fewer --steps."
        raise UserError(f"{available} training utterances are too few: {needed} are needed", hint=hint)
