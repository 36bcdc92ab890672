"""How large a call is by the mixer's equations: parameters, arithmetic and the fewest bytes."""

from dataclasses import dataclass
from typing import Protocol

from mixers.stack import MixerStack

# For each product of the forward pass, the backward pass computes two: the gradients of both factors. It also moves
# the gradients of everything that the forward pass moves.
TRAINING_FLOPS, TRAINING_BYTES = 3, 2


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The size of a model and of one call, and what else is known of the model once it is built.

    Attributes:
        parameters: Count of trainable parameters.
        flops: Arithmetic of one call; None if the call did not come about.
        minimum_bytes: The fewest bytes that one call must move; None likewise.
        feed_forward_width: Inner width of a stack's feed-forward; None for a bare layer.
        fused_attention: Whether an encoder's attention can run in a fused kernel; None for what is no encoder.
    """

    parameters: int
    flops: int | None = None
    minimum_bytes: int | None = None
    feed_forward_width: int | None = None
    fused_attention: bool | None = None


class Sized(Protocol):
    """A model of sequences (B, L, D) that states its size."""

    def parameter_count(self) -> int:
        """Return the exact number of trainable parameters."""

    def flops(self, *, batch: int, frames: int) -> int:
        """Return the arithmetic of one forward pass."""

    def minimum_bytes(self, *, batch: int, frames: int) -> int:
        """Return the fewest bytes that one forward pass must move."""


def sizes_of(model: Sized, *, batch: int, frames: int, pass_: str) -> Sizes:
    """Return the sizes of a call on a batch of sequences (B, L, D).

    Args:
        model: What is called.
        batch: B.
        frames: L.
        pass_: ``inference`` or ``training``.
    """
    training = pass_ == "training"
    return Sizes(
        parameters=model.parameter_count(),
        flops=model.flops(batch=batch, frames=frames) * (TRAINING_FLOPS if training else 1),
        minimum_bytes=model.minimum_bytes(batch=batch, frames=frames) * (TRAINING_BYTES if training else 1),
        feed_forward_width=model.feed_forward_width if isinstance(model, MixerStack) else None,
    )
