"""Every implementation on a GPU against the reference in float64, at the sizes that are measured.

The tests look for right results, not for fast kernels: where no configuration of a kernel is prepared, they choose
among its two candidates that ask for the least, which compile in seconds where all of them take minutes.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import mixers
from bench.efficiency.cases import DTYPES
from mixers.base import Mixer, fla_layers

PRECISIONS = ("float32", "bfloat16")


def bounds(implementation: str, precision: str) -> tuple[float, float]:
    """Relative errors by norm: of the output, and the largest of the gradients.

    float32 stands for float32 tensors at every library's default, which for Triton's products is TF32. FlexAttention
    adds what rounding leaves of sums of log forget gates over thousands of frames.
    """
    if precision == "bfloat16":
        return 1.5e-2, 3e-2
    return {"fla": (2e-3, 4e-3), "flex": (2e-4, 2e-3)}.get(implementation, (5e-6, 1e-5))


pytestmark = pytest.mark.gpu


def measured_on_gpus() -> list[tuple[str, str]]:
    """Every mixer and implementation but the references that runs at 4 heads of width 256."""
    return [
        (name, implementation)
        for name in mixers.names()
        for implementation in mixers.load(name).implementations[1:]
        if not mixers.load(name).unavailable(implementation, mixers.load(name).presets["matched"], device_type="cuda")
    ]


on_gpu = pytest.mark.parametrize(("name", "implementation"), measured_on_gpus())


@pytest.fixture(scope="module", autouse=True)
def _few_candidates() -> Iterator[None]:
    from triton.runtime.autotuner import Autotuner

    fla_layers()
    every: Callable[..., list[Any]] = Autotuner.prune_configs

    def two_smallest(*args: Any) -> list[Any]:
        return sorted(every(*args), key=lambda config: (config.num_stages, sum(config.kwargs.values())))[:2]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Autotuner, "prune_configs", two_smallest)
        yield


@pytest.fixture(autouse=True)
def _compile_anew() -> None:
    torch.compiler.reset()  # dtypes, lengths and passes in one process would exceed the limit of recompilations


def poison() -> None:
    """Leave NaN in the memory that the next allocations get, so that an output nobody writes is seen."""
    torch.cuda.empty_cache()
    blocks = [torch.full((size,), float("nan"), device="cuda") for size in (2**28, *[2**17] * 64)]
    del blocks


def build(name: str, implementation: str, precision: str) -> Mixer:
    torch.manual_seed(0)
    mixer = mixers.load(name)
    return mixer(mixer.presets["matched"], implementation=implementation).to("cuda", DTYPES[precision])


def error(value: Tensor, expected: Tensor) -> float:
    return float((value.double() - expected).norm() / expected.norm())


def results(
    mixer: Mixer, forward: Callable[[Tensor], Tensor], x: Tensor, upstream: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The output, and the gradients of input and parameters by name."""
    mixer.zero_grad()
    x = x.clone().requires_grad_()
    y = forward(x)
    y.backward(upstream)
    assert x.grad is not None
    gradients = {name: parameter.grad for name, parameter in mixer.named_parameters() if parameter.grad is not None}
    return y.detach(), {"x": x.grad, **gradients}


@on_gpu
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("frames", [63, 499, 2749])
@pytest.mark.timeout(600)
def test_output_and_gradients(name: str, implementation: str, precision: str, frames: int) -> None:
    mixer = build(name, implementation, precision)
    generator = torch.Generator("cuda").manual_seed(frames)
    x, upstream = (
        torch.randn(1, frames, mixer.width, device="cuda", generator=generator).to(DTYPES[precision]) for _ in range(2)
    )
    poison()
    with torch.inference_mode():
        inferred = mixer(x)
    poison()
    y, gradients = results(mixer, mixer, x, upstream)
    gradients = {key: value.clone() for key, value in gradients.items()}

    exact = build(name, implementation, precision).double()
    expected, expected_gradients = results(exact, exact.reference, x.double(), upstream.double())
    errors = {key: error(gradients[key], value) for key, value in expected_gradients.items()}
    worst = max(errors, key=lambda key: errors[key])
    print(
        f"{name}/{implementation} {precision} {frames}: inference {error(inferred, expected):.1e}, "
        f"training {error(y, expected):.1e}, gradient of {worst} {errors[worst]:.1e}"
    )
    of_output, of_gradients = bounds(implementation, precision)
    assert errors.keys() == gradients.keys()
    assert error(inferred, expected) < of_output
    assert error(y, expected) < of_output
    assert errors[worst] < of_gradients


@on_gpu
def test_a_padded_batch_equals_each_sequence_alone(name: str, implementation: str) -> None:
    mixer, lengths = build(name, implementation, "bfloat16"), (499, 63, 200)
    x = torch.randn(len(lengths), max(lengths), mixer.width, device="cuda").bfloat16()
    mask = torch.arange(x.shape[1], device="cuda") < torch.tensor(lengths, device="cuda")[:, None]
    with torch.inference_mode():
        y = mixer(x, mask)
        alone = torch.cat([mixer(x[row : row + 1, :length])[0] for row, length in enumerate(lengths)])
    assert (y[~mask] == 0).all()
    assert error(y[mask], alone.double()) < bounds(implementation, "bfloat16")[0]
