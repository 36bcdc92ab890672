"""The head of a whole system as it is measured: attention pooling and the classifier, one after the other."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bench.head import AttentionPooling, classifier

# As `sbench train` makes them by default: the classes of MSP-Podcast, and the paper's layers.
_CLASSES, _HIDDEN_LAYERS = 8, 5


class MeasuredHead(nn.Module):
    """The mixer's output (B, L, D) goes in, a logit for each class (B, C) comes out."""

    def __init__(self, width: int, *, seed: int) -> None:
        super().__init__()
        self.width = width
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.pooling = AttentionPooling(width, scaled=True)
            self.classifier = classifier(width, _CLASSES, hidden=_HIDDEN_LAYERS)

    def forward(self, h: Float[Tensor, "B L D"]) -> Float[Tensor, "B C"]:
        return self.classifier(self.pooling(h))  # type: ignore[no-any-return]

    def parameter_count(self) -> int:
        """Return the exact number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def flops(self, *, batch: int, frames: int) -> int:
        """Return the arithmetic of one forward pass: scores and weighted sum of the frames, then the projections."""
        matrices = sum(parameter.numel() for parameter in self.parameters() if parameter.ndim > 1)
        return batch * (4 * frames * self.width + 2 * matrices)

    def minimum_bytes(self, *, batch: int, frames: int) -> int:
        """Return the fewest bytes that one forward pass must move: frames and weights read, logits written."""
        return (batch * (frames * self.width + _CLASSES) + self.parameter_count()) * self.pooling.query.element_size()
