"""The head of the emotion model, behind the mixer: attention pooling over the frames, then a classifier.

Letters: B batch, L frames, D width, C classes.
"""

import itertools
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

_INNER_WIDTH = 512  # of the classifier
_DROPOUT = 0.1


class AttentionPooling(nn.Module):
    """One vector for a sequence: its frames, weighted by how well they match a trained query (equations 3 and 4)."""

    def __init__(self, width: int, *, scaled: bool) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(width) / math.sqrt(width))
        self.scale = 1 / math.sqrt(width) if scaled else 1.0

    def forward(self, h: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B D"]:
        """Pool the real frames; each sequence must have one.

        Args:
            h: The mixer's output, (B, L, D).
            mask: True on real frames.
        """
        scores = h @ self.query * self.scale  # (B, L)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return torch.einsum("bl,bld->bd", scores.softmax(-1), h)


def classifier(width: int, num_classes: int, *, hidden: int) -> nn.Sequential:
    """Return dropout, then layers of projection, layer norm, GELU and dropout, then the projection to logits."""
    widths = [width, *[_INNER_WIDTH] * hidden]
    blocks = [
        nn.Sequential(nn.Linear(before, after), nn.LayerNorm(after), nn.GELU(), nn.Dropout(_DROPOUT))
        for before, after in itertools.pairwise(widths)
    ]
    return nn.Sequential(nn.Dropout(_DROPOUT), *blocks, nn.Linear(_INNER_WIDTH, num_classes))
