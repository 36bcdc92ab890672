"""Features of whole recordings, which are always the same, kept in the memory of the device."""

import os
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bench.accuracy.inputs.features import real

_FRAMES = 16  # a batch has a multiple of these, so that kernels and CUDA graphs see few lengths

_SHARE = 0.2  # of the free memory, at most; while they are collected they need it twice


class KeptFeatures:
    """The real frames of all recordings, one after the other."""

    def __init__(self, order: Sequence[Sequence[int]], encoded: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Keep the features of all recordings.

        Args:
            order: The recordings of each batch.
            encoded: Its features, (B, M, D) or, of Z layers, (B, Z, M, D), and a mask of the real frames, (B, M); None
                if all are real.
        """
        pieces: list[Tensor] = []
        self._places: dict[int, tuple[int, int]] = {}  # where the frames of a recording begin, and their number
        begin = 0
        for indices, (speech, mask) in zip(order, encoded, strict=True):
            by_frame = speech.movedim(-2, 1)  # (B, M, D), or (B, M, Z, D)
            counts = [by_frame.shape[1]] * len(indices) if mask is None else mask.sum(1).tolist()
            for index, features, count in zip(indices, by_frame, counts, strict=True):
                pieces.append(features[:count])
                self._places[index] = begin, count
                begin += count
        self._frames = torch.cat([*pieces, torch.zeros_like(pieces[0][:1])])  # (all frames + 1, Z, D), the last is 0

    def __call__(self, indices: Sequence[int]) -> tuple[Float[Tensor, "B *Z M D"], Bool[Tensor, "B M"] | None]:
        """Return the features of some recordings, padded with zeros, and which frames are real; None for one."""
        device = self._frames.device
        begins, counts = zip(*(self._places[index] for index in indices), strict=True)
        if len(indices) == 1:
            return self._frames[begins[0] : begins[0] + counts[0]].movedim(0, -2)[None], None
        size = -(-max(counts) // _FRAMES) * _FRAMES
        mask = real(counts, size, device=device)
        frames = torch.tensor(begins).to(device)[:, None] + torch.arange(size, device=device)
        frames = torch.where(mask, frames, len(self._frames) - 1)
        return self._frames[frames].movedim(1, -2), mask


def fits(needed: int, device: torch.device) -> bool:
    """Tell whether so many bytes are a small part of a device's free memory."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return needed <= _SHARE * free
