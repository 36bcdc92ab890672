"""Whole recordings as vectors: mean and standard deviation over time of an encoder's layers, for linear probes."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from bench.accuracy.corpora.base import Utterance
from bench.accuracy.inputs.batches import WholeFiles, load
from bench.accuracy.inputs.features import SpeechFeatures


def pooled_recordings(
    utterances: Sequence[Utterance], speech: SpeechFeatures, *, workers: int
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Encode each recording once, as a whole, and yield its name with its pooled features.

    Args:
        utterances: The recordings.
        speech: Returns one layer, or ``every``.
        workers: Additional processes that read audio.

    Yields:
        The name, and mean and deviation of each layer: (Z + 1, 2 D) of every layer, (2 D,) of one.

    Raises:
        UserError: A recording cannot be read, or its features are not finite.
    """
    classes = sorted({each.label for each in utterances})
    for batch in load(WholeFiles(utterances), None, classes=classes, workers=workers):
        features = speech(batch.waveforms, batch.names)[0]  # (*Z, M, D)
        yield batch.names[0], pool_over_time(features).cpu().numpy()


def pool_over_time(features: Float[Tensor, "*Z M D"]) -> Float[Tensor, "*Z W"]:
    """Return mean and standard deviation over the frames side by side, W = 2 D, in float32 whatever the input.

    The deviation has the denominator M, so that of a single frame is 0.
    """
    deviation, mean = torch.std_mean(features.float(), dim=-2, correction=0)
    return torch.cat([mean, deviation], dim=-1)
