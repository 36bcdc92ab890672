"""Finds the fastest configuration of every kernel on this GPU, and keeps them where the sweep looks for them.

Compiling all candidates of all kernels takes minutes a mixer, so each mixer, precision and pass runs in a process of
its own, all at once. What each finds is written after every length, so an interrupted search keeps what it found.
"""

import itertools
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch

import mixers
from bench.efficiency.cases import DTYPES, GPU_SECONDS, available, choose_device, measured
from bench.speech import frames_of, samples_of
from mixers import stack, tuned
from mixers.errors import unknown_name

# The longest first: most kernels are tuned once, at the first length they meet, and the long ones are what a sweep
# spends its time on. The others follow because some kernels key on a bucket of the length, and below 65 frames
# some layers run other kernels.
TUNED_FRAMES = (*(frames_of(samples_of(seconds)) for seconds in reversed(GPU_SECONDS)), 63)


def tunable() -> list[str]:
    """Return the mixers that a sweep on a GPU measures in flash-linear-attention's implementation."""
    return [name for name in available() if "fla" in measured(mixers.load(name), preset="matched", device_type="cuda")]


def tune(names: list[str], folder: Path | None, *, precisions: tuple[str, ...]) -> Iterator[str]:
    """Tune the mixers' kernels on the GPU and merge the configurations found into a folder.

    Args:
        names: Mixers; none for all that have something to tune.
        folder: Where the configurations go; None for where sweeps look for this GPU's.
        precisions: Each is tuned.

    Yields:
        The name of each search as it ends, with what went wrong in it, and last where the configurations are.

    Raises:
        UserError: There is no GPU, or a mixer has nothing to tune.
    """
    choose_device("cuda")
    for name in names:
        if name not in tunable():
            raise unknown_name("tunable mixer", name, tunable())
    folder = folder or tuned.saved(torch.cuda.get_device_name())
    folder.mkdir(parents=True, exist_ok=True)
    jobs = list(itertools.product(names or tunable(), precisions, ("inference", "training")))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(len(jobs), os.cpu_count() or 1), mp_context=context) as pool:
        futures = {pool.submit(_search, *job, folder / "-".join(job)): job for job in jobs}
        for future in as_completed(futures):
            label, error = " ".join(futures[future]), future.exception()
            yield f"{label}: {error}" if error else label
    _merge_searches(folder)
    yield str(folder)


def _merge_searches(folder: Path) -> None:
    """Merge what the searches found into one file a kernel, and remove what they left."""
    for search in sorted(path for path in folder.iterdir() if path.is_dir()):
        tuned.merge({path.stem: json.loads(path.read_text()) for path in sorted(search.iterdir())}, folder)
        shutil.rmtree(search)


def _search(name: str, precision: str, kind: str, folder: Path) -> None:
    """Run one mixer in one precision, forward or also backward, so that the library's autotuner chooses."""
    folder.mkdir(exist_ok=True)  # a search that was killed may have left it
    model = stack.build(name, implementation="fla", preset="matched").to("cuda", DTYPES[precision])
    tuned.forget_configurations()
    for frames in TUNED_FRAMES:
        x = torch.randn(1, frames, model.width, device="cuda", dtype=DTYPES[precision])
        if kind == "inference":
            with torch.inference_mode():
                model(x)
        else:
            model(x.requires_grad_()).square().mean().backward()
        torch.cuda.synchronize()
        for kernel, content in tuned.chosen_configurations().items():
            (folder / f"{kernel}.json").write_text(json.dumps(content))
