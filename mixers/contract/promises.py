"""The promises of the contract. Each check returns whether a model keeps one, with the figure behind it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mixers.base import Mixer, SequenceModel
from mixers.contract.agreement import exact, output_and_gradients, output_error, relative_error

PARAMETERS_WITHIN = 0.01  # of the size of the matched stack


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Whether a promise is kept.

    Attributes:
        kept: None if that cannot be checked here.
        measured: The figure, or why there is none.
    """

    kept: bool | None
    measured: str


def shape(model: SequenceModel, x: Float[Tensor, "B L D"]) -> Finding:
    """The output has the shape of the input, is finite, and is zero nowhere."""
    with torch.no_grad():
        y = model(x)
    kept = y.shape == x.shape and y.dtype == x.dtype and bool(y.isfinite().all()) and bool((y != 0).all())
    return Finding(kept=kept, measured=f"{y.dtype} of {tuple(y.shape)}, {y.isfinite().double().mean():.0%} finite")


def causality(
    model: SequenceModel, x: Float[Tensor, "B L D"], *, at: int, causal: bool, tolerance: float = 1e-12
) -> Finding:
    """A change of all frames from one on moves none before it, or in a model that sees the whole clip the first too.

    Args:
        model: A mixer or a stack.
        x: Its input.
        at: The first frame that is changed.
        causal: Whether no frame may see a later one.
        tolerance: How far a frame may move by rounding, as a fraction of the output.
    """
    changed = x.clone()
    changed[:, at:] += 1
    with torch.no_grad():
        y, moved = model(x).double(), model(changed).double()
    moves = (moved - y).norm(dim=(0, 2)) / y.norm(dim=(0, 2))  # (L,)
    earlier, first, later = float(moves[:at].max()), float(moves[0]), float(moves[at:].max())
    kept = later > tolerance and (earlier <= tolerance if causal else first > tolerance)
    seen = f"earlier frames move by {earlier:.1e}" if causal else f"the first frame moves by {first:.1e}"
    return Finding(kept=kept, measured=f"{seen}, later ones by {later:.1e}")


def padding(model: SequenceModel, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"], *, tolerance: float) -> Finding:
    """Real frames of a padded batch give what they give alone, and padded ones give zeros."""
    with torch.no_grad():
        y = model(x, mask)
        alone = [model(x[row : row + 1, real])[0] for row, real in enumerate(mask) if real.any()]
    zeros = bool((y[~mask] == 0).all())
    error = relative_error(y[mask], torch.cat(alone)) if alone else 0.0
    measured = f"error {error:.1e}, at most {tolerance:g}; padded frames are {'zero' if zeros else 'not zero'}"
    return Finding(kept=zeros and error <= tolerance, measured=measured)


def agreement(mixer: Mixer, x: Float[Tensor, "B L D"], *, tolerance: float) -> Finding:
    """The output is that of the reference in float64."""
    error = output_error(mixer, x)
    return Finding(kept=error <= tolerance, measured=f"error {error:.1e}, at most {tolerance:g}")


def gradients(
    mixer: Mixer, x: Float[Tensor, "B L D"], upstream: Float[Tensor, "B L D"], *, tolerance: float
) -> Finding:
    """Input and all parameters have gradients that are finite, not all zero, and those of the reference in float64."""
    _, found = output_and_gradients(mixer, mixer, x, upstream)
    reference = exact(mixer)
    _, expected = output_and_gradients(reference, reference, x.double(), upstream.double())
    if without := sorted(name for name in expected if name not in found or not found[name].any()):
        return Finding(kept=False, measured=f"no gradient of {', '.join(without)}")
    if endless := sorted(name for name, gradient in found.items() if not gradient.isfinite().all()):
        return Finding(kept=False, measured=f"not finite: {', '.join(endless)}")
    errors = {name: relative_error(found[name], expected[name]) for name in expected}
    worst = max(errors, key=errors.__getitem__)
    measured = f"error {errors[worst]:.1e} of {worst}, at most {tolerance:g}"
    return Finding(kept=found.keys() == expected.keys() and errors[worst] <= tolerance, measured=measured)


def derivatives(model: SequenceModel, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Finding:
    """The gradients are the derivatives, by finite differences in float64."""
    parameters = dict(model.named_parameters())

    def forward(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(zip(parameters, values, strict=True)), (x, mask))  # type: ignore[no-any-return]

    inputs = x.detach().clone().requires_grad_(), *parameters.values()
    kept = torch.autograd.gradcheck(forward, inputs, fast_mode=True, raise_exception=False)
    return Finding(kept=kept, measured="equal to finite differences" if kept else "unlike finite differences")


def same_parameters(layers: Mapping[str, Mixer]) -> Finding:
    """All implementations have parameters of the same names and shapes."""
    shapes = {
        name: {key: tuple(value.shape) for key, value in layer.named_parameters()} for name, layer in layers.items()
    }
    first = next(iter(shapes.values()))
    differing = [name for name, found in shapes.items() if found != first]
    counts = {name: layer.parameter_count() for name, layer in layers.items()}
    return Finding(kept=not differing, measured=", ".join(f"{name} {count:,}" for name, count in counts.items()))


def size(parameters: int, *, target: int) -> Finding:
    """A stack has the number of parameters that it is to have."""
    apart = parameters / target - 1
    return Finding(kept=abs(apart) <= PARAMETERS_WITHIN, measured=f"{parameters:,}, {apart:+.2%} from {target:,}")


def arithmetic(model: SequenceModel, x: Float[Tensor, "B L D"]) -> Finding:
    """The operations of the projections are those that PyTorch counts. Those of the mixing depend on its form."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    counted = counter.get_flop_counts()["Global"]
    batched = sum(flops for operation, flops in counted.items() if operation == torch.ops.aten.bmm)
    projections = sum(counted.values()) - batched
    sizes = {"batch": x.shape[0], "frames": x.shape[1]}
    mixing = model.passes * model.mixing_flops(**sizes)
    stated = model.flops(**sizes) - mixing
    measured = f"projections: {stated:,} stated, {projections:,} counted; mixing: {mixing:,} stated"
    return Finding(kept=stated == projections, measured=f"{measured}, {batched:,} counted in products")


def growth(model: SequenceModel, *, frames: Sequence[int] = (1000, 2000)) -> Finding:
    """Arithmetic between frames grows at least with the length and at most with its square, and with the sequences.

    There may be none, since linear layers and convolutions are counted by themselves.
    """
    short, long = (model.mixing_flops(batch=1, frames=each) for each in frames)
    if short < 0 or long < 0:
        return Finding(
            kept=False, measured=f"negative: {short:,} at {frames[0]:,} frames and {long:,} at {frames[1]:,}"
        )
    in_batch = model.flops(batch=3, frames=10) == 3 * model.flops(batch=1, frames=10)
    if short == long == 0:
        return Finding(kept=in_batch, measured="none between frames")
    power = math.log(long / short, frames[1] / frames[0]) if short and long else math.inf
    kept = 1 <= round(power, 6) <= 2 and in_batch
    return Finding(kept=kept, measured=f"with the length to the power of {power:.2f}")
