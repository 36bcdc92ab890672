"""What a sweep measures: which mixers, in which implementation, at which lengths, in which precision."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

import mixers
from bench.speech import check_seconds
from mixers import stack
from mixers.base import Mixer
from mixers.errors import UserError, unknown_name

GPU_SECONDS = (10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0)  # Figure 2 of the paper
CPU_SECONDS = (1.0, 2.0, 3.0, 5.0)  # what plain PyTorch on two cores gets through in about two minutes

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32, "native": torch.float32}


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A mixer in one implementation; what a curve of the figure shows."""

    mixer: str
    implementation: str

    @property
    def name(self) -> str:
        """As the command line writes it: ``sa/sdpa``."""
        return f"{self.mixer}/{self.implementation}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep: every contestant at every length.

    Attributes:
        contestants: In the order in which they are measured.
        seconds: Lengths of audio, increasing.
        preset: ``matched`` or ``released``.
        precision: ``bfloat16``, ``float32`` or ``native``.
        device_type: ``cuda`` or ``cpu``.
        seed: Seed of weights and input.
        execution: ``eager``, ``graph`` or ``compile``.
        cold_cache: Whether the GPU's L2 cache is overwritten before each timed call.
        time_budget_s: Wall time for the whole sweep, shared evenly by the contestants; None for no limit.
        audio: Folder of recordings; None for random features.
        encoder: What makes features of the recordings; None for random features.
    """

    contestants: tuple[Contestant, ...]
    seconds: tuple[float, ...]
    preset: str
    precision: str
    device_type: str
    seed: int
    time_budget_s: float | None
    execution: str = "eager"
    cold_cache: bool = False
    audio: str | None = None
    encoder: str | None = None


def choose_device(name: str) -> str:
    """Return ``cuda`` or ``cpu``; ``auto`` takes the GPU where there is one.

    Raises:
        UserError: There is no such kind of device, or CUDA was asked for where there is none.
    """
    if name not in ("auto", "cuda", "cpu"):
        raise unknown_name("device", name, ("auto", "cuda", "cpu"))
    if name == "cuda" and not torch.cuda.is_available():
        built = f"PyTorch {torch.__version__}"
        raise UserError(
            f"no CUDA GPU is visible to {built}", hint="Check `nvidia-smi`, or measure on the CPU with --device cpu."
        )
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def choose_precision(name: str | None, *, device_type: str) -> str:
    """Return the precision, by default bfloat16 on a GPU and float32 on a CPU.

    Raises:
        UserError: There is no such precision on this device.
    """
    if name is None:
        return "bfloat16" if device_type == "cuda" else "float32"
    known = ("bfloat16", "native") if device_type == "cuda" else ("float32", "bfloat16", "native")
    if name == "float32" and device_type == "cuda":
        raise UserError(
            "precision 'float32' is not there on a GPU yet",
            hint="Take native: float32 tensors, with every library's own default for its matrix products.",
        )
    if name not in known:
        raise unknown_name("precision", name, known)
    return name


def choose_seconds(seconds: str | None, max_seconds: float | None, *, device_type: str) -> tuple[float, ...]:
    """Return the lengths to measure: those given, or the default ones up to a longest.

    Args:
        seconds: Comma-separated lengths, in seconds.
        max_seconds: The longest length; it becomes the last one.
        device_type: ``cuda`` or ``cpu``, of which each has its default lengths.

    Raises:
        UserError: A length is not a number, below one frame or out of order, or both arguments are given.
    """
    if seconds is not None and max_seconds is not None:
        raise UserError("--seconds and --max-seconds exclude each other", hint="--seconds already says where to end.")
    if seconds is not None:
        lengths = tuple(_number(text) for text in seconds.split(","))
        check_seconds(lengths)
        return lengths
    if max_seconds is None:
        return GPU_SECONDS if device_type == "cuda" else CPU_SECONDS
    check_seconds([max_seconds])
    grid = GPU_SECONDS if device_type == "cuda" else (*CPU_SECONDS, *GPU_SECONDS)
    return (*(length for length in grid if length < max_seconds), max_seconds)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        hint = "Give rising lengths in seconds, with commas between them: --seconds 10,20,40"
        raise UserError(f"{text.strip()!r} is not a number of seconds", hint=hint) from None


def choose_contestants(names: Sequence[str], *, preset: str, device_type: str) -> tuple[Contestant, ...]:
    """Return what the names mean: ``sa/sdpa`` that implementation, ``sa`` those that are measured by default.

    Args:
        names: As on the command line; none for every mixer.
        preset: ``matched`` or ``released``.
        device_type: On a ``cpu``, the default implementation is ``reference``.

    Raises:
        UserError: There is no such mixer, implementation or preset, or a library that a mixer needs is missing.
    """
    if preset not in stack.PRESETS:
        raise unknown_name("preset", preset, stack.PRESETS)
    chosen: dict[Contestant, None] = {}
    for name in names or available():
        mixer_name, _, implementation = name.partition("/")
        try:
            mixer = mixers.load(mixer_name)
        except ImportError as error:
            raise UserError(f"{mixer_name} is unavailable: {error}", hint="Install what it needs.") from None
        if implementation and implementation not in mixer.implementations:
            raise unknown_name(f"implementation of {mixer_name}", implementation, mixer.implementations)
        for each in (implementation,) if implementation else measured(mixer, preset=preset, device_type=device_type):
            chosen[Contestant(mixer=mixer_name, implementation=each)] = None
    return tuple(chosen)


def available() -> list[str]:
    """Return the mixers whose libraries are there, as the paper lists them, which is as they were published."""
    missing = mixers.unavailable()
    return sorted((name for name in mixers.names() if name not in missing), key=lambda name: mixers.load(name).arxiv)


def measured(mixer: type[Mixer], *, preset: str, device_type: str) -> tuple[str, ...]:
    """Return the implementations that are measured where only the mixer is named."""
    return mixer.measured(mixer.presets[preset]) if device_type == "cuda" else ("reference",)
