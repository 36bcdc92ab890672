"""What a sweep measures: which mixers, in which implementation, at which lengths, in which precision."""

import itertools
from collections.abc import Sequence
from typing import TypeVar

import mixers
from bench.efficiency.measurement.execution import EXECUTIONS, PASSES
from bench.efficiency.settings import RELEASED_TEXT_TOKENS, Contestant, Setting
from bench.speech import check_seconds
from mixers import stack
from mixers.base import Mixer
from mixers.support.errors import UserError, unknown_name
from mixers.support.precision import DTYPES

GPU_SECONDS = (10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0)  # Figure 2 of the paper
CPU_SECONDS = (1.0, 2.0, 3.0, 5.0)  # what plain PyTorch on two cores gets through in about two minutes

Value = TypeVar("Value")


def choose_settings(
    *,
    device_type: str,
    presets: str = "matched",
    precisions: str | None = None,
    executions: str = "eager",
    passes: str = "inference",
    batches: str = "1",
    text_tokens: int | None = None,
    cold_cache: bool = False,
) -> tuple[Setting, ...]:
    """Return every combination of what is given for each axis, a comma between its values.

    Args:
        device_type: ``cuda`` or ``cpu``.
        presets: ``matched``, ``layer``, ``released``, or several.
        precisions: By default what `default_precision` says of each preset.
        executions: Of `EXECUTIONS`; ``graph`` is for GPUs.
        passes: Of `PASSES`.
        batches: Whole numbers from 1.
        text_tokens: By default none in ``matched`` and ``RELEASED_TEXT_TOKENS`` in ``released``.
        cold_cache: Whether the L2 cache is overwritten before each call, for GPUs.

    Raises:
        UserError: A value is unknown, given twice, or not for this device.
    """
    if cold_cache and device_type != "cuda":
        raise UserError("--cold-cache is for the L2 cache of a GPU", hint="Leave it away on a CPU.")
    if text_tokens is not None and text_tokens < 0:
        raise UserError(f"--text-tokens {text_tokens} is less than none", hint="Give a whole number from 0.")
    settings = []
    for preset in _listed("preset", presets, stack.PRESETS):
        chosen = precisions or default_precision(preset, device_type=device_type)
        for precision, execution, pass_, batch in itertools.product(
            _listed("precision", chosen, tuple(DTYPES)),
            _listed("execution", executions, EXECUTIONS),
            _listed("pass", passes, PASSES),
            _batches(batches),
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
                )
            )
    return tuple(settings)


def default_precision(preset: str, *, device_type: str) -> str:
    """Return the precision in which a preset is measured: as people run it, or as the paper did, or what a CPU can."""
    if device_type != "cuda":
        return "float32"
    return "native" if preset == "released" else "bfloat16"


def _listed(axis: str, text: str, known: Sequence[str]) -> list[str]:
    values = [value.strip() for value in text.split(",")]
    for value in values:
        if value not in known:
            raise unknown_name(axis, value, known)
    return _once(axis, values)


def _batches(text: str) -> list[int]:
    values = [value.strip() for value in text.split(",")]
    if not all(value.isdecimal() and int(value) for value in values):
        raise UserError(f"--batch {text} is no number of sequences", hint="Give whole numbers from 1: --batch 1,8")
    return _once("batch", [int(value) for value in values])


def _once(axis: str, values: list[Value]) -> list[Value]:
    if len(set(values)) < len(values):
        raise UserError(f"--{axis} {','.join(map(str, values))}: one is given twice", hint="Each is measured once.")
    return values


def _check_device(precision: str, execution: str, *, device_type: str) -> None:
    if precision == "tf32" and device_type != "cuda":
        raise UserError("--precision tf32 needs a GPU: a CPU has no such products", hint="Take float32 or bfloat16.")
    if execution == "graph" and device_type != "cuda":
        raise UserError("--execution graph needs a GPU: it replays CUDA graphs", hint="Take eager or compile.")


def choose_seconds(lengths: str | None, max_seconds: float | None, *, device_type: str) -> tuple[float, ...]:
    """Return the lengths to measure: those given, or the default ones up to a longest.

    Args:
        lengths: Seconds, with commas between them.
        max_seconds: The longest length; it becomes the last one.
        device_type: ``cuda`` or ``cpu``, of which each has its default lengths.

    Raises:
        UserError: A length is not a number, below one frame or out of order, or both arguments are given.
    """
    if lengths is not None and max_seconds is not None:
        raise UserError("--lengths and --max-seconds exclude each other", hint="--lengths already says where to end.")
    if lengths is not None:
        given = tuple(_number(text) for text in lengths.split(","))
        check_seconds(given)
        return given
    if max_seconds is None:
        return GPU_SECONDS if device_type == "cuda" else CPU_SECONDS
    check_seconds([max_seconds])
    grid = GPU_SECONDS if device_type == "cuda" else (*CPU_SECONDS, *GPU_SECONDS)
    return (*(length for length in grid if length < max_seconds), max_seconds)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        hint = "Give rising lengths in seconds, with commas between them: --lengths 10,20,40"
        raise UserError(f"{text.strip()!r} is not a number of seconds", hint=hint) from None


def choose_contestants(
    names: Sequence[str], *, settings: Sequence[Setting], device_type: str
) -> tuple[Contestant, ...]:
    """Return what the names mean: ``sa/sdpa`` that implementation, ``sa`` those that are measured by default.

    Args:
        names: As on the command line; none for every mixer.
        settings: Each mixer is measured in each.
        device_type: On a ``cpu``, the default implementation is ``reference``.

    Raises:
        UserError: There is no such mixer or implementation, or a library that a mixer needs is missing.
    """
    chosen: dict[Contestant, None] = {}
    for setting, name in itertools.product(settings, names or available()):
        mixer_name, _, implementation = name.partition("/")
        try:
            mixer = mixers.load(mixer_name)
        except ImportError as error:
            raise UserError(f"{mixer_name} is unavailable: {error}", hint="Install what it needs.") from None
        if implementation and implementation not in mixer.implementations:
            raise unknown_name(f"implementation of {mixer_name}", implementation, mixer.implementations)
        by_default = measured(mixer, preset=setting.preset, device_type=device_type)
        for each in (implementation,) if implementation else by_default:
            chosen[Contestant(mixer=mixer_name, implementation=each, setting=setting)] = None
    return tuple(chosen)


def available() -> list[str]:
    """Return the mixers whose libraries are there, as the paper lists them, which is as they were published."""
    missing = mixers.unavailable()
    return sorted((name for name in mixers.names() if name not in missing), key=lambda name: mixers.load(name).arxiv)


def measured(mixer: type[Mixer], *, preset: str, device_type: str) -> tuple[str, ...]:
    """Return the implementations that are measured where only the mixer is named."""
    return mixer.defaults(stack.sizes(mixer, preset)) if device_type == "cuda" else ("reference",)
