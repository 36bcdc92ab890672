"""What happens during a training, as it happens: the command line shows these events."""

from dataclasses import dataclass
from pathlib import Path

from bench.accuracy.corpora.base import Corpus
from bench.accuracy.run import Run
from bench.accuracy.training.checkpoints import Place


@dataclass(frozen=True, kw_only=True)
class Preparing:
    """A task begins that must be done before the work itself; it is described in a few words."""

    task: str


@dataclass(frozen=True, kw_only=True)
class Noted:
    """Something that the user should know about what is trained, on one line."""

    line: str


@dataclass(frozen=True, kw_only=True)
class Started:
    """The first step begins.

    Attributes:
        done_steps: Steps of the run that were done before an interruption.
        total_steps: Steps of the whole run.
    """

    done_steps: int
    total_steps: int


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """A step was taken.

    Attributes:
        place: The place after it.
        done_steps: Steps of the run that are done.
        losses: The loss of each learner.
    """

    place: Place
    done_steps: int
    losses: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """An epoch ended, and the development set was scored.

    Attributes:
        epoch: From 0.
        done_steps: Steps of the run that are done.
        scores: The macro-F of each learner.
        better: The learners with their best score so far.
    """

    epoch: int
    done_steps: int
    scores: dict[str, float]
    better: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The last epoch ended. The run's folder is complete."""

    run: Run
    folder: Path
    corpus: Corpus


Event = Preparing | Noted | Started | Stepped | Scored | Finished
