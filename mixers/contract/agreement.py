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


def relative_error(value: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference over the norm of what is expected."""
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


def output_error(mixer: Mixer, x: Float[Tensor, "B L D"]) -> float:
    """Return the relative error of the output, without gradients."""
    with torch.inference_mode():
        return relative_error(mixer(x), exact(mixer)(x.double()))


def training_error(mixer: Mixer, x: Float[Tensor, "B L D"], upstream: Float[Tensor, "B L D"]) -> float:
    """Return the largest relative error of the output, of the input's gradient, and of the input after both passes.

    Parameters get no gradients.
    """
    pairs = []
    for each, dtype in ((mixer, x.dtype), (exact(mixer), torch.float64)):
        leaf = x.detach().to(dtype, copy=True).requires_grad_()
        y = each(leaf)
        pairs.append((y.detach(), *torch.autograd.grad(y, leaf, upstream.to(dtype)), leaf.detach()))
    errors = [relative_error(value, expected) for value, expected in zip(*pairs, strict=True)]
    return float(torch.tensor(errors, dtype=torch.float64).max())  # NaN if one is, unlike Python's


def output_and_gradients(
    mixer: Mixer, forward: Callable[[Tensor], Tensor], x: Float[Tensor, "B L D"], upstream: Float[Tensor, "B L D"]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the output, and the gradients of the input, ``x``, and of the parameters by name.

    Raises:
        ValueError: A pass changed its input, which others may still need.
    """
    mixer.zero_grad()
    leaf = x.clone().requires_grad_()
    y = forward(leaf)
    y.backward(upstream)  # type: ignore[no-untyped-call]
    if not torch.equal(leaf, x):
        raise ValueError("a pass changed its input")
    assert leaf.grad is not None
    gradients = {name: parameter.grad for name, parameter in mixer.named_parameters() if parameter.grad is not None}
    return y.detach(), {"x": leaf.grad, **gradients}
