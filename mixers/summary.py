"""SummaryMixing: each frame is combined with one mean over all frames, in linear time.

Source: Parcollet et al. 2023, "SummaryMixing", arXiv 2307.07421, equation 1: h_t = c(f(x_t), s), where s is the mean of
s(x_t) over time. The local function f, the summary function s and the combiner c are linear layers with a GELU. The
summary has no heads. Where a frame sees the past alone, the mean is that of the frames so far.

`eager` multiplies the summary of a clip by its part of the combiner once, not for every frame.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixers.base import Implementation, Mixer, MixerConfig, View


class _Parameters(nn.Module):
    """The three functions: local, summary and combiner."""

    def __init__(self, config: MixerConfig) -> None:
        super().__init__()
        self.local = nn.Linear(config.width, config.width)
        self.summary = nn.Linear(config.width, config.width)
        self.combiner = nn.Linear(2 * config.width, config.width)


def _mean(s: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None, view: View) -> Float[Tensor, "B L_or_1 D"]:
    """Return the mean over time of the real frames, of all or of those so far, summed in at least float32."""
    wide = torch.promote_types(s.dtype, torch.float32)
    real = torch.ones(s.shape[:2], dtype=torch.bool, device=s.device) if mask is None else mask
    weighted, count = (s if mask is None else s * mask[..., None]), real[..., None].to(wide)
    if view == "past":
        # PyTorch sums along the last dimension with many threads, and along others with one for each column
        sums = weighted.mT.contiguous().cumsum(-1, dtype=wide).mT  # (B, L, D)
        mean = sums / count.cumsum(1).clamp(min=1)
        # In bfloat16 this copies to contiguous frames, which the product that follows reads faster.
        return mean.to(s.dtype, memory_format=torch.contiguous_format)
    return (weighted.sum(1, keepdim=True, dtype=wide) / count.sum(1, keepdim=True).clamp(min=1)).to(s.dtype)


def _run(mixer: "SummaryMixing", x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None) -> Float[Tensor, "B L D"]:
    layer = mixer.layer
    of_local, of_summary = layer.combiner.weight.chunk(2, dim=1)  # (D, D) each
    mean = _mean(F.gelu(layer.summary(x)), mask, mixer.sees)
    y = F.gelu(F.linear(F.gelu(layer.local(x)), of_local, layer.combiner.bias) + F.linear(mean, of_summary))
    return y if mask is None else y * mask[..., None]


class SummaryMixing(Mixer):
    """SummaryMixing."""

    arxiv = "2307.07421"
    causal = False
    can_be_causal = True
    by_default = False
    groups = ("linear",)
    reach = "the whole clip, as a mean"
    presets = {"matched": MixerConfig(), "released": MixerConfig()}
    implementations = {
        "reference": Implementation(build=_Parameters),
        "eager": Implementation(build=_Parameters, run=_run, default=True),
    }
    layer: _Parameters

    @classmethod
    def state_numbers(cls, config: MixerConfig) -> int:
        return config.width  # the sum of what was seen

    def equations(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        local, summary = F.gelu(self.layer.local(x)), F.gelu(self.layer.summary(x))
        if self.sees == "past":
            means = [summary[:, : t + 1].mean(1) for t in range(x.shape[1])]
            mean = torch.stack(means, dim=1)
        else:
            mean = summary.mean(1, keepdim=True).expand_as(local)
        return F.gelu(self.layer.combiner(torch.cat((local, mean), dim=-1)))

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Those of the sum over time."""
        return batch * frames * self.width
