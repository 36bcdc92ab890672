"""The other parts of a whole system as contestants: encoders in front of the mixers, and the head behind them."""

import dataclasses
from collections.abc import Sequence

from bench.efficiency import isolation
from bench.efficiency.selection import without_repetition
from bench.efficiency.settings import Contestant, Part, Setting
from bench.encoders import EncoderShape, encoder_shape


def choose_parts(
    encoders: Sequence[str], windows: Sequence[float | None], *, settings: Sequence[Setting]
) -> tuple[Contestant, ...]:
    """Return the encoders and the head as contestants; nothing without encoders.

    They are measured in inference, in every precision, execution, batch and state of the cache of the mixers, an
    encoder at its own width and the head at theirs.

    Args:
        encoders: As `bench.encoders.load_encoder` takes them.
        windows: Seconds of the windows that audio is cut into, each measured; None for one piece. Whisper always hears
            windows of 30 s, whatever is given.
        settings: Those of the mixers.

    Raises:
        UserError: An encoder cannot be loaded, or a value is given twice.
    """
    without_repetition("with-encoder", encoders)
    without_repetition("encoder-window", ["none" if each is None else f"{each:g}" for each in windows])
    shapes = {name: isolation.call(encoder_shape, name) for name in encoders}
    of_encoders = dict.fromkeys(
        _setting(one, "encoder", width=shape.width) for one in settings for shape in shapes.values()
    )
    of_heads = dict.fromkeys(_setting(one, "head", width=one.width) for one in settings if encoders)
    return (
        *(
            Contestant(mixer=name, implementation=_form(window_s), setting=setting, window_s=window_s)
            for setting in of_encoders
            for name, shape in shapes.items()
            if shape.width == setting.width
            for window_s in _heard(shape, windows)
        ),
        *(Contestant(mixer="head", implementation="pooling-classifier", setting=setting) for setting in of_heads),
    )


def _form(window_s: float | None) -> str:
    return "one-piece" if window_s is None else f"windows-{window_s:g}s"


def _heard(shape: EncoderShape, windows: Sequence[float | None]) -> Sequence[float | None]:
    return windows if shape.window_s is None else (shape.window_s,)


def _setting(of_mixers: Setting, part: Part, *, width: int) -> Setting:
    return dataclasses.replace(
        of_mixers, preset=part, pass_="inference", direction="paper", text_tokens=0, width=width, heads=None
    )
