"""Running mean: each frame gets the mean of the values so far."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mixers.base import Implementation, Mixer, MixerConfig


def _run_cumsum(
    mixer: "RunningMean", x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None
) -> Float[Tensor, "B L D"]:
    real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
    v = mixer.v_proj(x) * real[..., None]
    count = real.cumsum(1).clamp(min=1)[..., None]  # (B, L, 1)
    mean = v.cumsum(1, dtype=torch.promote_types(v.dtype, torch.float32)) / count
    y: Tensor = mixer.o_proj(mean.to(v.dtype))
    return y * real[..., None]


class RunningMean(Mixer):
    """The mean of the past, with a projection before and after it."""

    arxiv = "0000.00000"
    causal = True
    presets = {"matched": MixerConfig(), "released": MixerConfig()}
    implementations = {"reference": Implementation(), "cumsum": Implementation(run=_run_cumsum, default=True)}

    def __init__(self, config: MixerConfig, *, implementation: str = "reference") -> None:
        super().__init__(config, implementation=implementation)
        self.v_proj = nn.Linear(config.width, config.width, bias=False)
        self.o_proj = nn.Linear(config.width, config.width, bias=False)

    def equations(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        v = self.v_proj(x)
        means = [v[:, : t + 1].mean(1) for t in range(x.shape[1])]
        y: Tensor = self.o_proj(torch.stack(means, dim=1))
        return y

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        return 2 * batch * frames * self.width  # one sum and one division for each element
