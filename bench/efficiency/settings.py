"""What a sweep measures: the axes of a setting, its contestants and its plan. Imports no torch."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from bench.validation import STRICT
from mixers.support.plugins import Plugin

RANDOM_INPUT = "random features"

# What a case measures: a mixer, or one of the other parts of a whole system. The latter stand in the place of a preset.
Part = Literal["mixer", "encoder", "head"]
OTHER_PARTS: tuple[Part, ...] = ("encoder", "head")

WINDOWS_IN_A_BATCH = 8  # of each sequence, as an encoder hears them; then its peak does not grow with the length

WIDTH = 1024  # D of every preset, and of XLS-R 300M


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A value on each axis of a sweep: all of a case except mixer, implementation and length.

    Attributes:
        preset: ``matched`` (a stack of about 20 M parameters), ``conformer`` (30 M, the mixers where a Conformer has
            its attention), ``layer`` (one of the mixers of ``matched`` alone), ``released`` (the paper's bare layers),
            ``encoder`` (a speech encoder) or ``head`` (pooling and classifier).
        precision: ``bfloat16``, ``tf32``, ``float32`` (IEEE) or ``native`` (float32 tensors, every library at its
            default).
        execution: ``eager``, ``graph`` (replay of a CUDA graph) or ``compile`` (torch.compile).
        pass_: ``inference`` or ``training`` (forward and backward); the column is named ``pass``.
        batch: Sequences in one call, B.
        text_tokens: Frames of text that each call appends to each sequence.
        cache: The state of the GPU's L2 cache before each call: ``warm``, or ``cold`` (overwritten).
        direction: Which frames a frame may see. ``causal``: itself and the past. ``alternating``: blocks take turns
            forward and backward in time. ``both``: each block mixes in both directions with the same weights and
            averages. ``paper``: softmax attention sees the whole clip, the others the past. Softmax attention sees the
            whole clip in all but ``causal``.
        width: Features per frame, D. A stack has about 20 M parameters at 1,024, and at other widths in proportion to
            their square.
        heads: Heads of each mixer; None for those of the preset.
    """

    __pydantic_config__ = STRICT

    preset: str
    precision: str
    execution: str = "eager"
    pass_: str = "inference"
    batch: int = 1
    text_tokens: int = 0
    cache: str = "warm"
    direction: str = "paper"
    width: int = WIDTH
    heads: int | None = None

    @property
    def part(self) -> Part:
        """What is measured."""
        return next((part for part in OTHER_PARTS if part == self.preset), "mixer")

    @property
    def input_width(self) -> int | None:
        """Features per frame of the input; None for an encoder, whose input is waveforms."""
        return None if self.part == "encoder" else self.width

    @property
    def label(self) -> str:
        """In words. Precision, preset and pass are always named, the other axes if they differ from the simplest."""
        parts = [self.precision, f"{self.preset} preset" if self.part == "mixer" else self.preset, self.pass_]
        parts += [] if self.direction == "paper" else [f"{self.direction} direction"]
        parts += [] if self.width == WIDTH else [f"width {self.width}"]
        parts += [] if self.heads is None else [f"{self.heads} heads"]
        parts += [] if self.execution == "eager" else [f"{self.execution} execution"]
        parts += [] if self.batch == 1 else [f"batch {self.batch}"]
        parts += [f"{self.text_tokens} text tokens"] if self.text_tokens else []
        parts += [] if self.cache == "warm" else [f"{self.cache} cache"]
        return ", ".join(parts)


# Frames of text of one utterance. The paper's memory at 400 s is that of about 100 frames more than the 19,999 of the
# speech.
RELEASED_TEXT_TOKENS = 100

OF_THE_PAPER = Setting(preset="released", precision="native", text_tokens=RELEASED_TEXT_TOKENS)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One point of a sweep; no two records of a sweep share theirs.

    Attributes:
        name: Mixer and implementation: ``sa/sdpa``.
        setting: The value of the case on each axis.
        seconds: Length of the audio.
    """

    name: str
    setting: Setting
    seconds: float

    @property
    def label(self) -> str:
        """Without the setting, as messages write it: ``sa/sdpa at 10 s``."""
        return f"{self.name} at {self.seconds:g} s"


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A mixer in one implementation and setting, or another part of a whole system: one curve of a figure.

    Attributes:
        mixer: The mixer, the encoder as the command line names it, or ``head``.
        implementation: How it is computed. For an encoder ``one-piece`` or, for instance, ``windows-20s``.
        setting: Its value on each axis.
        window_s: Seconds of the windows that an encoder hears; None for one piece.
    """

    __pydantic_config__ = STRICT

    mixer: str
    implementation: str
    setting: Setting
    window_s: float | None = None

    @property
    def name(self) -> str:
        """Without the setting, as the command line writes it: ``sa/sdpa``."""
        return f"{self.mixer}/{self.implementation}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep: every contestant at every length.

    Attributes:
        contestants: In the order of measuring, those of one setting together.
        seconds: Lengths of audio, rising.
        device_type: ``cuda`` or ``cpu``.
        seed: Seed of weights and input.
        time_budget_s: Wall time for the whole sweep, shared evenly by the contestants; None for no limit.
        audio: Folder of recordings; None for random features.
        encoder: What makes features of the recordings; None for random features.
        processes: In how many fresh processes single calls are timed. The first one measures everything else too.
        plugins: Where the mixers of third parties came from. A new sweep fills it in when it starts.
    """

    __pydantic_config__ = STRICT

    contestants: tuple[Contestant, ...]
    seconds: tuple[float, ...]
    device_type: str
    seed: int
    time_budget_s: float | None
    audio: str | None = None
    encoder: str | None = None
    processes: int = 1
    plugins: tuple[Plugin, ...] = ()

    @property
    def mixers(self) -> tuple[str, ...]:
        """The mixers that are measured, each once."""
        return tuple(dict.fromkeys(each.mixer for each in self.contestants if each.setting.part == "mixer"))

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths D of the features that are measured on, each once."""
        widths = (each.setting.input_width for each in self.contestants)
        return tuple(dict.fromkeys(width for width in widths if width is not None))

    def parts(self) -> "list[Plan]":
        """Split the plan by setting, in the order of first appearance. A part has the time budget of one process."""
        settings = dict.fromkeys(contestant.setting for contestant in self.contestants)
        budget = None if self.time_budget_s is None else self.time_budget_s / len(settings) / self.processes
        return [
            dataclasses.replace(
                self, contestants=tuple(each for each in self.contestants if each.setting == one), time_budget_s=budget
            )
            for one in settings
        ]
