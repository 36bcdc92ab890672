"""Chooses what a sweep measures: settings, lengths, mixers and implementations."""

import itertools
from collections.abc import Sequence
from typing import TypeVar

import mixers
from bench.efficiency.measurement.execution import EXECUTIONS, PASSES
from bench.efficiency.settings import RELEASED_TEXT_TOKENS, WIDTH, Contestant, Setting
from bench.speech import check_seconds, frames_of, samples_of
from mixers import stack
from mixers.base import Mixer, MixerConfig
from mixers.support.errors import UserError, unknown_name
from mixers.support.precision import DTYPES

GPU_SECONDS = (10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0)  # Figure 2 of the paper
CPU_SECONDS = (1.0, 2.0, 3.0, 5.0)  # take plain PyTorch about two minutes on two cores

MOST_FRAMES = 10_000_000  # of a call, 56 hours: the square of more gives more operations than 64 bits count

# Every mixer's heads divide by 32. The widest encoder of speech, XLS-R 2B, has 1,920, and 64 bits count no call of
# `MOST_FRAMES` that is much wider.
WIDTH_STEP, MOST_WIDTH = 32, 2048

Value = TypeVar("Value")


def choose_settings(
    *,
    device_type: str,
    presets: Sequence[str] = ("matched",),
    precisions: Sequence[str] | None = None,
    executions: Sequence[str] = ("eager",),
    passes: Sequence[str] = ("inference",),
    batches: Sequence[int] = (1,),
    text_tokens: int | None = None,
    cold_cache: bool = False,
    directions: Sequence[str] | None = None,
    widths: Sequence[int] = (WIDTH,),
    heads: Sequence[int | None] = (None,),
) -> tuple[Setting, ...]:
    """Return every combination of the values given for each axis.

    Args:
        device_type: ``cuda`` or ``cpu``.
        presets: Of `mixers.stack.PRESETS`.
        precisions: By default that of `default_precision` for each preset.
        executions: Of `EXECUTIONS`; ``graph`` needs a GPU.
        passes: Of `PASSES`.
        batches: Whole numbers from 1.
        text_tokens: By default ``RELEASED_TEXT_TOKENS`` in ``released``, otherwise none.
        cold_cache: Whether the L2 cache is overwritten before each call, which needs a GPU.
        directions: Of `mixers.stack.DIRECTIONS`; by default that of `default_direction` for each preset.
        widths: D, multiples of ``WIDTH_STEP`` up to ``MOST_WIDTH``.
        heads: Numbers of heads, which divide every width; None for those of the preset.

    Raises:
        UserError: A value is unknown, given twice, or not for this device.
    """
    if cold_cache and device_type != "cuda":
        raise UserError("--cold-cache is for the L2 cache of a GPU", hint="Remove it on a CPU.")
    if text_tokens is not None and text_tokens < 0:
        raise UserError(f"--text-tokens {text_tokens} is less than none", hint="Give a whole number from 0.")
    if min(batches) < 1:
        raise batch_error(",".join(map(str, batches)))
    check_sizes(widths=widths, heads=heads)
    settings = []
    for preset in _checked("preset", presets, stack.PRESETS):
        chosen = precisions or (default_precision(preset, device_type=device_type),)
        for width, number, direction, precision, execution, pass_, batch in itertools.product(
            widths,
            heads,
            _checked("direction", directions or (default_direction(preset),), stack.DIRECTIONS),
            _checked("precision", chosen, tuple(DTYPES)),
            _checked("execution", executions, EXECUTIONS),
            _checked("pass", passes, PASSES),
            without_repetition("batch", batches),
        ):
            _check_device(precision, execution, device_type=device_type)
            appended = RELEASED_TEXT_TOKENS if preset == "released" else 0
            settings.append(
                Setting(
                    preset=preset,
                    precision=precision,
                    execution=execution,
                    pass_=pass_,
                    batch=batch,
                    text_tokens=appended if text_tokens is None else text_tokens,
                    cache="cold" if cold_cache else "warm",
                    direction=direction,
                    width=width,
                    heads=number,
                )
            )
    return tuple(settings)


def check_sizes(*, widths: Sequence[int], heads: Sequence[int | None]) -> None:
    """Check the sizes of mixers.

    Args:
        widths: D, multiples of ``WIDTH_STEP`` up to ``MOST_WIDTH``.
        heads: Numbers of heads, which divide every width; None for those of the preset.

    Raises:
        UserError: A size does not fit, or is given twice.
    """
    if not all(0 < width <= MOST_WIDTH and width % WIDTH_STEP == 0 for width in widths):
        raise width_error(",".join(map(str, widths)))
    for each, width in itertools.product(heads, widths):
        if each is not None and (each < 1 or width % each):
            raise heads_error(str(each))
    without_repetition("width", widths)
    without_repetition("heads", heads)


def default_precision(preset: str, *, device_type: str) -> str:
    """Return the precision of a preset: on a GPU the usual one, or the paper's for ``released``; on a CPU float32."""
    if device_type != "cuda":
        return "float32"
    return "native" if preset == "released" else "bfloat16"


def default_direction(preset: str) -> str:
    """Return the direction of a preset: in a stack every frame sees the whole clip, in a layer it is the paper's."""
    return "alternating" if stack.is_stack(preset) else "paper"


def batch_error(text: str) -> UserError:
    """Return the error for a value of --batch that is no list of whole numbers from 1."""
    return UserError(f"--batch {text} is not a number of sequences", hint="Give whole numbers from 1: --batch 1,8")


def width_error(text: str) -> UserError:
    """Return the error for a value of --width that is no list of widths."""
    hint = f"Give multiples of {WIDTH_STEP} up to {MOST_WIDTH}, such as an encoder's: --width 512,1024"
    return UserError(f"--width {text} is not a width of the mixers", hint=hint)


def heads_error(text: str) -> UserError:
    """Return the error for a value of --heads that is no list of numbers of heads."""
    return UserError(f"--heads {text} is no number of heads that divides the width", hint="For instance --heads 4,8")


def _checked(axis: str, values: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    for value in values:
        if value not in known:
            raise unknown_name(axis, value, known)
    return without_repetition(axis, values)


def without_repetition(axis: str, values: Sequence[Value]) -> Sequence[Value]:
    """Return the values of an option.

    Raises:
        UserError: One is given twice.
    """
    if len(set(values)) < len(values):
        raise UserError(f"--{axis} {','.join(map(str, values))}: a value is given twice", hint="Give each value once.")
    return values


def check_precision(precision: str, *, device_type: str) -> None:
    """Check that a device can compute in a precision.

    Raises:
        UserError: It cannot.
    """
    if precision == "tf32" and device_type != "cuda":
        raise UserError("--precision tf32 needs a GPU: a CPU has no TF32 products", hint="Use float32 or bfloat16.")


def _check_device(precision: str, execution: str, *, device_type: str) -> None:
    check_precision(precision, device_type=device_type)
    if execution == "graph" and device_type != "cuda":
        raise UserError("--execution graph needs a GPU: it replays CUDA graphs", hint="Use eager or compile.")


def choose_seconds(
    lengths: Sequence[float] | None, max_seconds: float | None, *, device_type: str
) -> tuple[float, ...]:
    """Return the lengths to measure: those given, or the default ones up to a maximum.

    Args:
        lengths: Seconds.
        max_seconds: The longest length; it becomes the last one.
        device_type: ``cuda`` or ``cpu``; each has its own default lengths.

    Raises:
        UserError: A length is not finite, below one frame or out of order, or both arguments are given.
    """
    if lengths is not None and max_seconds is not None:
        raise UserError("--lengths and --max-seconds exclude each other", hint="--lengths already ends at a maximum.")
    if lengths is not None:
        check_seconds(lengths)
        return tuple(lengths)
    if max_seconds is None:
        return GPU_SECONDS if device_type == "cuda" else CPU_SECONDS
    check_seconds([max_seconds])
    grid = GPU_SECONDS if device_type == "cuda" else (*CPU_SECONDS, *GPU_SECONDS)
    return (*(length for length in grid if length < max_seconds), max_seconds)


def check_frames(seconds: Sequence[float], settings: Sequence[Setting]) -> None:
    """Refuse a call whose arithmetic no record could hold. Memory and time end far below.

    Args:
        seconds: Lengths of audio, rising.
        settings: Those of the sweep.

    Raises:
        UserError: The longest call has too many frames.
    """
    audio = frames_of(samples_of(seconds[-1]))
    most = max(setting.batch * (audio + setting.text_tokens) for setting in settings)
    if most > MOST_FRAMES:
        raise UserError(
            f"a call of {most:,} frames is more than {MOST_FRAMES:,}",
            hint="Give shorter --lengths, a smaller --batch or fewer --text-tokens. A second has 50 frames.",
        )


def choose_contestants(
    names: Sequence[str], *, settings: Sequence[Setting], device_type: str
) -> tuple[Contestant, ...]:
    """Return the contestants of the names: ``sa/sdpa`` is one implementation, ``sa`` all that are measured by default.

    Args:
        names: As on the command line, groups of mixers and hybrids too; none for every mixer that is measured by
            default.
        settings: Each mixer is measured in each of them.
        device_type: ``cuda`` or ``cpu``. Where a name has no implementation, `measured` chooses.

    Raises:
        UserError: There is no such mixer, group or implementation, a library that a mixer needs is missing, a preset
            has too few blocks for a hybrid, or a mixer that is named cannot be causal. One of a group is unavailable
            then.
    """
    chosen: dict[Contestant, None] = {}
    for setting, name in itertools.product(settings, mixers.expand(names) or _by_default()):
        mixer_name, slash, implementation = name.partition("/")
        mixer = mixers.require(mixer_name)
        if slash and implementation not in mixer.implementations:
            raise unknown_name(f"implementation of {mixer_name}", implementation, mixer.implementations)
        if name in names and (reason := cannot_be(mixer, setting.direction)):
            raise UserError(reason, hint="Choose another direction.")
        sizes = stack.sizes(mixer, setting.preset, width=setting.width, heads=setting.heads)
        by_default = measured(mixer, sizes, device_type=device_type, precision=setting.precision)
        for each in (implementation,) if implementation else by_default:
            chosen[Contestant(mixer=mixer_name, implementation=each, setting=setting)] = None
    return tuple(chosen)


def _by_default() -> list[str]:
    return [name for name in mixers.available() if mixers.load(name).by_default]


def cannot_be(mixer: type[Mixer], direction: str) -> str:
    """Return why a mixer cannot be measured in a direction; empty if it can."""
    can_be_causal = mixer.causal or mixer.can_be_causal
    hidden = stack.view(mixer, direction) == "past"
    return f"{mixer.name()} cannot be causal: its frames see the whole clip" if hidden and not can_be_causal else ""


def measured(mixer: type[Mixer], sizes: MixerConfig, *, device_type: str, precision: str) -> tuple[str, ...]:
    """Return the implementations that are measured when only the mixer is named, at these sizes.

    On a GPU they are the mixer's defaults. On a CPU they are those that run there, otherwise the fastest that does.
    """
    defaults = mixer.defaults(sizes)
    if device_type == "cuda":
        return defaults
    runnable = [
        name
        for name in mixer.implementations
        if not mixer.unavailable(name, sizes, device_type=device_type, precision=precision)
    ]
    return tuple(name for name in runnable if name in defaults) or tuple(runnable[-1:])
