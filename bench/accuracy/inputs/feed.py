"""What classifiers learn from and are scored on: the features of any batches of some utterances, and their labels.

Each batch is encoded once for all classifiers. With several processes, each encodes its share of a batch and gets the
features of the others, so the classifiers of every process see whole batches.

Letters: B batch, Z layers, M frames of speech, N tokens of text, D width.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
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
        accelerator: Accelerator,
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
            accelerator: Its processes share the encoding.
            workers: Additional processes that read audio.
            crop_seconds: The length of crops; None for whole recordings.
            keep: Whether the features of whole recordings are needed again, and are kept if they fit.
            encode_texts_again: Whether to encode a text each time it occurs, as the paper's code does.
        """
        self._speech, self._text = encoders
        self._accelerator, self._workers = accelerator, workers
        self._names = [each.name for each in utterances]
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
        """Yield the inputs of each batch, on the device; every process must ask for the same ones.

        Raises:
            UserError: A recording cannot be read, or its features are not finite.
        """
        if self._keep and self._kept is None:
            order = self.batches()
            self._kept = KeptFeatures(order, self._encode([("", batch) for batch in order]))
        kept = self._kept
        features = self._encode(batches) if kept is None else (kept(indices) for _, indices in batches)
        device = self._accelerator.device
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
        """Yield the features of each batch, from the shares of all processes."""
        alone = self._whole and self._speech.hears_padding
        own = [self._share(seed, indices, padded=len(indices) > 1 and not alone) for seed, indices in batches]
        loading = [[draw] for draws in own for draw in draws] if alone else own
        loaded = self._timed(load(self._dataset, loading, workers=self._workers))
        for (_, indices), draws in zip(batches, own, strict=True):
            frames = self._frames(indices)
            if alone:
                speech, mask = self._encode_alone(itertools.islice(loaded, len(draws)), frames)
            else:
                speech, mask = self._encode_together(next(loaded), padded=frames is not None)
            if self._accelerator.num_processes > 1:
                speech = self._gather(speech)[: len(indices)]
                mask = None if mask is None else self._gather(mask)[: len(indices)]
            yield speech, mask

    def _timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        began = time.perf_counter()
        for batch in batches:
            self.waited_s += time.perf_counter() - began
            yield batch
            began = time.perf_counter()

    def _frames(self, indices: Sequence[int]) -> int | None:
        """Return how many frames a batch of recordings is padded to; None if it is not padded."""
        if not self._whole or len(indices) == 1:
            return None
        return self._speech.frames(padded_length(max(self._lengths[index] for index in indices)))

    def _share(self, seed: str, indices: Sequence[int], *, padded: bool) -> list[Draw]:
        """Return what this process encodes of a batch: as many for each process, the last ones again if need be."""
        world, rank = self._accelerator.num_processes, self._accelerator.process_index
        share = -(-len(indices) // world)
        filled = [*indices, *[indices[-1]] * (share * world - len(indices))]
        samples = padded_length(max(self._lengths[index] for index in indices)) if self._whole and padded else 0
        return [Draw(index, seed, samples) for index in filled[rank * share : (rank + 1) * share]]

    def _encode_together(self, batch: Batch, *, padded: bool) -> Features:
        speech = self._speech(batch.waveforms, batch.names, batch.lengths if padded else None)
        counts = [self._speech.frames(length) for length in batch.lengths]
        return speech, real(counts, speech.shape[-2], device=speech.device) if padded else None

    def _encode_alone(self, batches: Iterator[Batch], frames: int | None) -> Features:
        """Encode recordings one by one, then pad their features."""
        encoded = [self._speech(batch.waveforms, batch.names) for batch in batches]  # (1, Z, M, D) each
        if frames is None:
            return torch.cat(encoded), None
        padded = [F.pad(each, (0, 0, 0, frames - each.shape[-2])) for each in encoded]
        return torch.cat(padded), real([each.shape[-2] for each in encoded], frames, device=padded[0].device)

    def _gather(self, share: Tensor) -> Tensor:
        gathered: Tensor = self._accelerator.gather(share.contiguous())
        return gathered

    def _fits(self) -> bool:
        """Tell whether every process has room for all features."""
        frames = sum(self._speech.frames(length) for length in self._lengths)
        own = fits(frames * self._speech.bytes_per_frame, self._accelerator.device)
        return all(gather_object([own])) if self._accelerator.num_processes > 1 else own
