"""A learner's forward and backward pass as CUDA graphs: the host replays in one launch what it else issues in hundreds.

Steps of batches of some utterances are bound by the host that launches their kernels. A graph is captured for each
shape of the inputs, of which texts padded to a multiple of some tokens leave few.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.accuracy.inputs.batches import Inputs

Gradients = tuple[Tensor | None, ...]
Pass = Callable[[Inputs], tuple[Tensor, Gradients]]  # the loss, and the gradients of the parameters


@dataclass(frozen=True, kw_only=True)
class _Captured:
    """A graph, the inputs that it reads and the loss that it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: Inputs
    loss: Tensor


class Replayed:
    """A pass that is captured when a shape of its inputs comes for the second time; the first compiles its kernels.

    All captures share the memory in which they compute, since learners take their steps one after another, and those of
    one pass the memory of its gradients.
    """

    def __init__(self, name: str) -> None:
        """Make it; the name is for messages."""
        self._name = name
        self._seen: set[object] = set()
        self._captured: dict[object, _Captured | None] = {}  # None where it could not be
        self._gradients: Gradients = ()

    def __call__(self, run: Pass, inputs: Inputs) -> tuple[Tensor, Gradients]:
        """Return loss and gradients, which are valid until this is called again or another pass replayed.

        Args:
            run: The pass, always the same.
            inputs: What it is run on.
        """
        tensors = _tensors(inputs)
        shape = tuple((name, tensor.shape, tensor.dtype) for name, tensor in tensors.items())
        if shape not in self._seen:
            self._seen.add(shape)
            return run(inputs)
        if shape not in self._captured:
            drawn = torch.cuda.get_rng_state()
            self._captured[shape] = self._capture(run, inputs)
            torch.cuda.set_rng_state(drawn)  # so that dropout is what it would have been
        captured = self._captured[shape]
        if captured is None:
            return run(inputs)
        for name, target in _tensors(captured.inputs).items():
            target.copy_(tensors[name], non_blocking=True)
        captured.graph.replay()
        return captured.loss, self._gradients

    def _capture(self, run: Pass, inputs: Inputs) -> _Captured | None:
        static = dataclasses.replace(inputs, **{name: tensor.clone() for name, tensor in _tensors(inputs).items()})
        try:
            rehearsed = _rehearse(run, static)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = next(iter(str(error).splitlines()), "")
            warnings.warn(f"{self._name} learns without a CUDA graph, which is slower: {reason}", stacklevel=2)
            return None
        if not self._gradients:
            self._gradients = tuple(None if each is None else torch.empty_like(each) for each in rehearsed)
        del rehearsed  # its memory is none of the graph's
        graph = torch.cuda.CUDAGraph()
        # Threads that read and pin batches meanwhile are none of its concern.
        with torch.cuda.graph(graph, pool=_memory().pool(), capture_error_mode="thread_local"):
            loss, gradients = run(static)
            torch._foreach_copy_(_present(self._gradients), _present(gradients))
        return _Captured(graph=graph, inputs=static, loss=loss)


def _rehearse(run: Pass, inputs: Inputs) -> Gradients:
    """Run a pass as it will be captured, where a library may set up workspaces of its own; return its gradients.

    A capture that failed would leave the allocator and the generator of random numbers unusable.

    Raises:
        RuntimeError: The pass waits for the GPU, which none that is captured may.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(action="ignore"):  # it says that it may miss some
        torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.cuda.stream(stream):
            _, gradients = run(inputs)
    finally:
        torch.cuda.set_sync_debug_mode(mode)
        torch.cuda.current_stream().wait_stream(stream)
    return gradients


def _tensors(inputs: Inputs) -> dict[str, Tensor]:
    return {name: value for name, value in vars(inputs).items() if value is not None}


def _present(gradients: Gradients) -> list[Tensor]:
    return [each for each in gradients if each is not None]


@functools.cache
def _memory() -> torch.cuda.CUDAGraph:
    """Return a graph that is as good as empty, whose pool of memory all captures share and which keeps it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        torch.zeros((), device="cuda")
    return graph
