"""The recurrences of `mixers.support.recurrences` in chunks of frames, in plain PyTorch: far fewer and larger products.

The frames of a chunk are computed at once, from one another and from the state that the chunks before left. Letters: C
frames of a chunk. Frame t of a chunk keeps of frame i what the decays between them leave. This is computed from the
difference of two running sums, which is at most 0. So nothing overflows, however fast a mixer forgets.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

# C. Decays of each channel take C x C x K numbers a chunk, those of a head C x C, so that its chunks can be longer.
_FRAMES_OF_CHANNELS, _FRAMES_OF_HEADS = 16, 64


def additive(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B L H K"],
    v: Float[Tensor, "B L H V"],
    log_keep: Float[Tensor, "B L H K1"],
) -> Float[Tensor, "B L H V"]:
    """Compute `mixers.support.recurrences.additive`."""

    def mix(decay: _Decay, state: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return decay.read(q, state, (k, v)), decay.write(state, (k, v))

    return _in_chunks(mix, log_keep, q, k, v)


def delta_rule(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B L H K"],
    v: Float[Tensor, "B L H V"],
    log_keep: Float[Tensor, "B L H K1"],
    beta: Float[Tensor, "B L H 1"],
) -> Float[Tensor, "B L H V"]:
    """Compute `mixers.support.recurrences.delta_rule`: each frame adds its value less what is held under its key."""

    def mix(decay: _Decay, state: Tensor, q: Tensor, k: Tensor, v: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        key = beta * k
        by_key = decay.scores(k, key).tril(-1)
        held = _solve(by_key, decay.of_state(k, state) + by_key @ v)
        return decay.read(q, state, (key, v - held)), decay.write(state, (key, v - held))

    return _in_chunks(mix, log_keep, q, k, v, beta)


def generalized_delta_rule(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B L H K"],
    v: Float[Tensor, "B L H V"],
    log_keep: Float[Tensor, "B L H K"],
    removal: Float[Tensor, "B L H K"],
    rate: Float[Tensor, "B L H K"],
) -> Float[Tensor, "B L H V"]:
    """Compute `mixers.support.recurrences.generalized_delta_rule`."""

    def mix(decay: _Decay, state: Tensor, q: Tensor, k: Tensor, v: Tensor, *keys: Tensor) -> tuple[Tensor, Tensor]:
        reader, removed = keys
        by_removed, by_key = (decay.scores(reader, each).tril(-1) for each in (removed, k))
        held = _solve(by_removed, decay.of_state(reader, state) + by_key @ v)
        return decay.read(q, state, (k, v), (removed, -held)), decay.write(state, (k, v), (removed, -held))

    # it reads the state before the decay of its frame, which every other read includes
    return _in_chunks(mix, log_keep, q, k, v, removal * (-log_keep).exp(), rate * removal)


def slots(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B L H K"],
    v: Float[Tensor, "B L H V"],
    log_keep: Float[Tensor, "B L H M"],
) -> Float[Tensor, "B L H V"]:
    """Compute `mixers.support.recurrences.slots`, whose keys lie in M slots that decay, as its values do."""
    write = -torch.expm1(log_keep)  # (B, L, H, M)

    def mix(decay: _Decay, state: Tensor, q: Tensor, k: Tensor, write: Tensor) -> tuple[Tensor, Tensor]:
        written = decay.between * write[:, :, None]  # (B, H, C, C, M)
        score = ((q @ k.mT)[:, :, :, None] @ written).squeeze(3) + decay.of_chunk * (q @ state)  # (B, H, C, M)
        return score, decay.of_chunk[:, :, -1:] * state + k.mT @ (decay.to_end * write)

    return additive(_in_chunks(mix, log_keep, q, k, write).softmax(-1), write, v, log_keep)


class _Decay:
    """What the frames of a chunk keep.

    Attributes:
        of_chunk: Of the state before the chunk, (B, H, C, K1).
        to_end: Of each frame at the end of the chunk, (B, H, C, K1).
        between: At frame t of frame i, (B, H, C, C, K1); 0 of later ones.
    """

    def __init__(self, log_keep: Float[Tensor, "B H C K1"]) -> None:
        total = log_keep.cumsum(2)
        self.of_chunk = total.exp()
        self.to_end = (total[:, :, -1:] - total).exp()
        frames = total.shape[2]
        later = torch.ones(frames, frames, dtype=torch.bool, device=total.device).triu(1)[..., None]
        self.between = (total[:, :, :, None] - total[:, :, None]).masked_fill(later, float("-inf")).exp()

    def scores(self, query: Float[Tensor, "B H C K"], key: Float[Tensor, "B H C K"]) -> Float[Tensor, "B H C C"]:
        """Return the products of queries with what is kept of keys."""
        if self.between.shape[-1] == 1:
            return (query @ key.mT) * self.between.squeeze(-1)
        products: Tensor = (self.between * key[:, :, None]) @ query[..., None]  # (B, H, C, C, 1)
        return products.squeeze(-1)

    def of_state(self, query: Float[Tensor, "B H C K"], state: Float[Tensor, "B H K V"]) -> Float[Tensor, "B H C V"]:
        """Read what is kept of the state before the chunk."""
        return (query * self.of_chunk) @ state

    def read(
        self, query: Float[Tensor, "B H C K"], state: Float[Tensor, "B H K V"], *written: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "B H C V"]:
        """Read what is kept of the state and of the values that the frames wrote under their keys."""
        o = self.of_state(query, state)
        for key, value in written:
            o = o + self.scores(query, key) @ value
        return o

    def write(self, state: Float[Tensor, "B H K V"], *written: tuple[Tensor, Tensor]) -> Float[Tensor, "B H K V"]:
        """Return the state after the chunk."""
        state = self.of_chunk[:, :, -1, :, None] * state
        for key, value in written:
            state = state + (key * self.to_end).mT @ value
        return state


def _solve(products: Float[Tensor, "B H C C"], alone: Float[Tensor, "B H C V"]) -> Float[Tensor, "B H C V"]:
    """Return what is held, given what would be if no frame of the chunk removed anything, and products of keys."""
    held: Tensor = torch.linalg.solve_triangular(products, alone, upper=False, unitriangular=True)
    return held


def _in_chunks(
    mix: Callable[..., tuple[Tensor, Tensor]], log_keep: Float[Tensor, "B L H K1"], *inputs: Tensor
) -> Float[Tensor, "B L H V"]:
    """Mix one chunk after the other.

    Args:
        mix: From the decays of a chunk, the state before it, (B, H, K, V), and its inputs, (B, H, C, ...), returns its
            output and the state after it.
        log_keep: Logarithm of what a frame keeps.
        inputs: Tensors (B, L, H, ...): queries, keys, values and others.
    """
    size = _FRAMES_OF_HEADS if log_keep.shape[-1] == 1 else _FRAMES_OF_CHANNELS
    _, k, v = inputs[:3]
    state = k.new_zeros(k.shape[0], *k.shape[2:], v.shape[-1])  # (B, H, K, V)
    out = []
    with torch.autocast(k.device.type, enabled=False):  # states and sums need the precision of the inputs
        split = (torch.split(each.transpose(1, 2), size, dim=2) for each in (log_keep, *inputs))
        for decays, *chunk in zip(*split, strict=True):
            o, state = mix(_Decay(decays), state, *chunk)
            out.append(o)  # (B, H, C, V)
    return torch.cat(out, dim=2).transpose(1, 2)
