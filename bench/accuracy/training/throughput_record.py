"""The rates of training and scoring that `sbench throughput` writes, and how long the paper's table would take."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.accuracy.run import Direction
from bench.accuracy.training.rates import Rate, ScoringRate
from bench.files import write_atomically
from mixers.support.errors import UserError

TOGETHER = "together"

# The paper's table: encoders, seeds as requested, epochs, and the utterances of release 1.11: of training and
# development in each epoch, of both tests in the end.
TABLE_ENCODERS, TABLE_SEEDS, TABLE_EPOCHS = 4, 3, 20
TABLE_UTTERANCES, TABLE_DEVELOPMENT, TABLE_TESTS = 84_030, 19_815, 30_647 + 14_815


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What has been measured so far.

    Attributes:
        environment: The machine, as `bench.environment.environment` returns it.
        speech, text: The encoders.
        processes: How many work together, each on a GPU of its own.
        seeds: Of each mixer; each draws its own batches.
        batch: Utterances in a step.
        crop_seconds: Length of each training utterance. Recordings are half to one and a half times as long.
        precision: The precision of the training together.
        direction: Which frames a frame sees in every way of training.
        mixers: With their implementations.
        rates: The rate of all mixers together, then of each alone.
        scoring: The rate of scoring whole recordings with all mixers: in batches, then one at a time.
    """

    environment: dict[str, Any]
    speech: str
    text: str
    processes: int
    seeds: int
    batch: int
    crop_seconds: float
    precision: str
    direction: Direction
    mixers: tuple[str, ...]
    rates: dict[str, Rate]
    scoring: dict[str, ScoringRate]

    @property
    def times_faster(self) -> float | None:
        """How many times as fast training together is, for the mixers measured alone; None if there is none yet."""
        together, *alone = self.rates.values()
        if not alone:
            return None
        share = len(alone) / len(self.mixers)
        alone_s = sum(1 / rate.utterances_per_s for rate in alone) / share  # one utterance, every mixer
        return together.utterances_per_s * alone_s

    @property
    def hours_of_training(self) -> float:
        """An estimate of all steps of the whole table."""
        utterances = TABLE_ENCODERS * TABLE_SEEDS * TABLE_EPOCHS * TABLE_UTTERANCES
        return utterances / self.rates[TOGETHER].utterances_per_s / 3600

    @property
    def hours_of_scoring(self) -> float | None:
        """An estimate of all scoring of the whole table; None before it was measured."""
        if TOGETHER not in self.scoring:
            return None
        rounds = TABLE_ENCODERS * TABLE_SEEDS / self.seeds  # each scores all seeds that were measured
        utterances = TABLE_EPOCHS * TABLE_DEVELOPMENT + TABLE_TESTS
        return rounds * utterances / self.scoring[TOGETHER].utterances_per_s / 3600

    def write(self, path: Path) -> None:
        """Write everything as JSON.

        Raises:
            UserError: It cannot be written.
        """
        content = {
            **vars(self),
            "rates": {name: vars(rate) for name, rate in self.rates.items()},
            "scoring": {name: vars(rate) for name, rate in self.scoring.items()},
            "times_faster": self.times_faster,
            "hours_of_training": self.hours_of_training,
            "hours_of_scoring": self.hours_of_scoring,
        }
        try:
            write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}", hint="Give another --output.") from None
