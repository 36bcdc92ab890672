"""The options of the command sweep, and what their values mean."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.parsing import split_names
from mixers.support.errors import UserError

CPU_BUDGET_S = 120.0
_MOST_PROCESSES = 100

PRESETS = (
    "matched: stacks of 20 M parameters; conformer: Conformers of 30 M, the mixer in place of attention; "
    "layer: a mixer of matched alone; released: the paper's bare layers."
)

_NAMES = (
    "For instance kda or sa/sdpa; two in one stack, a block each: kda+sa; or a group: all, paper, linear, attention. "
    "See `sbench list`; default: paper."
)

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="MIXER", help=_NAMES),
]
MaxSeconds = Annotated[
    float | None, typer.Option(help="Longest audio; default: 400 on a GPU, 5 on a CPU.", show_default=False)
]
Lengths = Annotated[str | None, typer.Option(help="Lengths of audio in seconds: 10,20,40", show_default=False)]
Preset = Annotated[str, typer.Option(help=f"{PRESETS} This and the next seven take one or several: matched,released")]
Precision = Annotated[
    str | None,
    typer.Option(
        help="bfloat16 (default on a GPU), tf32, float32 (IEEE; default on a CPU) or native (default of released): "
        "float32 tensors, every library at its own default.",
        show_default=False,
    ),
]
Pass = Annotated[str, typer.Option("--pass", help="inference, or training: forward and backward.")]
Execution = Annotated[
    str, typer.Option(help="eager, graph (replay of a CUDA graph) or compile (through torch.compile).")
]
Batch = Annotated[str, typer.Option(help="Sequences in one call.")]
Width = Annotated[
    str | None,
    typer.Option(
        help="Features per frame; default: 1024. Stacks have 20 M parameters there, and at other widths in proportion "
        "to their square: 5 M at 512. An encoder of this width fits --audio.",
        show_default=False,
    ),
]
Heads = Annotated[
    str | None,
    typer.Option(
        help="Heads of each mixer; default: those of the preset, 4 in most. 8 are as wide together, so each is half "
        "as wide.",
        show_default=False,
    ),
]
TextTokens = Annotated[
    int | None,
    typer.Option(
        help="Frames of text that each call appends to the audio; default: 100 in released, otherwise none.",
        show_default=False,
    ),
]
Direction = Annotated[
    str | None,
    typer.Option(
        help="Which frames a frame may see. causal: itself and the past. alternating (default of matched): blocks take "
        "turns forward and backward in time, so that two blocks see the whole clip. both: each block mixes forward and "
        "backward with the same weights and averages. paper (default of layer and released): softmax attention sees "
        "the whole clip, the others the past. Softmax attention sees the whole clip in all but causal.",
        show_default=False,
    ),
]
ColdCache = Annotated[bool, typer.Option("--cold-cache", help="Overwrite the GPU's L2 cache before each timed call.")]
Device = Annotated[str, typer.Option(help="auto, cuda or cpu.")]
Audio = Annotated[Path | None, typer.Option(help="Folder of recordings (wav, flac) to use instead of random features.")]
Encoder = Annotated[
    str | None,
    typer.Option(
        help="Encoder of --audio: wavlm-large, a Hugging Face id, a folder, or xlsr-random.", show_default=False
    ),
]
WithEncoder = Annotated[
    list[str] | None,
    typer.Option(
        help="Measure this speech encoder too, and pooling and classifier, so that the report shows what a mixer costs "
        "of the whole system: xlsr-random, whisper-base-random, wavlm-large, a Hugging Face id or a folder. One or "
        "several: --with-encoder xlsr-random,wavlm-large. Give the encoder's --width.",
        show_default=False,
    ),
]
EncoderWindow = Annotated[
    str | None,
    typer.Option(
        help="Seconds of the windows that --with-encoder hears in batches; none (default): one piece. One or several: "
        "none,20. Whisper always hears windows of 30 s.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of weights and input.", min=0, max=2**63 - 1)]
TimeBudget = Annotated[
    float | None,
    typer.Option(
        help=f"Seconds for the whole sweep, on a CPU; default: {CPU_BUDGET_S:g} for each of --processes.",
        show_default=False,
    ),
]
Processes = Annotated[
    int,
    typer.Option(
        help="Time single calls in this many fresh processes of each mixer. They differ between processes, so "
        "conclusions from them need 5. GPU time and memory need 1."
    ),
]
Output = Annotated[
    Path | None, typer.Option(help="New folder for the results; default: under runs/.", show_default=False)
]
Resume = Annotated[Path | None, typer.Option(help="Continue an interrupted sweep, in its folder.", show_default=False)]
AllowMixed = Annotated[
    bool, typer.Option("--allow-mixed", help="With --resume: allow another machine, library or code.")
]


def parse_batches(text: str) -> tuple[int, ...]:
    """Return the numbers of sequences that --batch lists."""
    from bench.efficiency.selection import batch_error

    return _whole_numbers(text, batch_error)


def parse_widths(text: str | None) -> tuple[int, ...]:
    """Return the widths that --width lists, by default that of the presets."""
    from bench.efficiency.selection import width_error
    from bench.efficiency.settings import WIDTH

    return (WIDTH,) if text is None else _whole_numbers(text, width_error)


def parse_heads(text: str | None) -> tuple[int | None, ...]:
    """Return the numbers of heads that --heads lists, by default that of the presets."""
    from bench.efficiency.selection import heads_error

    return (None,) if text is None else _whole_numbers(text, heads_error)


def _whole_numbers(text: str, error: Callable[[str], UserError]) -> tuple[int, ...]:
    names = split_names(text)
    if not all(name.isdecimal() for name in names):
        raise error(text)
    return tuple(int(name) for name in names)


def parse_seconds(lengths: str | None) -> tuple[float, ...] | None:
    """Return the lengths that --lengths lists; None if it is not given."""
    if lengths is None:
        return None
    names = split_names(lengths)
    try:
        return tuple(float(name) for name in names)
    except ValueError:
        hint = "Give rising lengths in seconds, separated by commas: --lengths 10,20,40"
        raise UserError(f"--lengths {lengths}: not every length is a number", hint=hint) from None


def parse_encoders(names: list[str] | None) -> list[str]:
    """Return the encoders that --with-encoder names."""
    return [name for each in names or [] for name in split_names(each)]


def parse_windows(text: str | None, *, encoders: Collection[str]) -> list[float | None]:
    """Return the seconds that --encoder-window lists, None for one piece."""
    if text is not None and not encoders:
        raise UserError("--encoder-window needs --with-encoder", hint="For instance --with-encoder xlsr-random.")
    return [None if name == "none" else _window(name) for name in split_names(text or "none")]


def _window(name: str) -> float:
    from bench.speech import FRAME_SAMPLES, SAMPLE_RATE

    shortest = FRAME_SAMPLES / SAMPLE_RATE
    try:
        seconds = float(name)
    except ValueError:
        seconds = 0.0
    if not shortest <= seconds < float("inf"):  # this also refuses NaN
        hint = f"Give seconds from {shortest:g}, or none for one piece: --encoder-window none,20"
        raise UserError(f"--encoder-window {name} is no window", hint=hint)
    return seconds


def check_processes(count: int) -> int:
    """Return in how many processes single calls are timed."""
    if not 1 <= count <= _MOST_PROCESSES:
        raise UserError(f"--processes {count} cannot be", hint=f"Give a whole number from 1 to {_MOST_PROCESSES}.")
    return count


def check_time_budget(seconds: float | None, *, device_type: str, processes: int) -> float | None:
    """Return the time budget of a sweep; None for no limit."""
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UserError(f"--time-budget {seconds} is no time", hint="Give the seconds that the whole sweep may take.")
    if seconds is not None and device_type != "cpu":
        raise UserError("--time-budget is for sweeps on a CPU", hint="Remove it: on a GPU every case takes seconds.")
    return processes * CPU_BUDGET_S if seconds is None and device_type == "cpu" else seconds


def check_audio(audio: Path | None, encoder: str | None, *, widths: Collection[int]) -> str | None:
    """Return the folder of recordings; None for random features."""
    if (audio is None) != (encoder is None):
        missing, given = ("--encoder", "--audio") if encoder is None else ("--audio", "--encoder")
        raise UserError(f"{given} needs {missing}", hint="For instance --audio recordings --encoder xlsr-random.")
    if audio is not None and len(widths) > 1:
        message = f"--encoder {encoder} has one width, --width {','.join(map(str, widths))} asks for {len(widths)}"
        raise UserError(message, hint="Measure each width in a sweep of its own, or without --audio.")
    return None if audio is None else str(audio)
