"""Builds the model of a preset: a stack of blocks of equal size, or a bare layer."""

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

import mixers
from mixers.base import Mixer, MixerConfig, SequenceModel, View
from mixers.stack.blocks import AnyBlock, Block, ConformerBlock, parameters_beside
from mixers.support.errors import UserError, unknown_name
from mixers.support.reversal import reversal


@dataclass(frozen=True, kw_only=True)
class _Model:
    """The model of a preset.

    Attributes:
        sizes: The mixers' own preset.
        block: What stands around each mixer; None for a bare mixer.
        parameters: The size of a stack at a width of 1,024.
    """

    sizes: str
    block: AnyBlock | None = None
    parameters: int = 0


_MODELS = {
    "matched": _Model(sizes="matched", block=Block, parameters=20_000_000),
    "conformer": _Model(sizes="matched", block=ConformerBlock, parameters=30_000_000),  # 20 M leave RetNet no room
    "layer": _Model(sizes="matched"),
    "released": _Model(sizes="released"),
}
PRESETS = tuple(_MODELS)

# Which frames a frame may see. A mechanism that is not causal sees the whole clip in all but `causal`. The others do as
# they are in `causal` and `paper`. In `alternating` the causal blocks of a stack take turns forward and backward in
# time; a bare mixer is its first block. In `both` each block runs its mixer forward and backward and averages.
DIRECTIONS = ("causal", "alternating", "both", "paper")

DEPTH = 2
_WIDTH_MULTIPLE = 32  # for the width of the feed-forward, so that its matrix products tile well


class MixerStack(SequenceModel):
    """A stack of blocks, each around a mixer. The feed-forwards' width brings it to its target size.

    Attributes:
        alternating: Whether the blocks take turns forward and backward in time. The frames are reversed between them,
            not around each mixer, since what is around it takes frames in any order.
        feed_forward_width: The inner width of each feed-forward.
    """

    def __init__(
        self,
        layers: list[Mixer],
        *,
        block: AnyBlock = Block,
        target_parameters: int,
        alternating: bool = False,
        causal: bool = False,
    ) -> None:
        """Build a block around each mixer.

        Args:
            layers: The mixers.
            block: What stands around each.
            target_parameters: Of the whole stack.
            alternating: Whether the blocks take turns forward and backward in time.
            causal: Whether no frame may see a later one, in what is not the mixers' either.
        """
        super().__init__()
        self.width = layers[0].width
        self.alternating = alternating
        self.feed_forward_width = feed_forward_width(layers, block=block, target_parameters=target_parameters)
        self.blocks = nn.ModuleList(block(layer, self.feed_forward_width, causal=causal) for layer in layers)

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


def feed_forward_width(layers: list[Mixer], *, block: AnyBlock = Block, target_parameters: int) -> int:
    """Return the inner width of the feed-forwards that brings a stack nearest to its target size, a multiple of 32."""
    without = sum(layer.parameter_count() + parameters_beside(block, layer) for layer in layers)
    per_multiple = len(layers) * block.feed_forwards * 3 * layers[0].width * _WIDTH_MULTIPLE
    return _WIDTH_MULTIPLE * max(1, round((target_parameters - without) / per_multiple))


def is_stack(preset: str) -> bool:
    """Tell whether the model of a preset is a stack of blocks, and no bare mixer."""
    return _MODELS[preset].block is not None


def target_parameters(preset: str) -> int:
    """Return the size that a stack has at a width of 1,024."""
    return _MODELS[preset].parameters


def depth(preset: str) -> int:
    """Return how many mixers the model of a preset has."""
    return DEPTH if is_stack(preset) else 1


def sizes(mixer: type[Mixer], preset: str, *, width: int | None = None, heads: int | None = None) -> MixerConfig:
    """Return the sizes of a mixer in one of `PRESETS`.

    Args:
        mixer: The mixer.
        preset: One of `PRESETS`.
        width: D; None for that of the preset.
        heads: H; None for that of the preset.

    Raises:
        UserError: The preset has too few blocks for a hybrid.
    """
    if mixer.blocks > depth(preset):
        hint = "Use a stack, --preset matched or conformer, or name one of its mixers."
        raise UserError(f"{mixer.name()} has a block for each of its mixers, and {preset} is one layer", hint=hint)
    return mixer.sized(_MODELS[preset].sizes, width=width, heads=heads)


def view(mixer: type[Mixer], direction: str) -> View:
    """Return what a mixer's frames see in one of `DIRECTIONS`."""
    return "past" if direction == "causal" or (mixer.causal and direction != "both") else "clip"


def is_causal(mixer: type[Mixer], direction: str, *, preset: str) -> bool:
    """Tell whether no frame of a model sees a later one: in ``alternating`` only if it is a single layer."""
    return view(mixer, direction) == "past" and not (direction == "alternating" and is_stack(preset))


def build(
    name: str,
    *,
    implementation: str,
    preset: str,
    width: int | None = None,
    heads: int | None = None,
    direction: str = "paper",
    seed: int = 0,
) -> SequenceModel:
    """Build the model of a preset, on the default device, with seeded weights, ready for inference.

    Args:
        name: A mixer.
        implementation: One of its implementations.
        preset: One of `PRESETS`, as in `assemble`.
        width: D; None for that of the preset.
        heads: H; None for that of the preset.
        direction: One of `DIRECTIONS`. It changes no weight.
        seed: Seed of the weights. The global random state does not change.

    Raises:
        UserError: There is no such mixer, implementation, preset or direction, or the mixer cannot be causal.
    """
    with _fork():
        torch.manual_seed(seed)
        return assemble(
            name, implementation=implementation, preset=preset, width=width, heads=heads, direction=direction
        ).eval()


def assemble(
    name: str,
    *,
    implementation: str,
    preset: str,
    width: int | None = None,
    heads: int | None = None,
    direction: str = "paper",
) -> SequenceModel:
    """Build the model of a preset, with weights drawn from the global random state.

    Args:
        name: A mixer, or two for a hybrid: ``kda+sa``.
        implementation: One of its implementations; of a hybrid, one of each: ``fla+sdpa``.
        preset: ``matched``, a stack of 20 M parameters at a width of 1,024, and at other widths in proportion to their
            square; ``conformer``, likewise of 30 M, in which the mixers take the place of a Conformer's attention;
            ``layer``, one mixer of ``matched`` alone; or ``released``, the bare layer of the paper's code.
        width: D; None for that of the preset.
        heads: H; None for that of the preset.
        direction: One of `DIRECTIONS`. It changes no weight.

    Raises:
        UserError: There is no such mixer, implementation, preset or direction, the mixer cannot be causal, or a hybrid
            has no such preset.
    """
    mixer = mixers.load(name)
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    if direction not in DIRECTIONS:
        raise unknown_name("direction", direction, DIRECTIONS)
    if implementation not in mixer.implementations:
        raise unknown_name(f"implementation of {name}", implementation, mixer.implementations)
    config = sizes(mixer, preset, width=width, heads=heads)
    share = config.width / sizes(mixer, preset).width
    block = _MODELS[preset].block
    layers = mixer.layers(config, implementation=implementation, depth=depth(preset))
    for layer in layers:
        layer.see(view(type(layer), direction))
    if block is None:
        return layers[0]
    return MixerStack(
        layers,
        block=block,
        target_parameters=round(_MODELS[preset].parameters * share**2),
        alternating=direction == "alternating" and sum(layer.causal for layer in layers) > 1,
        causal=is_causal(mixer, direction, preset=preset),
    )


def _fork() -> contextlib.AbstractContextManager[None]:
    """Keep the random state of the CPU and of the default device. Without devices, torch would start all GPUs."""
    default = torch.get_default_device()
    return torch.random.fork_rng(devices=[default] if default.type == "cuda" else [])


def count_parameters(
    name: str, *, preset: str, width: int | None = None, heads: int | None = None, direction: str = "paper"
) -> int:
    """Return the exact number of parameters of a model, the same in every direction, without allocating it.

    Raises:
        UserError: As `assemble`.
    """
    return _without_memory(name, preset, width=width, heads=heads, direction=direction).parameter_count()


def feed_forward_width_of(name: str, *, preset: str) -> int | None:
    """Return the inner width of the feed-forwards of a mixer's stack, without allocating it; None for a bare mixer.

    Raises:
        UserError: As `assemble`.
    """
    model = _without_memory(name, preset)
    return model.feed_forward_width if isinstance(model, MixerStack) else None


def _without_memory(name: str, preset: str, **sizes: Any) -> SequenceModel:
    first = next(iter(mixers.load(name).implementations))  # the equations
    with torch.device("meta"):
        return build(name, implementation=first, preset=preset, **sizes)
