"""The contract that every mixer keeps.

Letters: B batch, L frames, D model width, H heads, K key width and V value width of a head.

A mixer states its equations once, for a sequence without padding (`Mixer.equations`): that is the implementation
`reference`, the oracle of all others. Where a library computes the mixer, the library's own layer holds the
parameters; `reference` reads the same parameters under the same names, so the two can be compared, and a checkpoint
of the one loads into the other.
"""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mixers.support.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class MixerConfig:
    """The sizes that every mixer has.

    Attributes:
        width: D, the width of the sequence.
        num_heads: H.
    """

    width: int = 1024
    num_heads: int = 4

    @property
    def head_width(self) -> int:
        """D / H."""
        return self.width // self.num_heads


class SequenceModel(nn.Module, ABC):
    """Anything from (B, L, D) to (B, L, D) that can be measured: a bare mixer, or a stack of blocks around one."""

    width: int

    @abstractmethod
    def forward(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B L D"]:
        """Mix the frames of each sequence.

        Args:
            x: Features, (B, L, D).
            mask: True on real frames, (B, L), which come before the padded ones. A padded sequence gives on its real
                frames what these give alone, and zeros on the padded ones.
        """

    @abstractmethod
    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Return the floating-point operations between frames, those of the projections left out."""

    def flops(self, *, batch: int, frames: int) -> int:
        """Return the floating-point operations of one forward pass: a multiply-add counts two."""
        matrices = sum(parameter.numel() for parameter in self.parameters() if parameter.ndim > 1)
        return 2 * batch * frames * matrices + self.mixing_flops(batch=batch, frames=frames)

    def minimum_bytes(self, *, batch: int, frames: int) -> int:
        """Return the fewest bytes one forward pass must move: input and weights read, output written, once each."""
        element_size = next(self.parameters()).element_size()
        return (2 * batch * frames * self.width + self.parameter_count()) * element_size

    def parameter_count(self) -> int:
        """Return the exact number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


class Mixer(SequenceModel):
    """A mechanism, with one or several implementations of it.

    Attributes:
        arxiv: Identifier of the paper that introduced it; mixers are listed in this order.
        causal: Whether a frame sees only itself and the frames before it.
        implementations: The ways to compute it, ``reference`` first.
        presets: Its configuration in each preset.
    """

    arxiv: ClassVar[str]
    causal: ClassVar[bool]
    implementations: ClassVar[tuple[str, ...]]
    presets: ClassVar[Mapping[str, MixerConfig]]

    def __init__(self, config: MixerConfig, *, implementation: str = "reference") -> None:
        """Build the layer with fresh random weights.

        Raises:
            UserError: The mixer has no such implementation.
        """
        super().__init__()
        if implementation not in self.implementations:
            raise unknown_name(f"implementation of {self.name()}", implementation, self.implementations)
        self.implementation = implementation
        self.width = config.width

    def forward(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B L D"]:
        if self.implementation == "fla":
            # All of them are causal, so no real frame sees the padded ones behind it. Given the mask, the library would
            # wait for the GPU, to learn how many frames are real, and mix a sequence of these alone.
            y: Tensor = self.layer(x)[0]  # type: ignore[operator]
            return y if mask is None else y * mask[..., None]
        return self.reference(x, mask)

    @classmethod
    def name(cls) -> str:
        """Return the name of the mixer, which is that of its file."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def measured(cls, config: MixerConfig) -> tuple[str, ...]:  # noqa: ARG003 - others choose by it
        """Return the implementations that a sweep on a GPU measures when only the mixer is named."""
        return ("fla",)

    @classmethod
    def unavailable(cls, implementation: str, config: MixerConfig, *, device_type: str) -> str:  # noqa: ARG003
        """Return why an implementation cannot run on ``cpu`` or ``cuda``; empty if it can."""
        if implementation == "fla" and importlib.util.find_spec("fla") is None:
            return "flash-linear-attention is not installed"
        if implementation == "fla" and device_type != "cuda":
            return "needs a CUDA GPU"
        return ""

    @abstractmethod
    def equations(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """Compute the mechanism as its paper writes it, in plain PyTorch, on sequences without padding."""

    def reference(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B L D"]:
        """Compute the equations; of a padded batch, on the real frames of each sequence alone."""
        if mask is None:
            return self.equations(x)
        out = torch.zeros_like(x)
        for row, real in enumerate(mask):
            if not real.any():
                continue
            out[row, real] = self.equations(x[row : row + 1, real])[0].to(x.dtype)  # autocast may have made it less
        return out


def split_heads(x: Float[Tensor, "B L HW"], num_heads: int) -> Float[Tensor, "B L H W"]:
    """Split the last axis into heads, in at least float32: states and sums are kept in no less."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x.reshape(*x.shape[:-1], num_heads, -1)


def rms_norm(x: Float[Tensor, "*B W"], weight: Float[Tensor, " W"], *, eps: float) -> Float[Tensor, "*B W"]:
    """Divide by the root mean square over the last axis, then scale each channel."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight
