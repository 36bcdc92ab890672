"""Our own kernels on a GPU, as operators: at any length, in the precisions of a sweep, with gates at their limits."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.efficiency import isolation
from bench.efficiency.measurement.execution import bind, callable_model, capture
from mixers import stack
from mixers.contract.agreement import relative_error as error
from mixers.kernels import operator
from mixers.support.precision import use_precision
from tests.mixers.kernels.test_kernels import attend, decay
from tests.mixers.test_gpu import few_candidates, poison

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]

LENGTHS = (1, 2, 15, 63, 64, 65, 499, 2749, 19_999)
DTYPES = (torch.bfloat16, torch.float32)  # the products of float32 are in TF32 by default


@pytest.fixture(scope="module", autouse=True)
def _few_candidates() -> Iterator[None]:
    with few_candidates():
        yield


def attention_inputs(
    frames: int, dtype: torch.dtype, *, gate: float = 0.0, scale: float = 1.0, width: int = 256
) -> list[Tensor]:
    """Four heads; log forget gates are float32 in every precision."""
    generator = torch.Generator("cuda").manual_seed(frames)
    q, k, v = (torch.randn(1, frames, 4, width, device="cuda", generator=generator) for _ in range(3))
    f = torch.randn(1, frames, 4, device="cuda", generator=generator)
    return [(scale * q).to(dtype), (scale * k).to(dtype), v.to(dtype), F.logsigmoid(f + gate)]


def exact_attention(inputs: Sequence[Tensor], upstream: Tensor) -> list[Tensor]:
    """The output and the gradients in float64, 512 queries at a time."""
    q, k, v, f = doubles = [value.double().requires_grad_() for value in inputs]
    frames, outputs = q.shape[1], []
    for start in range(0, frames, 512):
        rows = slice(start, start + 512)
        kept = f.cumsum(1).transpose(1, 2)  # (B, H, L)
        scores = torch.einsum("bihk,bjhk->bhij", q[:, rows], k) / q.shape[-1] ** 0.5
        scores = scores + kept[..., rows, None] - kept[..., None, :]
        future = torch.arange(frames, device="cuda") > torch.arange(frames, device="cuda")[rows, None]
        o = torch.einsum("bhij,bjhv->bihv", scores.masked_fill(future, -torch.inf).softmax(-1), v)
        o.backward(upstream[:, rows].double())
        outputs.append(o.detach())
    return [torch.cat(outputs, 1), *(value.grad for value in doubles if value.grad is not None)]


def results(function: Callable[..., Tensor], inputs: Sequence[Tensor], upstream: Tensor) -> list[Tensor]:
    inputs = [value.detach().requires_grad_() for value in inputs]
    poison()
    o = function(*inputs)
    poison()
    return [o.detach(), *torch.autograd.grad(o, inputs, upstream)]


@pytest.mark.parametrize("gate", [0.0, 8.0], ids=["usual", "nearly open"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("frames", LENGTHS)
def test_attention(frames: int, dtype: torch.dtype, gate: float) -> None:
    inputs = attention_inputs(frames, dtype, gate=gate)
    upstream = torch.randn_like(inputs[0])
    found = results(operator("fox"), inputs, upstream)
    errors = [error(value, exact) for value, exact in zip(found, exact_attention(inputs, upstream), strict=True)]
    print(f"{frames} {dtype} {gate}:", *(f"{each:.1e}" for each in errors))
    bounds = (5e-3, 1e-2, 3e-2) if dtype == torch.bfloat16 else (2e-3, 4e-3, 1e-2)
    if frames > 2:  # with fewer, some gradients are only rounding errors
        assert errors[0] < bounds[0]
        assert max(errors[1:4]) < bounds[1]
        assert errors[4] < bounds[2]
    else:
        assert errors[0] < bounds[0]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [16, 24, 64, 128, 192])
def test_attention_of_narrower_heads(width: int, dtype: torch.dtype) -> None:
    inputs = attention_inputs(499, dtype, width=width)
    upstream = torch.randn_like(inputs[0])
    found = results(operator("fox"), inputs, upstream)
    errors = [error(value, exact) for value, exact in zip(found, exact_attention(inputs, upstream), strict=True)]
    print(f"{width} {dtype}:", *(f"{each:.1e}" for each in errors))
    assert max(errors[:4]) < 1e-2
    assert errors[4] < 3e-2


@pytest.mark.parametrize(("gate", "scale"), [(-1000.0, 1.0), (1000.0, 1.0), (0.0, 10.0)], ids=["shut", "open", "large"])
def test_attention_at_its_limits(gate: float, scale: float) -> None:
    inputs = attention_inputs(2749, torch.bfloat16, gate=gate, scale=scale)
    found = results(operator("fox"), inputs, torch.randn_like(inputs[0]))
    assert all(value.isfinite().all() for value in found)
    assert error(found[0], attend(*(value.double() for value in inputs))) < 1e-2


def test_attention_gives_the_same_bits_again() -> None:
    inputs = attention_inputs(2749, torch.bfloat16)
    upstream = torch.randn_like(inputs[0])
    first, second = (results(operator("fox"), inputs, upstream) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_attention_of_inputs_that_are_not_aligned() -> None:
    """As slices can be; TMA needs addresses that are multiples of 16 bytes."""
    inputs = attention_inputs(65, torch.bfloat16)
    moved = [torch.cat([value.new_zeros(1), value.flatten()])[1:].view(value.shape) for value in inputs]
    assert all(value.data_ptr() % 16 for value in moved)
    upstream = torch.randn_like(inputs[0])
    expected, found = (results(operator("fox"), given, upstream) for given in (inputs, moved))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_attention_takes_little_memory_beyond_its_output() -> None:
    inputs = attention_inputs(19_999, torch.bfloat16)
    operator("fox")(*inputs)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    o = operator("fox")(*inputs)
    assert torch.cuda.max_memory_allocated() - before < 1.05 * o.nbytes


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("frames", LENGTHS)
def test_decays(frames: int, dtype: torch.dtype) -> None:
    generator = torch.Generator("cuda").manual_seed(frames)
    logits = (2 * torch.randn(2, frames, 4, 256, device="cuda", generator=generator)).to(dtype).requires_grad_()
    exact = logits.detach().double().requires_grad_()
    upstream = [torch.randn_like(logits) for _ in range(2)]
    poison()
    found = operator("lightnet")(logits)
    poison()
    (dlogits,) = torch.autograd.grad(found, logits, upstream)
    expected = decay(exact.flatten(2))
    (expected_dlogits,) = torch.autograd.grad(expected, exact, [each.flatten(2).double() for each in upstream])
    errors = [error(value.detach().flatten(2), each.detach()) for value, each in zip(found, expected, strict=True)]
    print(f"{frames} {dtype}:", *(f"{each:.1e}" for each in errors), f"{error(dlogits, expected_dlogits):.1e}")
    bound = 4e-3 if dtype == torch.bfloat16 else 1e-5
    assert errors[0] < bound
    if frames > 1:
        assert errors[1] < bound
        assert error(dlogits, expected_dlogits) < 3 * bound


@pytest.mark.parametrize("name", ["fox", "lightnet"])
@pytest.mark.parametrize("execution", ["graph", "compile"])
def test_layers_can_be_captured_and_compiled(name: str, execution: str) -> None:
    assert isolation.call(error_of_execution, name, execution) < 1e-2


def error_of_execution(name: str, execution: str) -> float:
    """The error of a layer against a plain call, in a process without shape checks, which would be captured too."""
    with few_candidates():
        model = stack.build(name, implementation="triton", preset="layer").to("cuda", torch.bfloat16)
        x = torch.randn(1, 499, 1024, device="cuda", dtype=torch.bfloat16)
        with torch.inference_mode():
            expected = model(x)
        call = bind(callable_model(model, execution=execution), x)
        y = capture(call)() if execution == "graph" else call()
    assert isinstance(y, Tensor)
    return error(y, expected.double())


@pytest.mark.skipif(shutil.which("compute-sanitizer") is None, reason="needs compute-sanitizer from the CUDA toolkit")
@pytest.mark.parametrize("precision", ["bfloat16", "tf32", "float32"])
def test_kernels_access_only_their_tensors(precision: str) -> None:
    work = f"from {__name__} import run_all_kernels; run_all_kernels({precision!r})"
    command = ["compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "1", sys.executable, "-c", work]
    # so that every tensor is an allocation of its own, and access beyond its end is seen
    environment = os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert outcome.returncode == 0, outcome.stdout[-4000:] + outcome.stderr[-4000:]
    assert "ERROR SUMMARY: 0 errors" in outcome.stdout


def run_all_kernels(precision: str) -> None:
    """Run every kernel forward and backward, at lengths near its tiles', with padding, and with shared keys."""
    use_precision(precision)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    with few_candidates():
        for frames in (1, 65, 300):
            q, k, v, f = attention_inputs(frames, dtype)
            real = torch.arange(frames, device="cuda")[None] < max(1, frames - 7)
            for heads, mask in ((4, None), (4, real), (2, None)):
                given = [each.requires_grad_() for each in (q, k[:, :, :heads], v[:, :, :heads], f)]
                o = operator("fox")(*given, mask)
                torch.autograd.grad(o, given, torch.randn_like(o))
            logits = torch.randn(1, frames, 1000, device="cuda", dtype=dtype, requires_grad=True)
            found = operator("lightnet")(logits)
            torch.autograd.grad(found, logits, [torch.randn_like(each) for each in found])
    torch.cuda.synchronize()
