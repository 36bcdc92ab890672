"""Utterances as batches: random crops of 5.5 s for training, whole files for evaluation.

The place of a crop depends only on seed, epoch and utterance, the order of an epoch only on seed and epoch. The number
of workers, the number of GPUs and interruptions do not change them.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.accuracy.corpora.base import Utterance
from bench.accuracy.inputs.features import SpeechFeatures, TextFeatures
from bench.audio import read_encodable, read_recording
from bench.speech import crop_or_repeat, samples_of
from mixers.support.errors import UserError

_TOKENS = 16  # texts of a training batch are padded to a multiple of this, so that kernels see few lengths


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Utterances of equal length.

    Attributes:
        names: The names of the utterances.
        texts: Their transcripts.
        waveforms: At 16 kHz, (B, samples).
        labels: Indices of the classes, (B,).
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    waveforms: Float[Tensor, "B samples"]
    labels: Int[Tensor, " B"]

    def pin_memory(self) -> "Batch":
        """Return it in pinned memory, which a GPU copies from asynchronously. The data loader calls this method."""
        return replace(self, waveforms=self.waveforms.pin_memory(), labels=self.labels.pin_memory())


class Crops(Dataset[tuple[Utterance, Tensor]]):
    """The crops of an epoch: item i is a random piece of utterance i, which is repeated if it is shorter."""

    def __init__(self, utterances: Sequence[Utterance], *, seconds: float, seed: int, epoch: int) -> None:
        self._utterances = utterances
        self._samples = samples_of(seconds)
        self._seed = f"{seed}/{epoch}"

    def __len__(self) -> int:
        return len(self._utterances)

    def __getitem__(self, index: int) -> tuple[Utterance, Tensor]:
        utterance = self._utterances[index]
        generator = random.Random(f"{self._seed}/{utterance.name}")
        return utterance, crop_or_repeat(read_recording(utterance.audio), self._samples, generator=generator)


class WholeFiles(Dataset[tuple[Utterance, Tensor]]):
    """Whole recordings of one frame or more."""

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        self._utterances = utterances

    def __len__(self) -> int:
        return len(self._utterances)

    def __getitem__(self, index: int) -> tuple[Utterance, Tensor]:
        utterance = self._utterances[index]
        return utterance, read_encodable(utterance.audio)


class _ErrorsAsItems(Dataset[tuple[Utterance, Tensor] | UserError]):
    """A data set that returns user errors as items. Raised in a worker, they would arrive as its traceback."""

    def __init__(self, dataset: Dataset[tuple[Utterance, Tensor]]) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Utterance, Tensor] | UserError:
        try:
            return self._dataset[index]
        except UserError as error:
            return error


class Order:
    """The utterances of each batch of an epoch; each process takes its share of every batch."""

    def __init__(self, count: int, *, batch: int, seed: int, epoch: int, rank: int = 0, world: int = 1) -> None:
        """Shuffle.

        Args:
            count: Utterances in an epoch.
            batch: Utterances in one step, over all processes. An incomplete last batch is left out.
            seed: Determines the order, together with the epoch.
            epoch: From 0.
            rank: The number of this process.
            world: The number of processes, a divisor of the batch.
        """
        every = list(range(count))
        random.Random(f"order/{seed}/{epoch}").shuffle(every)
        self._batches = [every[at + rank : at + batch : world] for at in range(0, count - batch + 1, batch)]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)

    def skip(self, steps: int) -> None:
        """Leave out the first steps, which were done before an interruption."""
        self._batches = self._batches[steps:]


def load(
    dataset: Dataset[tuple[Utterance, Tensor]],
    order: Order | None,
    *,
    classes: Sequence[str],
    workers: int,
) -> Iterator[Batch]:
    """Yield batches.

    Args:
        dataset: `Crops` or `WholeFiles`.
        order: The order of the crops; None for one utterance at a time, in the order of the data set.
        classes: The classes of the corpus.
        workers: Additional processes that read audio; 0 to read in this process.

    Raises:
        UserError: A recording cannot be read.
    """
    index = {label: number for number, label in enumerate(classes)}

    def collate(items: Sequence[tuple[Utterance, Tensor] | UserError]) -> Batch | UserError:
        sound = []
        for item in items:
            if isinstance(item, UserError):
                return item
            sound.append(item)
        return Batch(
            names=tuple(utterance.name for utterance, _ in sound),
            texts=tuple(utterance.text for utterance, _ in sound),
            waveforms=torch.stack([waveform for _, waveform in sound]),
            labels=torch.tensor([index[utterance.label] for utterance, _ in sound]),
        )

    batching: dict[str, Any] = {"batch_size": 1} if order is None else {"batch_sampler": order}
    pin = torch.cuda.is_available()
    items = _ErrorsAsItems(dataset)
    for batch in DataLoader(items, collate_fn=collate, num_workers=workers, pin_memory=pin, **batching):
        if isinstance(batch, UserError):
            raise batch
        yield batch


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a classifier learns from: features of a batch, and its labels.

    Attributes:
        speech: Features of one layer, (B, M, D), or of all layers, (B, Z, M, D).
        text: (B, N, D); None for speech alone.
        text_mask: True on real tokens, (B, N); None for speech alone.
        labels: Indices of the classes, (B,).
    """

    speech: Float[Tensor, "B *Z M D"]
    text: Float[Tensor, "B N D"] | None
    text_mask: Bool[Tensor, "B N"] | None
    labels: Int[Tensor, " B"]


def encode(batch: Batch, *, speech: SpeechFeatures, text: TextFeatures | None, device: torch.device) -> Inputs:
    """Encode a batch.

    Args:
        batch: Its texts must have been prepared with `TextFeatures.prepare`.
        speech: The frozen speech encoder.
        text: The frozen text encoder; None for speech alone.
        device: The device of the classifiers.

    Raises:
        UserError: An utterance's features are not finite.
    """
    labels = batch.labels.to(device, non_blocking=True)
    tokens = mask = None
    if text is not None:
        # Before the speech: this copy is not from pinned memory, so the host waits for it and for all work before it.
        tokens, mask = (each.to(device, non_blocking=True) for each in text(batch.texts, multiple=_TOKENS))
    return Inputs(speech=speech(batch.waveforms, batch.names), text=tokens, text_mask=mask, labels=labels)
