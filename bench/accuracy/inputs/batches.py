"""Recordings as batches of waveforms: random crops for training, whole recordings for training and scoring.

The place of a crop depends only on its seed and utterance, the order of an epoch only on its seed. The number of
workers, the number of GPUs and interruptions do not change them.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from bench.accuracy.corpora.base import Utterance
from bench.audio import read_recording
from bench.speech import crop_or_repeat, samples_of
from mixers.support.errors import UserError


class Draw(NamedTuple):
    """An utterance of a batch.

    Attributes:
        place: Among the utterances.
        seed: Of its crop.
        samples: The length that a whole recording is padded to at least; 0 for its own.
    """

    place: int
    seed: str = ""
    samples: int = 0


Item = tuple[str, Tensor, int]  # name, waveform with padding at its end, samples without


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Waveforms of equal length.

    Attributes:
        names: The names of the utterances.
        waveforms: At 16 kHz, (B, samples), with zeros behind shorter ones.
        lengths: The samples of each without them.
    """

    names: tuple[str, ...]
    waveforms: Float[Tensor, "B samples"]
    lengths: tuple[int, ...]

    def pin_memory(self) -> "Batch":
        """Return it in pinned memory, which a GPU copies from asynchronously. The data loader calls this method."""
        return replace(self, waveforms=self.waveforms.pin_memory())


class Crops(Dataset[Item]):
    """Crops of one length: a random piece of a recording, which is repeated if it is shorter."""

    def __init__(self, utterances: Sequence[Utterance], *, seconds: float) -> None:
        self._utterances = utterances
        self._samples = samples_of(seconds)

    def __len__(self) -> int:
        return len(self._utterances)

    def __getitem__(self, draw: Draw) -> Item:
        utterance = self._utterances[draw.place]
        generator = random.Random(f"{draw.seed}/{utterance.name}")
        crop = crop_or_repeat(read_recording(utterance.audio), self._samples, generator=generator)
        return utterance.name, crop, self._samples


class WholeFiles(Dataset[Item]):
    """Whole recordings."""

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        self._utterances = utterances

    def __len__(self) -> int:
        return len(self._utterances)

    def __getitem__(self, draw: Draw) -> Item:
        utterance = self._utterances[draw.place]
        waveform = read_recording(utterance.audio)
        samples = len(waveform)
        return utterance.name, F.pad(waveform, (0, max(0, draw.samples - samples))), samples


class _ErrorsAsItems(Dataset[Item | UserError]):
    """A data set that returns user errors as items. Raised in a worker, they would arrive as its traceback."""

    def __init__(self, dataset: Dataset[Item]) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)  # type: ignore[arg-type]

    def __getitem__(self, draw: Draw) -> Item | UserError:
        try:
            return self._dataset[draw]
        except UserError as error:
            return error


def load(dataset: Dataset[Item], batches: Iterable[Sequence[Draw]], *, workers: int) -> Iterator[Batch]:
    """Yield batches.

    Args:
        dataset: `Crops` or `WholeFiles`.
        batches: The utterances of each, whose waveforms must come out equally long.
        workers: Additional processes that read audio; 0 to read in this process.

    Raises:
        UserError: A recording cannot be read.
    """
    pin = torch.cuda.is_available()
    items = _ErrorsAsItems(dataset)
    loader = DataLoader(
        items,
        collate_fn=_collate,
        num_workers=workers,
        pin_memory=pin,
        batch_sampler=batches,  # type: ignore[arg-type]  # a sampler may yield any key of the data set
    )
    for batch in loader:
        if isinstance(batch, UserError):
            raise batch
        yield batch


def _collate(items: Sequence[Item | UserError]) -> Batch | UserError:
    sound = []
    for item in items:
        if isinstance(item, UserError):
            return item
        sound.append(item)
    names, waveforms, lengths = zip(*sound, strict=True)
    return Batch(names=names, waveforms=torch.stack(waveforms), lengths=lengths)
