"""How a call is issued: kernel by kernel, as a CUDA graph that was captured once, or through torch.compile."""

from collections.abc import Callable

import torch
from torch import Tensor

from mixers.base import SequenceModel
from mixers.errors import UserError, unknown_name

EXECUTIONS = ("eager", "graph", "compile")

_CALLS_BEFORE_CAPTURE = 2  # on the capturing stream, where a library may set up workspaces of its own


def check_execution(name: str, *, device_type: str) -> None:
    """Check that there is such an execution on this device.

    Raises:
        UserError: There is not.
    """
    if name not in EXECUTIONS:
        raise unknown_name("execution", name, EXECUTIONS)
    if name == "graph" and device_type != "cuda":
        raise UserError("--execution graph needs a GPU: it replays CUDA graphs", hint="Take eager or compile.")


def callable_model(model: SequenceModel, execution: str) -> Callable[[Tensor], Tensor]:
    """Return the model as it is called before any capture: through torch.compile, or itself."""
    return torch.compile(model) if execution == "compile" else model


def bind(model: Callable[[Tensor], Tensor], x: Tensor, *, execution: str) -> Callable[[], object]:
    """Return what issues one inference on an input.

    For ``graph`` this captures: the memory that a replay uses is allocated here, and stays until the call is dropped.

    Args:
        model: What ``callable_model`` returned; it must have been warmed up.
        x: Features, (B, L, D).
        execution: ``eager``, ``graph`` or ``compile``.

    Raises:
        RuntimeError: The model cannot be captured.
    """

    def call() -> Tensor:
        with torch.inference_mode():
            return model(x)

    return _capture(call) if execution == "graph" else call


def _capture(call: Callable[[], Tensor]) -> Callable[[], object]:
    try:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_CALLS_BEFORE_CAPTURE):
                call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = call()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise RuntimeError(f"cannot be captured as a CUDA graph: {reason}") from error

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay
