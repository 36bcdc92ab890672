"""Sliding-window attention: softmax attention to the frames of the last seconds, or to those around a frame.

Source: Beltagy et al. 2020, "Longformer", arXiv 2004.05150, section 3.1. A frame sees a window of fixed length: itself
and the past, or, where it sees the clip, as much on either side as together fills the window. The parameters are those
of `mixers.sa`.

`blocks` attends in blocks of as many frames as the window: each block sees itself and half a block on either side, or
the block before. `flex` is PyTorch's FlexAttention, which skips the tiles outside the window.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mixers.base import Implementation, MixerConfig, in_heads, split_heads
from mixers.kernels import flex
from mixers.sa import SoftmaxAttention
from mixers.support.forgetting import FRAMES_PER_SECOND


@dataclass(frozen=True, kw_only=True)
class SlidingConfig(MixerConfig):
    """Sizes of sliding-window attention.

    Attributes:
        window_seconds: How much audio a frame sees, at 50 frames a second.
    """

    window_seconds: float = 5.0

    @property
    def window_frames(self) -> int:
        """How many frames a frame sees, itself included; at least two."""
        return max(2, round(self.window_seconds * FRAMES_PER_SECOND))


class SlidingWindowAttention(SoftmaxAttention):
    """Softmax attention within a window."""

    arxiv = "2004.05150"
    by_default = False
    groups = ("attention",)
    reach = f"{SlidingConfig().window_seconds:g} s: of the past, or half on either side"
    presets = {"matched": SlidingConfig(), "released": SlidingConfig()}
    config: SlidingConfig

    @property
    def span(self) -> tuple[int, int]:
        """How many frames before and after itself a frame sees."""
        if self.sees == "past":
            return self.config.window_frames - 1, 0
        return self.config.window_frames // 2, self.config.window_frames // 2

    @classmethod
    def state_numbers(cls, config: SlidingConfig) -> int:
        return 2 * config.window_frames * config.width  # keys and values

    def equations(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        q, k, v = (split_heads(p(x), self.config.num_heads) for p in (self.q_proj, self.k_proj, self.v_proj))
        scores = torch.einsum("bihk,bjhk->bhij", q, k) / q.shape[-1] ** 0.5
        before, after = self.span
        frame = torch.arange(x.shape[1], device=x.device)
        lag = frame[:, None] - frame  # (L, L)
        scores = scores.masked_fill((lag > before) | (lag < -after), float("-inf"))
        o = torch.einsum("bhij,bjhv->bihv", scores.softmax(-1), v)
        return self.o_proj(o.flatten(2).to(x.dtype))  # type: ignore[no-any-return]

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Those of two products with the frames of every window, which is shorter at the ends of the clip."""
        pairs = frames
        for side in self.span:
            reached = min(side, frames - 1)
            pairs += reached * frames - reached * (reached + 1) // 2
        return 4 * batch * pairs * self.width


def _run(
    mixer: SlidingWindowAttention, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None
) -> Float[Tensor, "B L D"]:
    q, k, v = (
        in_heads(p(x), mixer.config.num_heads).transpose(1, 2)  # (B, H, L, K)
        for p in (mixer.q_proj, mixer.k_proj, mixer.v_proj)
    )
    before, after = mixer.span
    o = mixer.operator(q, k, v, mask, before=before, after=after)
    y: Tensor = mixer.o_proj(o.transpose(1, 2).flatten(2))
    return y if mask is None else y * mask[..., None]


def _in_blocks(
    q: Float[Tensor, "B H L K"],
    k: Float[Tensor, "B H L K"],
    v: Float[Tensor, "B H L V"],
    mask: Bool[Tensor, "B L"] | None,
    *,
    before: int,
    after: int,
) -> Float[Tensor, "B H L V"]:
    """Attend from N blocks of `before` + `after` queries, each to twice as many keys."""
    frames, size = q.shape[2], before + after
    behind = -frames % size  # what fills the last block
    real = torch.ones(q.shape[0], frames, dtype=torch.bool, device=q.device) if mask is None else mask
    real = F.pad(real, (before, behind + after)).unfold(1, 2 * size, size)  # (B, N, 2 size)
    queries = F.pad(q, (0, 0, 0, behind)).unflatten(2, (-1, size)).transpose(1, 2)  # type: ignore[no-untyped-call]
    keys, values = (
        F.pad(each, (0, 0, before, behind + after)).unfold(2, 2 * size, size).permute(0, 2, 1, 4, 3) for each in (k, v)
    )  # (B, N, H, 2 size, K)
    position = torch.arange(2 * size, device=q.device) - before - torch.arange(size, device=q.device)[:, None]
    near = (position >= -before) & (position <= after)  # (size, 2 size)
    visible = near & (real[:, :, None] | (position == 0))  # every query sees itself, so that none sees nothing
    o = F.scaled_dot_product_attention(
        queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1), visible.flatten(0, 1)[:, None]
    )  # (B N, H, size, V)
    o = o.unflatten(0, (q.shape[0], -1)).transpose(1, 2).flatten(2, 3)  # type: ignore[no-untyped-call]
    found: Tensor = o[:, :, :frames]
    return found


def _flex(
    q: Float[Tensor, "B H L K"],
    k: Float[Tensor, "B H L K"],
    v: Float[Tensor, "B H L V"],
    mask: Bool[Tensor, "B L"] | None,
    *,
    before: int,
    after: int,
) -> Float[Tensor, "B H L V"]:
    # in the past alone, no real frame sees the padded ones behind it
    hidden = None
    if mask is not None and after > 0:
        hidden = lambda score, b, h, i, j: torch.where(mask[b, j], score, float("-inf"))  # noqa: ARG005, E731
    span = flex.blocks(q.shape[2], q.device, before=before, after=after)
    return flex.attention()(q, k, v, score_mod=hidden, block_mask=span, kernel_options=flex.OPTIONS)


SlidingWindowAttention.implementations = {
    "reference": Implementation(),
    "blocks": Implementation(operator=lambda: _in_blocks, run=_run),
    "flex": Implementation(operator=lambda: _flex, run=_run, unavailable=flex.unavailable, default=True),
}
