"""Kernel configurations: where they are stored, how kernels get them, and how the fastest is found."""

from mixers.autotuning.autotuners import PACKAGES
from mixers.autotuning.injection import (
    choices_made,
    chosen_configurations,
    forget_configurations,
    forget_uses,
    origins,
    use_prepared_configurations,
)
from mixers.autotuning.search import BrokenChoiceError, compiling_side_by_side
from mixers.autotuning.store import SHIPPED, Files, merge, saved, shipped

__all__ = [
    "PACKAGES",
    "SHIPPED",
    "BrokenChoiceError",
    "Files",
    "choices_made",
    "chosen_configurations",
    "compiling_side_by_side",
    "forget_configurations",
    "forget_uses",
    "merge",
    "origins",
    "saved",
    "shipped",
    "use_prepared_configurations",
]
