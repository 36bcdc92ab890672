"""A learner's forward and backward pass as CUDA graphs: one launch instead of hundreds.

Without them, the host's launches limit the speed of steps on small batches. One graph is captured for each shape of the
inputs. There are few shapes, since texts are padded to a multiple of some tokens.
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
Pass = Callable[[Inputs], tuple[Tensor, Gradients]]  # returns the loss and the parameters' gradients


@dataclass(frozen=True, kw_only=True)
class _Captured:
    """A graph, the inputs that it reads and the loss that it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: Inputs
    loss: Tensor


class Replayed:
    """A pass that is captured when a shape of its inputs occurs for the second time; the first time compiles kernels.

    All captures share their working memory, since learners take their steps one after another. The captures of one pass
    also share the memory of its gradients.
    """

    def __init__(self, name: str) -> None:
        """Begin without captures; the name is for messages."""
        self._name = name
        self._seen: set[object] = set()
        self._captured: dict[object, _Captured | None] = {}  # None where capture failed
        self._gradients: Gradients = ()

    def __call__(self, run: Pass, inputs: Inputs) -> tuple[Tensor, Gradients]:
        """Return loss and gradients. They are valid until the next call or until another pass is replayed.

        Args:
            run: The pass, always the same.
            inputs: Its inputs.
        """
        tensors = _tensors(inputs)
        shape = tuple((name, tensor.shape, tensor.dtype) for name, tensor in tensors.items())
        if shape not in self._seen:
            self._seen.add(shape)
            return run(inputs)
        if shape not in self._captured:
            random_state = torch.cuda.get_rng_state()
            self._captured[shape] = self._capture(run, inputs)
            torch.cuda.set_rng_state(random_state)  # so that dropout is the same as without a capture
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
            warnings.warn(f"{self._name} trains without a CUDA graph, which is slower: {reason}", stacklevel=2)
            return None
        if not self._gradients:
            self._gradients = tuple(None if each is None else torch.empty_like(each) for each in rehearsed)
        del rehearsed  # so that its memory is free before the capture
        graph = torch.cuda.CUDAGraph()
        # Other threads may read and pin batches during the capture.
        with torch.cuda.graph(graph, pool=_memory().pool(), capture_error_mode="thread_local"):
            loss, gradients = run(static)
            torch._foreach_copy_(_present(self._gradients), _present(gradients))
        return _Captured(graph=graph, inputs=static, loss=loss)


def _rehearse(run: Pass, inputs: Inputs) -> Gradients:
    """Run a pass once as in the capture, so that libraries allocate their workspaces; return its gradients.

    A failed capture would leave the allocator and the random number generator unusable, so failure must come before.

    Raises:
        RuntimeError: The pass waits for the GPU, which a captured pass must not.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(action="ignore"):  # the mode warns that it may miss some waits
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
    """Return an almost empty graph, which owns the memory pool that all captures share."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        torch.zeros((), device="cuda")
    return graph
