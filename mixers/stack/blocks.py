"""The blocks of a stack: what stands around each mixer."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixers.base import Mixer

_DROPOUT = 0.4
_KERNEL_FRAMES = 31  # of the convolution: Gulati et al. chose 32, and an odd number has a middle


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv 2002.05202): silu(x W) * (x U), projected back."""

    def __init__(self, width: int, inner_width: int) -> None:
        super().__init__()
        self.gate_and_up = nn.Linear(width, 2 * inner_width, bias=False)
        self.down = nn.Linear(inner_width, width, bias=False)

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        gate, up = self.gate_and_up(x).chunk(2, dim=-1)  # (B, L, F) each
        return self.down(F.silu(gate) * up)  # type: ignore[no-any-return]


class Convolution(nn.Module):
    """The Conformer's: a gated linear unit, a depthwise convolution, a norm, silu and a projection.

    It has no biases, so that frames of zeros add nothing, and an RMS norm instead of one over the batch.

    Attributes:
        causal: Whether a frame sees the last `_KERNEL_FRAMES` frames, instead of as many around it.
    """

    def __init__(self, width: int, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.value_and_gate = nn.Linear(width, 2 * width, bias=False)
        self.depthwise = nn.Conv1d(width, width, _KERNEL_FRAMES, groups=width, bias=False)
        self.norm = nn.RMSNorm(width)
        self.project = nn.Linear(width, width, bias=False)

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        x = F.glu(self.value_and_gate(x), dim=-1)
        before = _KERNEL_FRAMES - 1 if self.causal else _KERNEL_FRAMES // 2
        padded = F.pad(x.transpose(1, 2), (before, _KERNEL_FRAMES - 1 - before))  # (B, D, L + K - 1)
        x = self.depthwise(padded).transpose(1, 2)  # (B, L, D)
        return self.project(F.silu(self.norm(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A pre-norm residual block: the mixer, then the feed-forward.

    Attributes:
        feed_forwards: How many a block has.
    """

    feed_forwards: ClassVar[int] = 1

    def __init__(self, mixer: Mixer, inner_width: int, *, causal: bool) -> None:  # noqa: ARG002
        """Build a block around a mixer.

        Args:
            mixer: The mixer.
            inner_width: Inner width of the feed-forward.
            causal: Whether no frame may see a later one, in what is not the mixer's either.
        """
        super().__init__()
        self.mixer_norm = nn.RMSNorm(mixer.width)
        self.dropout = nn.Dropout(_DROPOUT)
        self.mixer = mixer
        self.feed_forward_norm = nn.RMSNorm(mixer.width)
        self.feed_forward = FeedForward(mixer.width, inner_width)

    def forward(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None) -> Float[Tensor, "B L D"]:
        x = x + self.mixer(self.dropout(self.mixer_norm(x)), mask)
        return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return]


class ConformerBlock(nn.Module):
    """A Conformer's block (Gulati et al. 2020, arXiv 2005.08100): half a feed-forward, the mixer, a convolution, half.

    The mixer takes the place of self-attention. Norms are RMS norms and feed-forwards SwiGLU, as in `Block`, so that
    the two differ by their structure alone.
    """

    feed_forwards: ClassVar[int] = 2

    def __init__(self, mixer: Mixer, inner_width: int, *, causal: bool) -> None:
        """Build a block around a mixer; arguments as of `Block`."""
        super().__init__()
        width = mixer.width
        self.first_norm, self.first = nn.RMSNorm(width), FeedForward(width, inner_width)
        self.mixer_norm = nn.RMSNorm(width)
        self.dropout = nn.Dropout(_DROPOUT)
        self.mixer = mixer
        self.convolution_norm, self.convolution = nn.RMSNorm(width), Convolution(width, causal=causal)
        self.second_norm, self.second = nn.RMSNorm(width), FeedForward(width, inner_width)
        self.output_norm = nn.RMSNorm(width)

    def forward(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None) -> Float[Tensor, "B L D"]:
        x = x + self.first(self.first_norm(x)) / 2
        x = x + self.mixer(self.dropout(self.mixer_norm(x)), mask)
        convolved = self.convolution(self.convolution_norm(x))
        x = x + (convolved if mask is None else convolved * mask[..., None])  # it reaches beyond the real frames
        return self.output_norm(x + self.second(self.second_norm(x)) / 2)  # type: ignore[no-any-return]


AnyBlock = type[Block] | type[ConformerBlock]


def parameters_beside(kind: AnyBlock, mixer: Mixer) -> int:
    """Return how many parameters a block has beside its mixer's and its feed-forwards'."""
    with torch.device("meta"):
        block = kind(mixer, 1, causal=True)
    feed_forwards = kind.feed_forwards * 3 * mixer.width  # of width 1
    return sum(each.numel() for each in block.parameters()) - mixer.parameter_count() - feed_forwards
