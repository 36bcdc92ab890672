"""The models that are measured: stacks of blocks of equal size around any mixer or two, and bare layers."""

from mixers.stack.models import (
    DEPTH,
    DIRECTIONS,
    PRESETS,
    MixerStack,
    assemble,
    build,
    count_parameters,
    feed_forward_width,
    feed_forward_width_of,
    is_causal,
    is_stack,
    sizes,
    target_parameters,
    view,
)

__all__ = [
    "DEPTH",
    "DIRECTIONS",
    "PRESETS",
    "MixerStack",
    "assemble",
    "build",
    "count_parameters",
    "feed_forward_width",
    "feed_forward_width_of",
    "is_causal",
    "is_stack",
    "sizes",
    "target_parameters",
    "view",
]
