"""The contract that every mixer keeps.

Letters: B batch, L frames, D model width, H heads, K key width and V value width of a head.

A mixer states its equations once, for a sequence without padding (`Mixer.equations`). They are the implementation
`reference`, and all others are tested against it. Where a library computes the mixer, the library's own layer holds the
parameters. `reference` reads the same parameters under the same names. So the two can be compared, and a checkpoint of
one loads into the other.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mixers.support.errors import UserError, unknown_name
from mixers.support.padding import on_real_frames
from mixers.support.reversal import average, mix_both_ways

View = Literal["past", "clip"]  # what a frame sees: itself and the past, or the whole clip

_PRESETS = ("matched", "released")  # for which every mixer states its sizes

# What lists and records show of a mixer: the type of each attribute, and of each method's answer, with a word for it.
_ATTRIBUTES = {
    "arxiv": (str, "text"),
    "causal": (bool, "True or False"),
    "can_be_causal": (bool, "True or False"),
    "by_default": (bool, "True or False"),
    "groups": (tuple, "a tuple of names"),
}
_ANSWERS = {
    "state_numbers": (int | None, "a whole number or None"),
    "reach_at": (str, "text"),
}


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
    """Anything from (B, L, D) to (B, L, D) that can be measured: a bare mixer, or a stack of blocks around one.

    Attributes:
        width: D.
    """

    width: int

    @property
    def passes(self) -> int:
        """How often it mixes its frames: twice if it does so in both directions of time, otherwise once."""
        return 1

    @abstractmethod
    def forward(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B L D"]:
        """Mix the frames of each sequence.

        Args:
            x: Features, (B, L, D).
            mask: True on real frames, (B, L), which come before the padded ones. On its real frames, a padded sequence
                gives what they give alone. On the padded ones it gives zeros.
        """

    @abstractmethod
    def mixing_flops(self, *, batch: int, frames: int) -> int:
        """Return the floating-point operations between frames in one pass, without those of the projections."""

    def flops(self, *, batch: int, frames: int) -> int:
        """Return the floating-point operations of one forward pass: a multiply-add counts two.

        They are those of linear layers and convolutions, and of the mixing.
        """
        layers = (module for module in self.modules() if isinstance(module, nn.Linear | nn.Conv1d))
        matrices = sum(layer.weight.numel() for layer in layers)
        return 2 * batch * frames * matrices + self.passes * self.mixing_flops(batch=batch, frames=frames)

    def minimum_bytes(self, *, batch: int, frames: int) -> int:
        """Return the fewest bytes one forward pass must move: input and weights read, output written, once each."""
        element_size = next(self.parameters()).element_size()
        return (2 * batch * frames * self.width + self.parameter_count()) * element_size

    def parameter_count(self) -> int:
        """Return the exact number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


def _compute_equations(
    mixer: "Mixer", x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None
) -> Float[Tensor, "B L D"]:
    """Compute the equations in one pass."""
    return on_real_frames(mixer.equations, x, mask, causal=mixer.causal or mixer.sees == "past")


def with_recurrence(recurrence: Callable[..., Tensor]) -> Callable[[Any, Tensor, Tensor | None], Tensor]:
    """Return the run of a causal mixer whose `equations` take another form of their recurrence as ``recurrence``."""
    return lambda mixer, x, mask: on_real_frames(partial(mixer.equations, recurrence=recurrence), x, mask, causal=True)


def _run_both_ways(
    run: Callable[[Any, Tensor, Tensor | None], Tensor],
    mixer: "Mixer",
    x: Float[Tensor, "B L D"],
    mask: Bool[Tensor, "B L"] | None,
) -> Float[Tensor, "B L D"]:
    return average(*mix_both_ways(lambda x: run(mixer, x, mask), [x], mask))


def _always_available(_config: MixerConfig, _device_type: str) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """One way to compute a mixer.

    Attributes:
        build: Makes the layer that holds the parameters, from the mixer's sizes. None if the mixer makes its parameters
            itself, in its constructor.
        operator: Loads a function that `run` calls as ``mixer.operator``. It is called when the mixer is built. None if
            there is no such function.
        run: Computes the mixer, from the mixer, the features (B, L, D) and the mask (B, L) or None. By default
            it computes the equations.
        run_both_ways: Computes, from the same, the average of a run forward in time and one backward. By default `run`
            is called twice. A function of its own can share the projections (`mix_both_ways`).
        unavailable: Returns why it cannot run, for the sizes and ``cpu`` or ``cuda``; empty if it can.
        precisions: Those of `mixers.support.precision.DTYPES` that it computes in; empty for all.
        default: Whether a sweep on a GPU measures it when only the mixer is named; it may depend on the sizes.
    """

    build: Callable[[Any], nn.Module] | None = None
    operator: Callable[[], Callable[..., Any]] | None = None
    run: Callable[[Any, Tensor, Tensor | None], Tensor] = _compute_equations
    run_both_ways: Callable[[Any, Tensor, Tensor | None], Tensor] | None = None
    unavailable: Callable[[Any, str], str] = _always_available
    precisions: tuple[str, ...] = ()
    default: bool | Callable[[Any], bool] = False

    def is_default(self, config: MixerConfig) -> bool:
        """Tell whether it is a default at these sizes."""
        return self.default if isinstance(self.default, bool) else self.default(config)


class Mixer(SequenceModel):
    """A mechanism, with one or several implementations of it.

    Attributes:
        arxiv: Identifier of the paper that introduced it; mixers are listed in this order.
        causal: Whether the mechanism itself lets a frame see only itself and the frames before it.
        can_be_causal: Whether a mechanism that is not causal computes `equations` and all implementations with the
            future hidden where `sees` is ``past``, as attention does with a mask.
        implementations: The ways to compute it by name, ``reference`` first, the fastest last.
        by_default: Whether a sweep measures it when no mixer is named.
        groups: Of `mixers.GROUPS`, those that it is in besides ``all``.
        reach: How far back a frame sees in one pass, in a few words.
        blocks: How many blocks a stack of it needs; more than one only in a hybrid.
        presets: Its sizes in the presets ``matched`` and ``released``.
        registered_as: The name that it was loaded by, which the registry sets.
        config: Its sizes.
        implementation: The name of the implementation that it was built for.
        layer: The parameters, under the same names in every implementation; None if the mixer itself holds them.
        operator: What the implementation's `operator` loaded; None if it has none.
        sees: What each frame sees: ``past`` or ``clip``. A causal mechanism sees the whole clip by a run forward in
            time and one backward, with the same weights and averaged. A new mixer sees what its mechanism does.
    """

    arxiv: ClassVar[str]
    causal: ClassVar[bool]
    can_be_causal: ClassVar[bool] = False
    by_default: ClassVar[bool] = True
    groups: ClassVar[tuple[str, ...]] = ()
    reach: ClassVar[str] = "not stated"
    blocks: ClassVar[int] = 1
    implementations: ClassVar[Mapping[str, Implementation]]
    presets: ClassVar[Mapping[str, MixerConfig]]
    registered_as: ClassVar[str] = ""

    config: MixerConfig
    implementation: str
    layer: nn.Module | None
    operator: Callable[..., Any] | None
    sees: View

    def __init__(self, config: MixerConfig, *, implementation: str = "reference") -> None:
        """Build the layer with fresh random weights.

        Raises:
            UserError: The mixer has no such implementation.
        """
        super().__init__()
        if implementation not in self.implementations:
            raise unknown_name(f"implementation of {self.name()}", implementation, self.implementations)
        self.config = config
        self.width = config.width
        self.implementation = implementation
        chosen = self.implementations[implementation]
        self.layer = chosen.build(config) if chosen.build else None
        self.operator = chosen.operator() if chosen.operator else None
        self.sees = "past" if self.causal else "clip"
        self._run = chosen.run
        self._run_both_ways = chosen.run_both_ways or partial(_run_both_ways, chosen.run)

    def forward(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B L D"]:
        return (self._run if self.passes == 1 else self._run_both_ways)(self, x, mask)

    def see(self, view: View) -> None:
        """Set what each frame sees.

        Raises:
            UserError: The mechanism needs the whole clip.
        """
        if view == "past" and not (self.causal or self.can_be_causal):
            raise UserError(
                f"{self.name()} cannot be causal: its frames see the whole clip", hint="Choose another direction."
            )
        self.sees = view

    @property
    def passes(self) -> int:
        return 2 if self.causal and self.sees == "clip" else 1

    @classmethod
    def name(cls) -> str:
        """Return the name of the mixer: that of its file, or of a plug-in's entry point."""
        return vars(cls).get("registered_as") or cls.__module__.rpartition(".")[2]

    @classmethod
    def missing(cls) -> list[str]:
        """Return what the class lacks to be a mixer: attributes, methods, presets, implementations, or answers."""
        attributes = [
            name if not hasattr(cls, name) else f"{name} as {kind}"
            for name, (type_, kind) in _ATTRIBUTES.items()
            if not isinstance(getattr(cls, name, None), type_)
        ]
        methods = sorted(cls.__abstractmethods__)
        return [*attributes, *methods, *_lacking_presets(cls), *_lacking_implementations(cls)] or _lacking_answers(cls)

    @classmethod
    def sized(cls, preset: str, *, width: int | None = None, heads: int | None = None) -> MixerConfig:
        """Return its sizes in one of its presets, at another width or number of heads if one is given.

        The number of heads does not depend on the width. So their width does, unless the preset states it.
        """
        changes = {"width": width, "num_heads": heads}
        given = {name: value for name, value in changes.items() if value is not None}
        return dataclasses.replace(cls.presets[preset], **given)

    @classmethod
    def layers(cls, config: MixerConfig, *, implementation: str, depth: int) -> "list[Mixer]":
        """Return new layers of these sizes for the blocks of a stack, the first block's first.

        Raises:
            UserError: The mixer has no such implementation.
        """
        return [cls(config, implementation=implementation) for _ in range(depth)]

    @classmethod
    def reach_at(cls, config: Any) -> str:  # noqa: ARG003
        """Return `reach` at these sizes; by default it does not depend on them."""
        return cls.reach

    @classmethod
    def defaults(cls, config: MixerConfig) -> tuple[str, ...]:
        """Return the implementations that a sweep on a GPU measures when only the mixer is named.

        They are those that say so at these sizes; otherwise the last one, which is the fastest.

        Raises:
            UserError: The function of an implementation that says so fails.
        """
        try:
            chosen = tuple(name for name, each in cls.implementations.items() if each.is_default(config))
        except Exception as error:  # somebody's function may raise anything
            message = f"{cls.name()} cannot tell its default implementation ({type(error).__name__}: {error})"
            hint = (
                f"Mend `default` of its implementations, or name one: {cls.name()}/{next(iter(cls.implementations))}."
            )
            raise UserError(message, hint=hint) from error
        return chosen or tuple(cls.implementations)[-1:]

    @classmethod
    def unavailable(
        cls, implementation: str, config: MixerConfig, *, device_type: str, precision: str | None = None
    ) -> str:
        """Return why an implementation cannot run on ``cpu`` or ``cuda``, at all or in a precision; empty if it can."""
        chosen = cls.implementations[implementation]
        known = not precision or not chosen.precisions or precision in chosen.precisions
        return chosen.unavailable(config, device_type) or (
            "" if known else f"computes in {' and '.join(chosen.precisions)}, not in {precision}"
        )

    @classmethod
    def state_numbers(cls, config: Any) -> int | None:  # noqa: ARG003
        """Return how many numbers a layer keeps of what it has seen; by default None: they grow with the length."""
        return None

    def kernel(self, x: Float[Tensor, "B L D"]) -> str:  # noqa: ARG002
        """Return which kernel a library chooses by itself for these features; by default empty: it has no choice."""
        return ""

    @abstractmethod
    def equations(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """Compute the mechanism as its paper writes it, in plain PyTorch, on sequences without padding."""

    def reference(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "B L D"]:
        """Compute the equations, whatever the implementation: in a padded batch on the real frames of each sequence."""
        if self.passes == 1:
            return _compute_equations(self, x, mask)
        return _run_both_ways(_compute_equations, self, x, mask)


def _lacking_presets(mixer: type[Mixer]) -> list[str]:
    presets = getattr(mixer, "presets", None)
    if not isinstance(presets, Mapping):
        return ["presets"]
    absent = [f"the preset {name}" for name in _PRESETS if name not in presets]
    wrong = [name for name, config in presets.items() if not isinstance(config, MixerConfig)]
    return [*absent, *(f"a MixerConfig as the preset {name}" for name in wrong)]


def _lacking_implementations(mixer: type[Mixer]) -> list[str]:
    ways = getattr(mixer, "implementations", None)
    if ways is None:
        return ["implementations"]
    if not isinstance(ways, Mapping) or next(iter(ways), "") != "reference":
        return ["reference as its first implementation"]
    return [f"an Implementation named {name}" for name, each in ways.items() if not isinstance(each, Implementation)]


def _lacking_answers(mixer: type[Mixer]) -> list[str]:
    """Ask whatever lists and records show, for the sizes of each preset."""
    for preset, config in mixer.presets.items():
        asked = ""
        try:
            for asked, (type_, kind) in _ANSWERS.items():
                if not isinstance(getattr(mixer, asked)(config), type_):
                    return [f"{asked} for the preset {preset} as {kind}"]
            for implementation in mixer.implementations:
                asked = f"unavailable of {implementation}"
                mixer.unavailable(implementation, config, device_type="cpu")
        except Exception as error:  # somebody's method may raise anything
            return [f"{asked} for the preset {preset} ({type(error).__name__}: {error})"]
    return []


def split_heads(x: Float[Tensor, "B L HW"], num_heads: int) -> Float[Tensor, "B L H W"]:
    """Split the last axis into heads, in at least float32, which states and sums need."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x.reshape(*x.shape[:-1], num_heads, -1)


def in_heads(x: Float[Tensor, "B L HW"], num_heads: int) -> Float[Tensor, "B L H W"]:
    """Split the last axis into heads, in its own precision."""
    return x.unflatten(-1, (num_heads, -1))  # type: ignore[no-untyped-call, no-any-return]


def rms_norm(x: Float[Tensor, "*B W"], weight: Float[Tensor, " W"], *, eps: float) -> Float[Tensor, "*B W"]:
    """Divide by the root mean square over the last axis, then scale each channel."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight
