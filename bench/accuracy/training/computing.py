"""How the processes of a training compute: precision, device, and the folder that they share."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin, broadcast_object_list

from mixers.support.errors import unknown_name
from mixers.support.precision import use_precision

PRECISIONS = ("bfloat16", "float32")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a training uses of the machine.

    Attributes:
        accelerator: Distributes the work over its processes.
        workers: Additional processes that read audio.
        checkpoint_steps: Steps between checkpoints at most; there are also some after epochs, and one at the end.
    """

    accelerator: Accelerator
    workers: int
    checkpoint_steps: int


def choose_precision(name: str | None, *, device: str) -> str:
    """Return the precision and compute in it from now on; the default is bfloat16 on a GPU and float32 on a CPU.

    Raises:
        UserError: There is no such precision.
    """
    chosen = ("bfloat16" if device == "cuda" else "float32") if name is None else name
    if chosen not in PRECISIONS:
        raise unknown_name("precision", chosen, PRECISIONS)
    if device == "cuda":
        use_precision(chosen)
    return chosen


def start_accelerator(device: str) -> Accelerator:
    """Return the accelerator, which distributes work over processes if there are several.

    Other settings of Accelerate are ignored: each learner computes as its run says.

    On a GPU, this process gets one thread on the CPU. Several would compete for the cores with the workers that read
    audio, and would wait for each other at every copy of a text.
    """
    if device != "cpu":
        torch.set_num_threads(1)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # on how processes share the cores of a CPU
        return Accelerator(
            cpu=device == "cpu",
            mixed_precision="no",
            dynamo_backend="no",
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        )


def share_folder(folder: Path, accelerator: Accelerator) -> Path:
    """Return the main process's folder in every process: a folder named after the time may differ between them."""
    (shared,) = broadcast_object_list([folder]) if accelerator.num_processes > 1 else [folder]
    return Path(shared)


def decide_together(decision: bool, accelerator: Accelerator) -> bool:
    """Return the main process's decision in every process: their clocks differ."""
    (shared,) = broadcast_object_list([decision]) if accelerator.num_processes > 1 else [decision]
    return bool(shared)
