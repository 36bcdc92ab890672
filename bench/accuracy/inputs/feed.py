"""What classifiers learn from and are scored on: the features of any batches of some utterances, and their labels.

Each batch is encoded once for all classifiers of a process.

Letters: B batch, Z layers, M frames of speech, N tokens of text, D width.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from bench.accuracy.corpora.base import Utterance
from bench.accuracy.inputs.batches import Batch, Crops, Draw, WholeFiles, load
from bench.accuracy.inputs.features import Encoders, real
from bench.accuracy.inputs.kept import KeptFeatures, fits
from bench.accuracy.inputs.orders import by_length, padded_length
from bench.accuracy.inputs.recordings import lengths_of

_TOKENS = 16  # texts are padded to a multiple of this, so that kernels and CUDA graphs see few lengths


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Features of a batch, and its labels.

    Attributes:
        speech: Features of one layer, (B, M, D), or of all layers, (B, Z, M, D).
        speech_mask: True on real frames, (B, M), which come first; None if all are real.
        text: (B, N, D); None for speech alone.
        text_mask: True on real tokens, (B, N), which come first; None for speech alone.
        labels: Indices of the classes, (B,).
    """

    speech: Float[Tensor, "B *Z M D"]
    speech_mask: Bool[Tensor, "B M"] | None = None
    text: Float[Tensor, "B N D"] | None
    text_mask: Bool[Tensor, "B N"] | None
    labels: Int[Tensor, " B"]


Features = tuple[Tensor, Tensor | None]  # of speech, and which frames are real; None if all are

Drawn = tuple[str, Sequence[int]]  # a batch: the seed of its crops, and its utterances


class Feed:
    """Encodes batches of some utterances.

    Attributes:
        waited_s: How long it has waited for audio.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        *,
        classes: Sequence[str],
        encoders: Encoders,
        device: torch.device,
        workers: int,
        crop_seconds: float | None = None,
        keep: bool = False,
        encode_texts_again: bool = False,
    ) -> None:
        """Prepare; nothing is encoded yet but the texts.

        Args:
            utterances: Of a split.
            classes: The classes of the corpus.
            encoders: Of speech and, unless it is None, of text.
            device: The device of the classifiers.
            workers: Additional processes that read audio.
            crop_seconds: The length of crops; None for whole recordings.
            keep: Whether the features of whole recordings are needed again, and are kept if they fit.
            encode_texts_again: Whether to encode a text each time it occurs, as the paper's code does.
        """
        self._speech, self._text = encoders
        self._device, self._workers = device, workers
        self._texts = [each.text for each in utterances]
        self._labels = torch.tensor([list(classes).index(each.label) for each in utterances])
        self._whole = crop_seconds is None
        self._dataset = WholeFiles(utterances) if crop_seconds is None else Crops(utterances, seconds=crop_seconds)
        self._lengths = lengths_of(utterances) if self._whole else []
        if self._text is not None:
            self._text.prepare(self._texts)
        self._kept: KeptFeatures | None = None
        self._keep = keep and self._whole and self._fits()
        self._encode_texts_again = encode_texts_again
        self.waited_s = 0.0

    def batches(self) -> list[list[int]]:
        """Return all utterances in batches of similar length, for scoring whole recordings."""
        return by_length(self._lengths)

    def __call__(self, batches: Sequence[Drawn]) -> Iterator[Inputs]:
        """Yield the inputs of each batch, on the device.

        Raises:
            UserError: A recording cannot be read, or its features are not finite.
        """
        if self._keep and self._kept is None:
            order = self.batches()
            self._kept = KeptFeatures(order, self._encode([("", batch) for batch in order]))
        kept = self._kept
        features = self._encode(batches) if kept is None else (kept(indices) for _, indices in batches)
        device = self._device
        for _, indices in batches:
            tokens = text_mask = None
            if self._text is not None:
                # Before the speech: this copy is not from pinned memory, so the host waits for all work before it.
                texts = [self._texts[index] for index in indices]
                if self._encode_texts_again:
                    self._text.forget()
                    self._text.prepare(texts)
                text = self._text(texts, multiple=_TOKENS)
                tokens, text_mask = (each.to(device, non_blocking=True) for each in text)
            labels = self._labels[list(indices)].to(device, non_blocking=True)
            speech, mask = next(features)
            yield Inputs(speech=speech, speech_mask=mask, text=tokens, text_mask=text_mask, labels=labels)

    def _encode(self, batches: Sequence[Drawn]) -> Iterator[Features]:
        """Yield the features of each batch."""
        padded = [self._padded(indices) for _, indices in batches]
        if self._whole and self._speech.hears_padding:
            yield from self._encode_alone([indices for _, indices in batches], padded)
            return
        draws = [
            [Draw(index, seed, samples or 0) for index in indices]
            for (seed, indices), samples in zip(batches, padded, strict=True)
        ]
        for batch, samples in zip(self._load(draws), padded, strict=True):
            speech = self._speech(batch.waveforms, batch.names, batch.lengths if samples else None)
            counts = [self._speech.frames(length) for length in batch.lengths]
            yield speech, real(counts, speech.shape[-2], device=speech.device) if samples else None

    def _encode_alone(self, batches: Sequence[Sequence[int]], padded: Sequence[int | None]) -> Iterator[Features]:
        """Encode recordings one by one, then pad their features."""
        loaded = self._load([[Draw(index)] for indices in batches for index in indices])
        for indices, samples in zip(batches, padded, strict=True):
            recordings = itertools.islice(loaded, len(indices))
            encoded = [self._speech(each.waveforms, each.names) for each in recordings]  # (1, Z, M, D) each
            if samples is None:
                yield torch.cat(encoded), None
                continue
            frames, counts = self._speech.frames(samples), [each.shape[-2] for each in encoded]
            rows = [F.pad(each, (0, 0, 0, frames - count)) for each, count in zip(encoded, counts, strict=True)]
            yield torch.cat(rows), real(counts, frames, device=rows[0].device)

    def _load(self, draws: Sequence[Sequence[Draw]]) -> Iterator[Batch]:
        """Yield the waveforms of batches, and count the time that they are waited for."""
        began = time.perf_counter()
        for batch in load(self._dataset, draws, workers=self._workers):
            self.waited_s += time.perf_counter() - began
            yield batch
            began = time.perf_counter()

    def _padded(self, indices: Sequence[int]) -> int | None:
        """Return how many samples a batch of whole recordings is padded to; None if it is not padded."""
        if not self._whole or len(indices) == 1:
            return None
        return padded_length(max(self._lengths[index] for index in indices))

    def _fits(self) -> bool:
        """Tell whether there is room for all features."""
        frames = sum(self._speech.frames(length) for length in self._lengths)
        return fits(frames * self._speech.bytes_per_frame, self._device)
