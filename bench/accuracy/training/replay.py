"""A learner's whole step as CUDA graphs: one launch instead of hundreds.

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
from bench.garbage import collecting_no_garbage

Differentiate = Callable[[Inputs], Tensor]  # sets the gradients and returns the loss


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
    """A step that is captured when inputs of one shape come from the same places for the second time.

    The first time compiles kernels and makes the state of the optimiser. All captures share their working memory, since
    learners take their steps one after another.
    """

    def __init__(self, name: str, model: nn.Module, differentiate: Differentiate, update: Callable[[], None]) -> None:
        """Begin without captures.

        Args:
            name: For messages.
            model: What is trained.
            differentiate: Sets the gradients of the model.
            update: Changes the parameters by them, and removes them.
        """
        self._name, self._model = name, model
        self._differentiate, self._update = differentiate, update
        self._seen: set[object] = set()
        self._captured: dict[object, _Captured | None] = {}  # None where capture failed

    def __call__(self, inputs: Inputs) -> Tensor:
        """Take a step and return the loss before it, which is valid until another step is replayed."""
        places = tuple(
            (name, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
            for name, tensor in _tensors(inputs).items()
        )
        if places not in self._seen:
            self._seen.add(places)
            return self._take(inputs)
        if places not in self._captured:
            random_state = torch.cuda.get_rng_state()
            self._captured[places] = self._capture(inputs)
            torch.cuda.set_rng_state(random_state)  # so that dropout is the same as without a capture
        captured = self._captured[places]
        if captured is None:
            return self._take(inputs)
        captured.graph.replay()
        return captured.loss

    def _take(self, inputs: Inputs) -> Tensor:
        loss = self._differentiate(inputs)
        self._update()
        return loss

    def _capture(self, inputs: Inputs) -> _Captured | None:
        try:
            self._rehearse(inputs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = next(iter(str(error).splitlines()), "")
            warnings.warn(f"{self._name} trains without a CUDA graph, which is slower: {reason}", stacklevel=2)
            return None
        graph = torch.cuda.CUDAGraph()
        # Other threads may read and pin batches during the capture.
        capturing = torch.cuda.graph(graph, pool=_memory().pool(), capture_error_mode="thread_local")
        with collecting_no_garbage(), capturing:
            loss = self._take(inputs)
        return _Captured(graph=graph, loss=loss, tables=self._tables())

    def _rehearse(self, inputs: Inputs) -> None:
        """Differentiate once as in the capture, so that libraries allocate their workspaces; keep no gradient.

        A failed capture would leave the allocator and the random number generator unusable: failure must come before.

        Raises:
            RuntimeError: The pass waits for the GPU, which a captured one must not.
        """
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        mode = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(action="ignore"):  # the mode warns that it may miss some waits
            torch.cuda.set_sync_debug_mode("error")
        try:
            with torch.cuda.stream(stream):
                self._differentiate(inputs)
        finally:
            torch.cuda.set_sync_debug_mode(mode)
            torch.cuda.current_stream().wait_stream(stream)
            self._model.zero_grad(set_to_none=True)

    def _tables(self) -> list[Tensor]:
        """Return the tensors that modules keep besides parameters and buffers, such as angles of rotary positions.

        A longer sequence makes a module replace them. The graph still reads the old ones, so they must live as long.
        """
        return [value for module in self._model.modules() for value in vars(module).values() if torch.is_tensor(value)]


def _tensors(inputs: Inputs) -> dict[str, Tensor]:
    return {name: value for name, value in vars(inputs).items() if value is not None}


@functools.cache
def _memory() -> torch.cuda.CUDAGraph:
    """Return an almost empty graph, which owns the memory pool that all captures share."""
    graph = torch.cuda.CUDAGraph()
    with collecting_no_garbage(), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        torch.zeros((), device="cuda")
    return graph
