"""The models that are measured: the matched stack, in which all mixers have equal size, and the bare layers."""

import contextlib
import dataclasses

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

import mixers
from mixers.base import Mixer, MixerConfig, SequenceModel, View
from mixers.support.errors import unknown_name
from mixers.support.reversal import reversal

_SIZES_OF = {"matched": "matched", "layer": "matched", "released": "released"}  # the mixers' own presets
PRESETS = tuple(_SIZES_OF)

# Which frames a frame may see. A mechanism that is not causal sees the whole clip in all but `causal`. The others do as
# they are in `causal` and `paper`. In `alternating` the blocks of a stack take turns forward and backward in time; a
# bare mixer is its first block. In `both` each block runs its mixer forward and backward and averages.
DIRECTIONS = ("causal", "alternating", "both", "paper")

DEPTH = 2
TARGET_PARAMETERS = 20_000_000
_WIDTH_MULTIPLE = 32  # for the width of the feed-forward, so that its matrix products tile well
_DROPOUT = 0.4


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv 2002.05202): silu(x W) * (x U), projected back."""

    def __init__(self, width: int, inner_width: int) -> None:
        super().__init__()
        self.gate_and_up = nn.Linear(width, 2 * inner_width, bias=False)
        self.down = nn.Linear(inner_width, width, bias=False)

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        gate, up = self.gate_and_up(x).chunk(2, dim=-1)  # (B, L, F) each
        return self.down(F.silu(gate) * up)  # type: ignore[no-any-return]


class Block(nn.Module):
    """A pre-norm residual block: the mixer, then the feed-forward."""

    def __init__(self, mixer: Mixer, inner_width: int) -> None:
        super().__init__()
        self.mixer_norm = nn.RMSNorm(mixer.width)
        self.dropout = nn.Dropout(_DROPOUT)
        self.mixer = mixer
        self.feed_forward_norm = nn.RMSNorm(mixer.width)
        self.feed_forward = FeedForward(mixer.width, inner_width)

    def forward(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None) -> Float[Tensor, "B L D"]:
        x = x + self.mixer(self.dropout(self.mixer_norm(x)), mask)
        return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return]


class MixerStack(SequenceModel):
    """A stack of blocks with the same kind of mixer. The feed-forward's width brings it to its target size.

    Attributes:
        alternating: Whether the blocks take turns forward and backward in time. The frames are reversed between them,
            not around each mixer, since norms and feed-forwards take frames in any order.
        feed_forward_width: The inner width of each feed-forward.
    """

    def __init__(
        self, layers: list[Mixer], *, target_parameters: int = TARGET_PARAMETERS, alternating: bool = False
    ) -> None:
        super().__init__()
        self.width = layers[0].width
        self.alternating = alternating
        self.feed_forward_width = feed_forward_width(layers, target_parameters=target_parameters)
        self.blocks = nn.ModuleList(Block(layer, self.feed_forward_width) for layer in layers)

    def forward(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B L D"]:
        if mask is not None:
            x = x * mask[..., None]  # zeros stay zeros through every block
        if self.alternating:
            return self._alternate(x, mask)
        for block in self.blocks:
            x = block(x, mask)
        return x

    def _alternate(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None) -> Float[Tensor, "B L D"]:
        reverse = reversal(mask)
        for index, block in enumerate(self.blocks):
            if index > 0:
                x = reverse(x)  # rebound, so that the frames in the other order are free during the block
            x = block(x, mask)
        return reverse(x) if len(self.blocks) % 2 == 0 else x

    def mixing_flops(self, *, batch: int, frames: int) -> int:
        layers = (module for module in self.modules() if isinstance(module, Mixer))
        return sum(layer.passes * layer.mixing_flops(batch=batch, frames=frames) for layer in layers)


def feed_forward_width(layers: list[Mixer], *, target_parameters: int) -> int:
    """Return the inner width of the feed-forward that brings a stack nearest to its target size, a multiple of 32."""
    width = layers[0].width
    without = sum(layer.parameter_count() + 2 * width for layer in layers)  # a block has two norms
    per_multiple = len(layers) * 3 * width * _WIDTH_MULTIPLE
    return _WIDTH_MULTIPLE * max(1, round((target_parameters - without) / per_multiple))


def sizes(mixer: type[Mixer], preset: str, *, width: int | None = None) -> MixerConfig:
    """Return the sizes of a mixer in one of `PRESETS`, at a width D; None for that of the preset.

    The number of heads does not depend on the width. So their width does, unless the preset states it.
    """
    config = mixer.presets[_SIZES_OF[preset]]
    return config if width is None else dataclasses.replace(config, width=width)


def view(mixer: type[Mixer], direction: str) -> View:
    """Return what a mixer's frames see in one of `DIRECTIONS`."""
    return "past" if direction == "causal" or (mixer.causal and direction != "both") else "clip"


def is_causal(mixer: type[Mixer], direction: str, *, preset: str) -> bool:
    """Tell whether no frame of a model sees a later one: in ``alternating`` only if it is a single layer."""
    return view(mixer, direction) == "past" and not (direction == "alternating" and preset == "matched")


def build(
    name: str,
    *,
    implementation: str,
    preset: str,
    width: int | None = None,
    direction: str = "paper",
    seed: int = 0,
) -> SequenceModel:
    """Build the model of a preset, on the default device, with seeded weights, ready for inference.

    Args:
        name: A mixer.
        implementation: One of its implementations.
        preset: One of `PRESETS`, as in `assemble`.
        width: D; None for that of the preset.
        direction: One of `DIRECTIONS`. It changes no weight.
        seed: Seed of the weights. The global random state does not change.

    Raises:
        UserError: There is no such mixer, implementation, preset or direction, or the mixer cannot be causal.
    """
    with _fork():
        torch.manual_seed(seed)
        model = assemble(name, implementation=implementation, preset=preset, width=width, direction=direction)
        return model.eval()


def assemble(
    name: str, *, implementation: str, preset: str, width: int | None = None, direction: str = "paper"
) -> SequenceModel:
    """Build the model of a preset, with weights drawn from the global random state.

    Args:
        name: A mixer.
        implementation: One of its implementations.
        preset: ``matched``, a stack of 20 M parameters at a width of 1,024, and at other widths in proportion to their
            square; ``layer``, one mixer of that stack alone; or ``released``, the bare layer of the paper's code.
        width: D; None for that of the preset.
        direction: One of `DIRECTIONS`. It changes no weight.

    Raises:
        UserError: There is no such mixer, implementation, preset or direction, or the mixer cannot be causal.
    """
    mixer = mixers.load(name)
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    if direction not in DIRECTIONS:
        raise unknown_name("direction", direction, DIRECTIONS)
    config = sizes(mixer, preset, width=width)
    share = config.width / sizes(mixer, preset).width
    depth = DEPTH if preset == "matched" else 1
    layers = [mixer(config, implementation=implementation) for _ in range(depth)]
    for layer in layers:
        layer.see(view(mixer, direction))
    if preset != "matched":
        return layers[0]
    return MixerStack(
        layers,
        target_parameters=round(TARGET_PARAMETERS * share**2),
        alternating=mixer.causal and direction == "alternating",
    )


def _fork() -> contextlib.AbstractContextManager[None]:
    """Keep the random state of the CPU and of the default device. Without devices, torch would start all GPUs."""
    default = torch.get_default_device()
    return torch.random.fork_rng(devices=[default] if default.type == "cuda" else [])


def count_parameters(name: str, *, preset: str, direction: str = "paper") -> int:
    """Return the exact number of parameters of a model, the same in every direction, without allocating it.

    Raises:
        UserError: There is no such mixer, preset or direction, or the mixer cannot be causal.
    """
    with torch.device("meta"):
        return build(name, implementation="reference", preset=preset, direction=direction).parameter_count()


def matched_feed_forward_width(name: str) -> int:
    """Return the inner width of the feed-forward in a mixer's matched stack, without allocating it.

    Raises:
        UserError: There is no such mixer.
    """
    mixer = mixers.load(name)
    with torch.device("meta"), _fork():
        layers = [mixer(sizes(mixer, "matched")) for _ in range(DEPTH)]
    return feed_forward_width(layers, target_parameters=TARGET_PARAMETERS)
