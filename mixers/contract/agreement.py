"""How far a mixer is from its reference: relative errors by norm, ‖y - y_ref‖ / ‖y_ref‖, of output and gradients."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mixers.base import Mixer


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """The largest relative errors of an implementation that conforms."""

    output: float
    gradients: float


# The limits of the GPU tests in tests/mixers. In float32, sums over all frames lose most: a gradient of a bias.
TOLERANCES = {
    "float64": Tolerance(output=1e-10, gradients=1e-9),
    "float32": Tolerance(output=1e-5, gradients=3e-4),
    "tf32": Tolerance(output=3e-3, gradients=6e-3),
    "native": Tolerance(output=3e-3, gradients=6e-3),
    "bfloat16": Tolerance(output=1.5e-2, gradients=3e-2),
}


class BrokenPromiseError(Exception):
    """A pass does what the contract forbids. The message says what."""


def relative_error(value: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference over the norm of what is expected.

    Raises:
        BrokenPromiseError: Their shapes differ.
    """
    if value.shape != expected.shape:
        raise BrokenPromiseError(f"a result is {tuple(value.shape)}, not {tuple(expected.shape)}")
    expected = expected.double()
    return float((value.double() - expected).norm() / expected.norm())


def exact(mixer: Mixer) -> Mixer:
    """Return the reference of a mixer in float64, on its device, with its weights and what its frames see."""
    device = next(mixer.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device:
        reference = type(mixer)(mixer.config).double()
    reference.load_state_dict(mixer.state_dict())
    reference.see(mixer.sees)
    return reference.train(mixer.training)


def output_of(forward: Callable[[Tensor], object], x: Float[Tensor, "B L D"]) -> Tensor:
    """Return the output for an input, which must have the input's shape and dtype.

    Raises:
        BrokenPromiseError: It is something else, or the pass changed its input.
    """
    before = x.detach().clone()
    y = forward(x)
    _check_unchanged(x, before)
    return checked_output(y, shape=tuple(x.shape), dtype=x.dtype)


def checked_output(y: object, *, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return an output.

    Raises:
        BrokenPromiseError: It is no tensor, or of another shape or dtype.
    """
    if not isinstance(y, Tensor):
        raise BrokenPromiseError(f"output is of type {type(y).__name__}, not a tensor")
    if y.shape != shape:
        raise BrokenPromiseError(f"output is {tuple(y.shape)}, not {shape}")
    if y.dtype != dtype:
        raise BrokenPromiseError(f"output is {y.dtype}, not {dtype}")
    return y


def _check_unchanged(x: Tensor, before: Tensor) -> None:
    if not torch.equal(x, before):
        raise BrokenPromiseError("a pass changed its input")


def output_error(mixer: Mixer, x: Float[Tensor, "B L D"]) -> float:
    """Return the relative error of the output, without gradients.

    Raises:
        BrokenPromiseError: As `output_of`.
    """
    with torch.inference_mode():
        return relative_error(output_of(mixer, x.clone()), output_of(exact(mixer), x.to(torch.float64, copy=True)))


def training_error(mixer: Mixer, x: Float[Tensor, "B L D"], upstream: Float[Tensor, "B L D"]) -> float:
    """Return the largest relative error of the output and of the input's gradient. Parameters get no gradients.

    Raises:
        BrokenPromiseError: As `output_of`.
    """
    pairs = []
    for each, dtype in ((mixer, x.dtype), (exact(mixer), torch.float64)):
        leaf = x.detach().to(dtype, copy=True).requires_grad_()
        given = leaf.clone()  # PyTorch refuses to change a leaf in place, with an error of its own
        y = output_of(each, given)
        pairs.append((y.detach(), *torch.autograd.grad(y, leaf, upstream.to(dtype))))
        _check_unchanged(given, leaf)
    errors = [relative_error(value, expected) for value, expected in zip(*pairs, strict=True)]
    return float(torch.tensor(errors, dtype=torch.float64).max())  # NaN if one is, unlike Python's


def output_and_gradients(
    mixer: Mixer, forward: Callable[[Tensor], Tensor], x: Float[Tensor, "B L D"], upstream: Float[Tensor, "B L D"]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the output, and the gradients of the input, ``x``, and of the parameters by name.

    Raises:
        BrokenPromiseError: As `output_of`.
    """
    mixer.zero_grad()
    leaf = x.clone().requires_grad_()
    given = leaf.clone()
    y = output_of(forward, given)
    y.backward(upstream)  # type: ignore[no-untyped-call]
    _check_unchanged(given, leaf)
    assert leaf.grad is not None
    gradients = {name: parameter.grad for name, parameter in mixer.named_parameters() if parameter.grad is not None}
    return y.detach(), {"x": leaf.grad, **gradients}
