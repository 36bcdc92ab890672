"""What the tests of our kernels run in a process of its own, where Triton interprets them on the CPU.

`name` is the mixer that an operator is for.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from unittest import mock

import torch
from torch import Tensor

import mixers
from mixers.base import View
from mixers.fox import ForgettingConfig
from mixers.kernels import operator


def differentiate(
    name: str,
    inputs: Sequence[Tensor],
    upstream: Sequence[Tensor],
    mask: Tensor | None = None,
    full_float32: bool = False,
) -> tuple[list[Tensor], list[Tensor]]:
    """An operator's outputs, and the gradients of its inputs; attention also in the code path of full float32."""
    inputs = [value.requires_grad_() for value in inputs]
    with in_full_float32() if full_float32 else contextlib.nullcontext():
        outputs = operator(name)(*inputs, **({} if mask is None else {"mask": mask}))
        outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        gradients = torch.autograd.grad(outputs, inputs, list(upstream))
    return [output.detach() for output in outputs], list(gradients)


@contextlib.contextmanager
def in_full_float32() -> Iterator[None]:
    """The kernels take its code path. The products, which are sums of six on a GPU, are IEEE here."""
    from triton.runtime import interpreter

    from mixers.kernels.fox import operator as fox

    builder, sizes = interpreter.interpreter_builder, fox._sizes
    allowed = (*builder.options.allowed_dot_input_precisions, "bf16x6")
    options = dataclasses.replace(builder.options, allowed_dot_input_precisions=allowed)
    with (
        mock.patch.object(builder, "options", options),
        mock.patch.object(fox, "_sizes", lambda *args: sizes(*args) | {"PRODUCTS": "bf16x6"}),
    ):
        yield


def check_gradients(name: str, inputs: Sequence[Tensor]) -> bool:
    return bool(torch.autograd.gradcheck(operator(name), [value.requires_grad_() for value in inputs], fast_mode=True))


def check_operator(name: str, inputs: Sequence[Tensor | float | None]) -> dict[str, str]:
    """PyTorch's own checks of what an operator states to torch.compile and autograd about itself."""
    registered = getattr(torch.ops.sbench, operator(name).__name__)
    arguments = tuple(value.requires_grad_() if isinstance(value, Tensor) else value for value in inputs)
    return dict(torch.library.opcheck(registered.default, arguments))


def compiled(name: str, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The outputs of an operator, plain and within torch.compile in one graph."""
    function = operator(name)
    return function(*inputs), torch.compile(function, fullgraph=True, backend="aot_eager")(*inputs)


def forgetting_layer(num_kv_heads: int | None, view: View, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """FoX on our kernels, and by its equations."""
    torch.manual_seed(0)
    config = dataclasses.replace(ForgettingConfig(), width=64, num_heads=4, num_kv_heads=num_kv_heads)
    layer = mixers.load("fox")(config, implementation="triton").double()
    layer.see(view)
    with torch.no_grad():
        return layer(x, mask), layer.reference(x, mask)
