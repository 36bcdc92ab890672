"""Two mixers in one stack, a block each: ``kda+sa``."""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mixers import JOIN
from mixers.base import Implementation, Mixer, MixerConfig


@dataclass(frozen=True, kw_only=True)
class HybridConfig(MixerConfig):
    """The sizes of a hybrid.

    Attributes:
        parts: The sizes of each of its mixers.
    """

    parts: tuple[MixerConfig, ...] = ()


class Hybrid(Mixer):
    """Mixers that take turns as the blocks of a stack. It has no layer of its own, so it stays abstract.

    Attributes:
        parts: Its mixers.
    """

    parts: tuple[type[Mixer], ...]

    @classmethod
    def sized(cls, preset: str, *, width: int | None = None, heads: int | None = None) -> HybridConfig:
        parts = tuple(each.sized(preset, width=width, heads=heads) for each in cls.parts)
        return HybridConfig(width=parts[0].width, num_heads=parts[0].num_heads, parts=parts)

    @classmethod
    def layers(cls, config: MixerConfig, *, implementation: str, depth: int) -> list[Mixer]:
        assert isinstance(config, HybridConfig)
        each = list(zip(cls.parts, config.parts, implementation.split(JOIN), strict=True))
        turns = itertools.islice(itertools.cycle(each), depth)
        return [mixer(sizes, implementation=way) for mixer, sizes, way in turns]

    @classmethod
    def defaults(cls, config: MixerConfig) -> tuple[str, ...]:
        assert isinstance(config, HybridConfig)
        fastest = (mixer.defaults(sizes)[-1] for mixer, sizes in zip(cls.parts, config.parts, strict=True))
        return (JOIN.join(fastest),)

    @classmethod
    def unavailable(
        cls, implementation: str, config: MixerConfig, *, device_type: str, precision: str | None = None
    ) -> str:
        assert isinstance(config, HybridConfig)
        each = zip(cls.parts, config.parts, implementation.split(JOIN), strict=True)
        reasons = [
            mixer.unavailable(way, sizes, device_type=device_type, precision=precision) for mixer, sizes, way in each
        ]
        return "; ".join(dict.fromkeys(filter(None, reasons)))

    @classmethod
    def state_numbers(cls, config: Any) -> int | None:
        numbers = [mixer.state_numbers(sizes) for mixer, sizes in zip(cls.parts, config.parts, strict=True)]
        return None if None in numbers else max(number for number in numbers if number is not None)

    @classmethod
    def reach_at(cls, config: MixerConfig) -> str:
        assert isinstance(config, HybridConfig)
        each = (mixer.reach_at(sizes) for mixer, sizes in zip(cls.parts, config.parts, strict=True))
        return "; then ".join(each)


@functools.cache
def combine(*parts: type[Mixer]) -> type[Hybrid]:
    """Return the hybrid of mixers, in the order of its blocks."""
    ways: Sequence[tuple[str, ...]] = list(itertools.product(*(each.implementations for each in parts)))
    attributes = {
        "parts": parts,
        "blocks": len(parts),
        "arxiv": JOIN.join(each.arxiv for each in parts),
        "causal": all(each.causal for each in parts),
        "can_be_causal": all(each.causal or each.can_be_causal for each in parts),
        "by_default": False,
        "implementations": {JOIN.join(each): Implementation() for each in ways},
        "registered_as": JOIN.join(each.name() for each in parts),
        "__module__": __name__,
        "__doc__": f"{' and '.join(each.name() for each in parts)}, a block each.",
    }
    return type("Hybrid", (Hybrid,), attributes)
