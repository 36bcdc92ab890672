"""How a call is issued: kernel by kernel, as a captured CUDA graph, or through torch.compile."""

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.garbage import collecting_no_garbage
from mixers.support import patches

EXECUTIONS = ("eager", "graph", "compile")
PASSES = ("inference", "training")

patches.cublas_warning_ignored()

_CALLS_BEFORE_CAPTURE = 2  # on a stream of their own, as PyTorch requires


def callable_model(model: nn.Module, execution: str) -> nn.Module:
    """Return the model as it is called before any capture: compiled for ``compile``, otherwise unchanged."""
    return torch.compile(model) if execution == "compile" else model  # type: ignore[return-value]


def bind(model: nn.Module, x: Tensor, *, pass_: str = "inference", text: Tensor | None = None) -> Callable[[], object]:
    """Return a function that issues one pass on an input.

    A training pass is forward, then backward from a random gradient of the output to the gradients of input and
    weights. These are returned and not kept.

    Args:
        model: From ``callable_model``.
        x: Features, (B, L, D).
        pass_: ``inference`` or ``training``.
        text: Features (B, N, D) that each call first appends to ``x``; None for none.
    """
    return _training(model, x, text) if pass_ == "training" else _inference(model, x, text)


def _inference(model: nn.Module, x: Tensor, text: Tensor | None) -> Callable[[], object]:
    def call() -> object:
        with torch.inference_mode():
            return model(_joined(x, text))

    return call


def _training(model: nn.Module, x: Tensor, text: Tensor | None) -> Callable[[], object]:
    inputs = [x.detach().requires_grad_(), *(weight for weight in model.parameters() if weight.requires_grad)]
    upstream = torch.randn_like(_joined(x, text))

    def call() -> object:
        y = model(_joined(inputs[0], text))
        return torch.autograd.grad(y, inputs, upstream, allow_unused=True)

    return call


def _joined(x: Tensor, text: Tensor | None) -> Tensor:
    return x if text is None else torch.cat((x, text), dim=1)  # (B, L + N, D)


def capture(call: Callable[[], object]) -> Callable[[], object]:
    """Return a function that replays a call as a CUDA graph. The graph keeps its memory until it is dropped.

    Args:
        call: From ``bind``; it must have been warmed up.

    Raises:
        RuntimeError: The call cannot be captured.
    """
    stream = _stream_of_captures()
    try:
        _rehearse(call, stream)
        graph = torch.cuda.CUDAGraph()
        with collecting_no_garbage(), torch.cuda.graph(graph, stream=stream):
            result = call()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise RuntimeError(f"cannot be captured as a CUDA graph: {reason}") from error

    return functools.partial(_replay, graph, result, call)


def _rehearse(call: Callable[[], object], stream: torch.cuda.Stream) -> None:
    """Run a call as it will be captured, so that libraries set up their workspaces, and refuse one that waits.

    A capture that failed would leave the allocator and the generator of random numbers unusable.

    Raises:
        RuntimeError: The call waits for the GPU, which a captured one must not.
    """
    stream.wait_stream(torch.cuda.current_stream())
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(action="ignore"):  # PyTorch warns that it may miss some waits
        torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.cuda.stream(stream):
            for _ in range(_CALLS_BEFORE_CAPTURE):
                call()
    finally:
        torch.cuda.set_sync_debug_mode(mode)
        torch.cuda.current_stream().wait_stream(stream)


def _replay(graph: torch.cuda.CUDAGraph, result: object, call: Callable[[], object]) -> object:  # noqa: ARG001
    """Replay a graph. The call is kept because every replay reads the tensors it holds."""
    graph.replay()
    return result


@functools.cache
def _stream_of_captures() -> torch.cuda.Stream:
    """Return one stream for all captures, since cuBLAS keeps a workspace of some 32 MiB for each stream."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]
