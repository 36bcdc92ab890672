"""Tells which kernels take a stack's GPU time at 400 s: ``python reports/kernel_shares.py FILE.csv [MIXER]...``.

The file gets a line for each kernel of each default implementation in `causal`, inference and training, in bfloat16, by
PyTorch's profiler. Needs a GPU and an installed sbench. By default it takes every mixer.
"""

import csv
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from bench.efficiency.measurement.execution import PASSES, bind
from bench.efficiency.selection import choose_contestants, choose_settings
from bench.efficiency.settings import Contestant
from bench.speech import frames_of, samples_of
from mixers import autotuning, stack
from mixers.support.errors import UserError

SECONDS = 400.0
_CALLS = 3

Row = tuple[object, ...]
HEADERS = ("gpu", "mixer", "direction", "pass", "seconds", "kernel", "launches", "ms", "percent")


def kernels(contestant: Contestant) -> Iterator[Row]:
    """Yield a row for each kernel of one call, the longest first: its launches, its milliseconds and its share."""
    setting = contestant.setting
    model = stack.build(
        contestant.mixer, implementation=contestant.implementation, preset=setting.preset, direction=setting.direction
    )
    model = model.to("cuda", torch.bfloat16).train(setting.pass_ == "training")
    frames = frames_of(samples_of(SECONDS))
    x = torch.randn(1, frames, model.width, device="cuda", dtype=torch.bfloat16)
    call = bind(model, x, pass_=setting.pass_)
    with autotuning.compiling_side_by_side():
        for _ in range(_CALLS):
            call()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(_CALLS):
            call()
        torch.cuda.synchronize()
    launches, ms = Counter[str](), Counter[str]()
    for each in profiler.key_averages():
        launches[short(each.key)] += each.count
        ms[short(each.key)] += each.self_device_time_total / 1000
    where = (torch.cuda.get_device_name(), f"{contestant.mixer}/{contestant.implementation}", setting.direction)
    for name, total in ms.most_common():
        if total:
            figures = (f"{launches[name] / _CALLS:g}", f"{total / _CALLS:.4f}", f"{100 * total / ms.total():.1f}")
            yield (*where, setting.pass_, SECONDS, name, *figures)


def short(name: str) -> str:
    """Return a kernel's name without types and arguments. PyTorch's elementwise kernels get what they compute."""
    plain = name.removeprefix("void ").replace("(anonymous namespace)::", "")
    first, *inner = re.findall(r"(\w+)\s*(?=[<(]|$)", plain)
    computes = [each for each in inner if each.endswith(("_kernel", "_kernel_cuda")) or "Functor" in each]
    return first if not computes or "elementwise" not in first else f"{first}: {computes[-1]}"


def main() -> None:
    """Write the file. A mixer that fails is named, and the others follow."""
    path, *names = sys.argv[1:]
    settings = choose_settings(device_type="cuda", passes=PASSES, directions=("causal",))
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADERS)
        for each in choose_contestants(names or ["all"], settings=settings, device_type="cuda"):
            try:
                writer.writerows(kernels(each))
            except (UserError, RuntimeError) as error:
                print(f"{each.mixer}/{each.implementation}, {each.setting.pass_}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
