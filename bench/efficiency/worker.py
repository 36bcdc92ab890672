"""Measures one contestant at every length, in a process of its own. Every case becomes a record, failures included."""

import gc
import sys
from collections.abc import Iterator, Sequence

import torch

from bench.efficiency import subjects
from bench.efficiency.case import ModelUnderTest
from bench.efficiency.isolation import Ready
from bench.efficiency.recording import Recorder
from bench.efficiency.samples import Measurement
from bench.efficiency.task import Task
from bench.environment import processor_name
from bench.garbage import collecting_no_garbage
from mixers import autotuning


def measure(
    lengths: Sequence[float], *, task: Task, prepare: bool = False, alone: bool = True
) -> Iterator[Measurement | Ready]:
    """Measure a contestant at these lengths, in this order; yield each measurement as soon as it exists.

    A case that is unavailable here, runs out of memory, does not fit in the budget or fails in a library becomes a
    record that says so. A failure ends the work, since it may have left the GPU's context unusable. A fresh process
    must do the rest.

    Args:
        lengths: Seconds.
        task: What is measured.
        prepare: Whether to run each length once first, so that everything is compiled, and then to yield ``Ready``.
            Its note is the kernel configurations that had to be searched for.
        alone: Whether no other process of the sweep is alive, so that this one has all the memory. Only then the
            longest length that fits is looked for.
    """
    recorder = Recorder(task=task, device=processor_name(task.plan.device_type))
    reason = subjects.unavailable(task.contestant, device_type=task.plan.device_type)
    if reason:
        yield from [Ready()] if prepare else []
        for length in lengths:
            yield Measurement(record=recorder.record(length, status="unavailable", error=reason))
        return
    try:
        model = _build(task, recorder, alone=alone)
    except Exception as error:  # libraries raise every kind
        yield from [Ready()] if prepare else []
        yield Measurement(record=recorder.failure(lengths[0], error))
        return
    if prepare:
        try:
            with autotuning.compiling_side_by_side():
                model.warm_up(lengths)
                model.check(shortest_s=task.plan.seconds[0])
        except Exception:  # libraries raise every kind; in a fresh process the case at fault will report it
            return
        yield Ready(note=autotuning.chosen_configurations())
    else:
        model.check(shortest_s=task.plan.seconds[0])
    gc.collect()
    gc.freeze()  # later collections need not look at the libraries again
    for position, length in enumerate(lengths, start=1):
        measurement = model.measure(length, later=lengths[position:])
        yield measurement
        if measurement.record.status == "failed":
            return
    if task.plan.device_type == "cuda":
        torch.cuda.empty_cache()  # the other processes need the memory


def _build(task: Task, recorder: Recorder, *, alone: bool) -> ModelUnderTest:
    """Build the model, in a process that may have measured another setting before."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()  # what another setting compiled counts against a limit
    autotuning.forget_uses()
    with collecting_no_garbage():  # so importing the mixer's library takes a seventh less time
        return ModelUnderTest(task, recorder, alone=alone)
