"""Whole systems, put together from the records of their parts: a speech encoder, a mixer, pooling and classifier.

The parts run one after the other. So the time of the whole is the sum of their times, each measured alone.

The peak of the whole is the largest of three, one while each part runs. Each is the weights of all parts, which stay,
the input of the part that runs, which is what the part before it made, and the peak of its call, its output included.
What no later part needs is free: the waveform once it is encoded, and the encoder's output once it is mixed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.efficiency.records import Record
from bench.reporting.efficiency.overview import baseline_name, names_of
from bench.reporting.efficiency.quantities import Quantity, known, memory

# A fused kernel is what people run, so it is what the others are compared with, where it was measured.
FUSED_ATTENTION = "sa/sdpa"


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A whole system at one length: the records of its parts, which all have a figure."""

    encoder: Record
    mixer: Record
    head: Record

    @property
    def parts(self) -> dict[str, Record]:
        """The parts by name, in the order in which they run."""
        return {"encoder": self.encoder, "mixer": self.mixer, "head": self.head}

    def ms(self, time: Quantity) -> float:
        """Return the time of all parts, one after the other."""
        return sum(known(part, time) for part in self.parts.values())

    def shares(self, time: Quantity) -> dict[str, float]:
        """Return the share of each part in the time; they add up to 1."""
        whole = self.ms(time)
        return {name: known(part, time) / whole for name, part in self.parts.items()}

    @property
    def peaks_gib(self) -> dict[str, float]:
        """The memory that is taken while each part runs."""
        weights = sum(part.weights_gib or 0 for part in self.parts.values())
        return {name: weights + (part.input_gib or 0) + known(part, memory) for name, part in self.parts.items()}

    @property
    def peak_gib(self) -> float:
        """The most memory that is taken at any time."""
        return max(self.peaks_gib.values())

    @property
    def peak_in(self) -> str:
        """The part that runs when the most memory is taken; of equal ones the first."""
        return max(self.peaks_gib, key=self.peaks_gib.__getitem__)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One encoder in one form, in front of all mixers of a setting.

    Attributes:
        name: As records name it: ``xlsr-random/one-piece``.
        encoder: Its records by length, failures included.
        wholes: For each mixer the whole systems by length, where all parts have a figure.
    """

    name: str
    encoder: Mapping[float, Record]
    wholes: Mapping[str, Mapping[float, Whole]]

    @property
    def encoder_name(self) -> str:
        """The encoder without its form: ``xlsr-random``."""
        return next(iter(self.encoder.values())).mixer

    @property
    def form(self) -> str:
        """How it hears the audio: ``in one piece`` or ``in windows of 20 s``."""
        window_s = next(iter(self.encoder.values())).window_s
        return f"in windows of {window_s:g} s" if window_s else "in one piece"

    @property
    def label(self) -> str:
        """In words: ``xlsr-random in one piece``."""
        return f"{self.encoder_name} {self.form}"


def base_of(records: Sequence[Record]) -> str | None:
    """Return the softmax attention that whole systems are compared with: fused where it was measured; None without."""
    return FUSED_ATTENTION if FUSED_ATTENTION in names_of(records) else baseline_name(records)


def blocks(mixers: Sequence[Record], parts: Sequence[Record], time: Quantity) -> list[Block]:
    """Put whole systems together.

    Args:
        mixers: Records of mixers, of one setting.
        parts: Records of encoders and heads, of any setting. Only those fit that have the width of the mixers and the
            same precision, execution, batch and cache.
        time: The time that a part must have.

    Returns:
        One for each encoder and form that fits, in their order. There is none for training: encoders are frozen.
    """
    if not mixers or mixers[0].pass_ != "inference":
        return []
    fitting = [each for each in parts if _alike(each) == _alike(mixers[0])]
    heads = {each.seconds: each for each in fitting if each.part == "head" and _has_figures(each, time)}
    encoders = [each for each in fitting if each.part == "encoder"]
    return [
        Block(
            name=name,
            encoder=(encoder := {each.seconds: each for each in encoders if each.name == name}),
            wholes={mixer: dict(_wholes(mixers, mixer, encoder, heads, time)) for mixer in names_of(mixers)},
        )
        for name in names_of(encoders)
    ]


def unmatched(mixers: Sequence[Record], parts: Sequence[Record]) -> list[str]:
    """Return a line for each encoder whose width no mixer has."""
    widths = {each.width for each in mixers}
    others = dict.fromkeys((each.mixer, each.width) for each in parts if each.part == "encoder")
    return [
        f"{name} makes {width} features per frame, and no mixer of that width was measured: `--width {width}` does."
        for name, width in others
        if width not in widths
    ]


def _wholes(
    mixers: Sequence[Record],
    name: str,
    encoder: Mapping[float, Record],
    heads: Mapping[float, Record],
    time: Quantity,
) -> Iterator[tuple[float, Whole]]:
    for mixer in sorted((each for each in mixers if each.name == name), key=lambda each: each.seconds):
        front, head = encoder.get(mixer.seconds), heads.get(mixer.seconds)
        if front and head and _has_figures(mixer, time) and _has_figures(front, time):
            yield mixer.seconds, Whole(encoder=front, mixer=mixer, head=head)


def _alike(record: Record) -> tuple[object, ...]:
    return record.width, record.precision, record.execution, record.batch, record.cache


def _has_figures(record: Record, time: Quantity) -> bool:
    return time(record) is not None and memory(record) is not None
