"""Whole recordings as vectors: mean and standard deviation over time of an encoder's layers, for linear probes."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from bench.accuracy.corpora.base import Utterance
from bench.accuracy.inputs.features import SpeechFeatures
from bench.accuracy.inputs.feed import Feed


def pooled_recordings(
    utterances: Sequence[Utterance], speech: SpeechFeatures, *, device: torch.device, workers: int
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Encode each recording once, as a whole, and yield its name with its pooled features.

    Args:
        utterances: The recordings.
        speech: Returns one layer, or ``every``.
        device: The device of the encoder.
        workers: Additional processes that read audio.

    Yields:
        The name, and mean and deviation of each layer: (Z + 1, 2 D) of every layer, (2 D,) of one.

    Raises:
        UserError: A recording cannot be read, or its features are not finite.
    """
    feed = Feed(
        utterances,
        classes=sorted({each.label for each in utterances}),
        encoders=(speech, None),
        device=device,
        workers=workers,
    )
    batches = feed.batches()
    for batch, inputs in zip(batches, feed([("", batch) for batch in batches]), strict=True):
        for row, index in enumerate(batch):
            features = inputs.speech[row]  # (*Z, M, D)
            if inputs.speech_mask is not None:
                features = features[..., inputs.speech_mask[row], :]
            yield utterances[index].name, pool_over_time(features).cpu().numpy()


def pool_over_time(features: Float[Tensor, "*Z M D"]) -> Float[Tensor, "*Z W"]:
    """Return mean and standard deviation over the frames side by side, W = 2 D, in float32 whatever the input.

    The deviation has the denominator M, so that of a single frame is 0.
    """
    deviation, mean = torch.std_mean(features.float(), dim=-2, correction=0)
    return torch.cat([mean, deviation], dim=-1)
