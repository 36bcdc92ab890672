"""Utterances as batches: random crops of 5.5 s for training, whole files for evaluation.

Where a crop lies, and the order of an epoch, follow from the seed, the epoch and the utterance alone: neither how many
workers load, nor how many GPUs there are, nor an interruption changes them.
"""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.accuracy.corpora.base import Utterance
from bench.accuracy.inputs.features import SpeechFeatures, TextFeatures
from bench.accuracy.run import WaveformScale
from bench.audio import read_encodable, read_recording
from bench.speech import crop_or_repeat, samples_of
from mixers.support.errors import UserError

_TOKENS = 16  # texts of a training batch are padded to a multiple of so many, so that kernels meet few lengths


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Utterances of equal length.

    Attributes:
        names: Of the utterances.
        texts: What is said in them.
        waveforms: At 16 kHz, (B, samples).
        labels: Indices of the classes, (B,).
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    waveforms: Float[Tensor, "B samples"]
    labels: Int[Tensor, " B"]

    def pin_memory(self) -> "Batch":
        """Return it in memory that a GPU can copy from while the host goes on; a loader asks for it by this name."""
        return replace(self, waveforms=self.waveforms.pin_memory(), labels=self.labels.pin_memory())


class Crops(Dataset[tuple[Utterance, Tensor]]):
    """An epoch's crops: item i is a random piece of utterance i, repeated where the whole is shorter."""

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
    """Whole recordings, of any length from one frame on."""

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        self._utterances = utterances

    def __len__(self) -> int:
        return len(self._utterances)

    def __getitem__(self, index: int) -> tuple[Utterance, Tensor]:
        utterance = self._utterances[index]
        return utterance, read_encodable(utterance.audio)


def check_whole_files(utterances: Sequence[Utterance]) -> None:
    """Read every file once as evaluation will, to name a bad one before hours are spent.

    Raises:
        UserError: One cannot be read, or is shorter than a frame; the first such is named.
    """
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(lambda each: read_encodable(each.audio).shape, utterances):
            pass


class _Told(Dataset[tuple[Utterance, Tensor] | UserError]):
    """A data set that gives the user's mistakes as items: raised in a worker they would come as its traceback."""

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
    """The utterances of each global batch of an epoch, of which each of several processes takes its share."""

    def __init__(self, count: int, *, batch: int, seed: int, epoch: int, rank: int = 0, world: int = 1) -> None:
        """Shuffle.

        Args:
            count: Utterances in an epoch.
            batch: Utterances in one step of all processes together; what is left over at the end is left out.
            seed: Of the order, with the epoch.
            epoch: From 0.
            rank: This process's number.
            world: Processes, a divisor of the batch.
        """
        every = list(range(count))
        random.Random(f"order/{seed}/{epoch}").shuffle(every)
        self._batches = [every[at + rank : at + batch : world] for at in range(0, count - batch + 1, batch)]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)

    def skip(self, steps: int) -> None:
        """Leave out the first steps, which were taken before an interruption."""
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
        dataset: `Crops`, or `WholeFiles`, which come one by one.
        order: Of the crops; None for one utterance after the other.
        classes: The corpus's.
        workers: Processes that read, beside this one; 0 to read in this one.

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

    chosen: dict[str, Any] = {"batch_size": 1} if order is None else {"batch_sampler": order}
    pin = torch.cuda.is_available()
    for batch in DataLoader(_Told(dataset), collate_fn=collate, num_workers=workers, pin_memory=pin, **chosen):
        if isinstance(batch, UserError):
            raise batch
        yield batch


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a classifier learns from: features of a batch, and its labels.

    Attributes:
        speech: Of the last layer, or of all, (B, M, D) or (B, Z, M, D).
        text: (B, N, D); None for speech alone.
        text_mask: True on real tokens, (B, N); None for speech alone.
        labels: Indices of the classes, (B,).
    """

    speech: Float[Tensor, "B *Z M D"]
    text: Float[Tensor, "B N D"] | None
    text_mask: Bool[Tensor, "B N"] | None
    labels: Int[Tensor, " B"]


def encode(batch: Batch, *, speech: SpeechFeatures, text: TextFeatures | None, device: torch.device) -> Inputs:
    """Return what classifiers learn from.

    Args:
        batch: Its texts must have been prepared.
        speech: The frozen speech encoder.
        text: The frozen text encoder; None for speech alone.
        device: Where the classifiers are.

    Raises:
        UserError: An utterance's features are not finite.
    """
    labels = batch.labels.to(device, non_blocking=True)
    tokens = mask = None
    if text is not None:
        # Before the speech: the host waits for this copy, which is not from pinned memory, and all that is before it.
        tokens, mask = (each.to(device, non_blocking=True) for each in text(batch.texts, multiple=_TOKENS))
    return Inputs(speech=speech(batch.waveforms, batch.names), text=tokens, text_mask=mask, labels=labels)


def waveform_scale(utterances: Sequence[Utterance]) -> WaveformScale:
    """Return mean and deviation over all samples of the training set; each file is read once.

    Raises:
        UserError: A file cannot be read, or all are silent.
    """
    with ThreadPoolExecutor() as pool:
        sums = list(pool.map(_sums, utterances))
    count, total, squares = (sum(column) for column in zip(*sums, strict=True))
    mean = total / count
    variance = squares / count - mean**2
    if not variance > 0:
        raise UserError("the training set is silent", hint="Check it with `sbench corpus`.")
    return WaveformScale(mean=mean, deviation=variance**0.5)


def _sums(utterance: Utterance) -> tuple[int, float, float]:
    waveform = read_recording(utterance.audio).double()
    return waveform.numel(), float(waveform.sum()), float(waveform.square().sum())
