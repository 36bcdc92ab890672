"""A learner's forward and backward pass as CUDA graphs: one launch instead of hundreds.

Without them, the host's launches limit the speed of steps on small batches. A graph reads its inputs from the places in
memory where they were when it was captured. `Stage` gives inputs of one shape the same places, once for all learners.
There are few shapes, since texts and whole recordings are padded to multiples.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.accuracy.inputs.feed import Inputs

Gradients = tuple[Tensor | None, ...]
Pass = Callable[[Inputs], tuple[Tensor, Gradients]]  # returns the loss and the parameters' gradients


class Stage:
    """Fixed places in memory for the inputs of steps."""

    def __init__(self) -> None:
        self._places: dict[object, Tensor] = {}

    def __call__(self, inputs: Inputs) -> Inputs:
        """Return the inputs at their places; they are valid until the next call. On a CPU they stay where they are."""
        if inputs.labels.device.type != "cuda":
            return inputs
        tensors = _tensors(inputs)
        return dataclasses.replace(inputs, **{name: self._put(name, tensor) for name, tensor in tensors.items()})

    def _put(self, name: str, tensor: Tensor) -> Tensor:
        key = name, tensor.shape, tensor.dtype
        if key not in self._places:
            self._places[key] = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
        return self._places[key].copy_(tensor, non_blocking=True)


@dataclass(frozen=True, kw_only=True)
class _Captured:
    """A graph, the loss that it writes, and what it reads besides inputs and parameters."""

    graph: torch.cuda.CUDAGraph
    loss: Tensor
    tables: list[Tensor]


class Replayed:
    """A pass that is captured when inputs of one shape come from the same places for the second time.

    The first time compiles kernels. All captures share their working memory, since learners take their steps one after
    another. The captures of one pass also share the memory of its gradients.
    """

    def __init__(self, name: str, model: nn.Module) -> None:
        """Begin without captures.

        Args:
            name: For messages.
            model: What the pass runs through.
        """
        self._name, self._model = name, model
        self._seen: set[object] = set()
        self._captured: dict[object, _Captured | None] = {}  # None where capture failed
        self._gradients: Gradients = ()

    def __call__(self, run: Pass, inputs: Inputs) -> tuple[Tensor, Gradients]:
        """Return loss and gradients. They are valid until the next call or until another pass is replayed.

        Args:
            run: The pass, always the same.
            inputs: Its inputs.
        """
        places = tuple(
            (name, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
            for name, tensor in _tensors(inputs).items()
        )
        if places not in self._seen:
            self._seen.add(places)
            return run(inputs)
        if places not in self._captured:
            random_state = torch.cuda.get_rng_state()
            self._captured[places] = self._capture(run, inputs)
            torch.cuda.set_rng_state(random_state)  # so that dropout is the same as without a capture
        captured = self._captured[places]
        if captured is None:
            return run(inputs)
        captured.graph.replay()
        return captured.loss, self._gradients

    def _capture(self, run: Pass, inputs: Inputs) -> _Captured | None:
        try:
            rehearsed = _rehearse(run, inputs)
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
            loss, gradients = run(inputs)
            torch._foreach_copy_(_present(self._gradients), _present(gradients))
        return _Captured(graph=graph, loss=loss, tables=self._tables())

    def _tables(self) -> list[Tensor]:
        """Return the tensors that modules keep besides parameters and buffers, such as angles of rotary positions.

        A longer sequence makes a module replace them. The graph still reads the old ones, so they must live as long.
        """
        return [value for module in self._model.modules() for value in vars(module).values() if torch.is_tensor(value)]


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
