"""Which utterances share a batch: shuffled for training, of similar length for scoring."""

import random
from collections.abc import Sequence

from bench.speech import HOP_SAMPLES, SAMPLE_RATE

# Whole recordings of a batch are padded to a multiple of this, so that kernels and CUDA graphs see few lengths.
PADDING_SAMPLES = 16 * HOP_SAMPLES  # 0.32 s

# Of a batch that is scored, with padding: they bound its memory. Other sizes were not measured.
_TOGETHER_SAMPLES = 320 * SAMPLE_RATE
_TOGETHER = 64


def shuffled(count: int, *, batch: int, seed: str) -> list[list[int]]:
    """Return the utterances of each batch of an epoch; an incomplete last batch is left out.

    Args:
        count: Utterances in an epoch.
        batch: Utterances in one step.
        seed: Determines the order.
    """
    every = list(range(count))
    random.Random(f"order/{seed}").shuffle(every)
    return [every[at : at + batch] for at in range(0, count - batch + 1, batch)]


def by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Return batches of all utterances, longest first, so that memory runs out at once if it does.

    Args:
        lengths: The samples of each.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batches: list[list[int]] = []
    room = 0
    for index in order:
        if room == 0:
            batches.append([])
            room = max(1, min(_TOGETHER, _TOGETHER_SAMPLES // padded_length(lengths[index])))
        batches[-1].append(index)
        room -= 1
    return batches


def padded_length(samples: int) -> int:
    """Return the samples that a recording is padded to: the next multiple of `PADDING_SAMPLES`, at least one."""
    return max(1, -(-samples // PADDING_SAMPLES)) * PADDING_SAMPLES
