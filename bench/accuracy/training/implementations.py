"""Chooses the implementation that a mixer is trained in, and checks choices before anything is loaded."""

from collections.abc import Sequence

import mixers
from bench.accuracy.run import Direction, Preset
from mixers import stack
from mixers.support.errors import UserError, unknown_name

_ANY_WIDTH = (256, 1024)  # a narrow and a wide encoder: what runs at any width runs at one of these


def check_mixers(
    names: Sequence[str],
    preset: Preset,
    direction: Direction,
    *,
    device: str,
    width: int | None = None,
    precision: str | None = None,
) -> None:
    """Check that mixers can be trained in a direction, without allocating a model.

    Raises:
        UserError: As `choose_implementations`, or a mixer cannot be causal.
    """
    choose_implementations(names, preset, device=device, width=width, precision=precision)
    for name in names:
        stack.count_parameters(name.partition("/")[0], preset=preset, direction=direction)


def choose_implementations(
    names: Sequence[str], preset: Preset, *, device: str, width: int | None = None, precision: str | None = None
) -> tuple[str, ...]:
    """Return each mixer with its implementation, as `choose_implementation` does.

    Raises:
        UserError: A mixer is unknown, cannot be trained here, or is named twice.
    """
    chosen = tuple(
        choose_implementation(name, preset, device=device, width=width, precision=precision) for name in names
    )
    if len({name.partition("/")[0] for name in chosen}) < len(chosen):
        hint = "Give each mixer once, in one implementation."
        raise UserError(f"one mixer is given twice: {', '.join(names)}", hint=hint)
    return chosen


def choose_implementation(
    name: str, preset: Preset, *, device: str, width: int | None = None, precision: str | None = None
) -> str:
    """Return a mixer with its implementation: the named one, or the fastest one that can be trained here.

    Args:
        name: A mixer, with or without an implementation.
        preset: The preset of the model.
        device: The device of the training.
        width: D, the width of the encoders; None for any width, before it is known.
        precision: What it is trained in; None for any.

    Raises:
        UserError: The mixer or implementation is unknown, or cannot be trained here.
    """
    mixer_name, slash, implementation = name.partition("/")
    mixer = mixers.require(mixer_name)
    configs = [stack.sizes(mixer, preset, width=each) for each in ((width,) if width else _ANY_WIDTH)]
    device_type = device.partition(":")[0]
    known = tuple(mixer.implementations)
    if slash and implementation not in known:
        raise unknown_name(f"implementation of {mixer_name}", implementation, known)
    preferred = (implementation,) if implementation else (*reversed(mixer.defaults(configs[-1])), *reversed(known))
    for each in preferred:
        reasons = [mixer.unavailable(each, config, device_type=device_type, precision=precision) for config in configs]
        if not all(reasons):
            return f"{mixer_name}/{each}"
    hint = f"Give only {mixer_name}, for an implementation that can."
    raise UserError(f"{name} cannot be trained here: {reasons[-1]}", hint=hint)
