"""Compiles the kernels of all learners on a GPU before their first step, in one process per learner.

One process would compile kernels one after another. Side by side, compiling takes as long as the slowest learner. The
results go to Triton's cache, where the training process finds them.
"""

import contextlib
import itertools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import torch

import mixers
from bench.accuracy.run import ModelConfig
from bench.accuracy.training.model import build
from mixers import autotuning
from mixers.support.precision import DTYPES, use_precision

_TOKENS = 32  # of text, half of them padding

# GPU memory that one process may need for its context and a step of 32 utterances. It limits how many run side by side.
_BYTES_EACH = 4 * 2**30


@contextlib.contextmanager
def compiling_ahead(
    configs: Sequence[ModelConfig],
    *,
    precisions: Sequence[str],
    products: str,
    batch: int,
    frames: int,
    text: bool,
    whole: bool = False,
    device: torch.device,
) -> Iterator[None]:
    """Compile the kernels of these classifiers' training during the `with` block; on a CPU do nothing.

    A classifier that fails is skipped: its training will report the error.

    Args:
        configs: The classifiers; equal ones are compiled once.
        precisions: The precisions that each is trained in, as for `Learner`.
        products: The argument of `use_precision`.
        batch: Utterances in a step.
        frames: Frames of speech of each utterance.
        text: Whether text follows the speech.
        whole: Whether recordings are whole, so that the speech is padded.
        device: The device of the training.
    """
    if device.type != "cuda" or not configs:
        yield
        return
    work = list(itertools.product(dict.fromkeys(configs), dict.fromkeys(precisions)))
    context = multiprocessing.get_context("spawn")
    room = torch.cuda.mem_get_info(device)[0] // _BYTES_EACH
    workers = max(1, min(len(work), len(os.sched_getaffinity(0)), room))
    with ProcessPoolExecutor(
        workers,
        mp_context=context,
        max_tasks_per_child=1,
        initializer=mixers.use_files,
        initargs=(mixers.files(),),
    ) as pool:
        size = batch, frames, _TOKENS if text else 0
        futures = [
            pool.submit(step_once, *each, products=products, size=size, whole=whole, device=str(device))
            for each in work
        ]
        yield
        for future in futures:
            with contextlib.suppress(RuntimeError, BrokenProcessPool):
                future.result()


def step_once(
    config: ModelConfig, precision: str, *, products: str, size: tuple[int, int, int], whole: bool, device: str
) -> None:
    """Run a classifier forward and backward on random features; `size` is B, M and N."""
    use_precision(products)
    batch, frames, tokens = size
    model = build(config, seed=0).to(device).train()
    layers = [config.speech_layers] if config.layer == "weighted" else []
    speech, text = (
        torch.randn(*shape, config.width, device=device, dtype=DTYPES[precision])
        for shape in ([batch, *layers, frames], [batch, tokens])
    )
    masks = [(torch.arange(each, device=device) < each / 2).expand(batch, -1) for each in (frames, tokens)]
    speech_mask, text_mask = masks[0] if whole else None, masks[1]
    autocast = torch.autocast(device.partition(":")[0], dtype=torch.bfloat16, enabled=precision == "bfloat16")
    with autotuning.compiling_side_by_side(settling=True):
        with autocast:
            logits = model(speech, *((text, text_mask) if tokens else (None, None)), speech_mask)
        logits.float().sum().backward()
