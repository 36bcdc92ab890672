"""Our own kernels without a GPU: their results in Triton's interpreter, and what its compiler makes of them."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import pytest
import torch
import triton
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from mixers.kernels.fox import backward, forward, tiles
from mixers.kernels.lightnet import backward as decay_backward
from mixers.kernels.lightnet import forward as decay_forward
from mixers.kernels.lightnet.operator import CHANNELS
from tests.mixers.kernels import interpreted

Interpret = Callable[..., Any]


@pytest.fixture(scope="module")
def interpret() -> Iterator[Interpret]:
    """Calls a function where kernels are interpreted, which Triton decides when it is first imported."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            patch.setenv("TRITON_F32_DEFAULT", "ieee")
            pool.submit(int).result()  # starts the process, which keeps what it was told
        yield lambda function, *args: pool.submit(function, *args).result()


def attend(q: Tensor, k: Tensor, v: Tensor, log_forget: Tensor, mask: Tensor | None = None) -> Tensor:
    """The equations, with all scores at once."""
    frames, shared = q.shape[1], q.shape[2] // k.shape[2]
    k, v = (each.repeat_interleave(shared, dim=2) for each in (k, v))
    kept = log_forget.cumsum(1).transpose(1, 2)
    scores = torch.einsum("bihk,bjhk->bhij", q, k) / q.shape[-1] ** 0.5 + kept[..., :, None] - kept[..., None, :]
    seen = torch.ones(frames, frames, dtype=torch.bool, device=q.device).tril()
    seen = seen if mask is None else seen & mask[:, None, None, :]
    return torch.einsum("bhij,bjhv->bihv", scores.masked_fill(~seen, -torch.inf).softmax(-1).nan_to_num(), v)


def decay(logits: Tensor) -> tuple[Tensor, Tensor]:
    total = logits.logcumsumexp(1)
    return (logits - total).exp(), F.pad(total[:, :-1] - total[:, 1:], (0, 0, 1, 0))


def attention_inputs(
    *, batch: int = 1, frames: int, heads: int = 2, key_heads: int = 2, width: int = 16, gate: float = 0.0,
    spread: float = 1.0, scale: float = 1.0, dtype: torch.dtype = torch.float64,
) -> list[Tensor]:  # fmt: skip
    """Queries, keys, values and log forget gates; the seed is the length."""
    generator = torch.Generator().manual_seed(frames)
    q, k, v, f = (
        torch.randn(batch, frames, *rest, generator=generator, dtype=dtype)
        for rest in ((heads, width), (key_heads, width), (key_heads, width), (heads,))
    )
    return [q * scale, k * scale, v, F.logsigmoid(spread * f + gate)]


def errors(
    interpret: Interpret,
    name: str,
    exact: Callable[..., Any],
    inputs: list[Tensor],
    mask: Tensor | None = None,
    *,
    full_float32: bool = False,
) -> list[float]:
    """The errors of outputs and gradients against the equations in float64, relative to the largest of each."""
    generator = torch.Generator().manual_seed(1)
    doubles = [value.double().requires_grad_() for value in inputs]
    expected = exact(*doubles) if mask is None else exact(*doubles, mask)
    expected = [expected] if isinstance(expected, Tensor) else list(expected)
    real = 1.0 if mask is None else mask[..., None, None]
    upstream = [(torch.randn(e.shape, generator=generator, dtype=e.dtype) * real).to(inputs[0].dtype) for e in expected]
    outputs, gradients = interpret(interpreted.differentiate, name, inputs, upstream, mask, full_float32)
    expected_gradients = torch.autograd.grad(expected, doubles, [each.double() for each in upstream])
    pairs = [(value * real, exact.detach() * real) for value, exact in zip(outputs, expected, strict=True)]
    pairs += zip(gradients, expected_gradients, strict=True)
    return [float((value - exact).abs().max() / exact.abs().max().clamp(min=1.0)) for value, exact in pairs]


@pytest.mark.parametrize("frames", [1, 2, 15, 63, 64, 65])
def test_attention_equals_its_equations(interpret: Interpret, frames: int) -> None:
    inputs = attention_inputs(frames=frames)
    assert max(errors(interpret, "fox", attend, inputs)) < 1e-13


@settings(max_examples=10, deadline=None)
@given(full_float32=st.booleans(), data=st.data())
def test_attention_of_any_sizes(interpret: Interpret, full_float32: bool, data: st.DataObject) -> None:
    """Batches, shared keys, widths, gates nearly open and nearly shut, padding anywhere, both ways to load tiles."""
    key_heads, frames = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 50))
    inputs = attention_inputs(
        batch=data.draw(st.integers(1, 2)),
        frames=frames,
        heads=key_heads * data.draw(st.integers(1, 2)),
        key_heads=key_heads,
        width=data.draw(st.integers(1, 40)),
        gate=data.draw(st.floats(-10, 10)),
        spread=data.draw(st.floats(0, 30)),
    )
    shape = inputs[0].shape[0], frames
    real = data.draw(st.none() | st.lists(st.booleans(), min_size=shape[0] * frames, max_size=shape[0] * frames))
    mask = None if real is None else torch.tensor(real).view(shape[::-1]).T  # not contiguous
    assert max(errors(interpret, "fox", attend, inputs, mask, full_float32=full_float32)) < 1e-12


@pytest.mark.parametrize(
    ("gate", "spread", "scale"),
    [(0, 1, 1), (-1000, 1, 1), (1000, 1, 1), (0, 50, 1), (0, 1, 10)],
    ids=["usual", "shut", "open", "shut and open in turn", "large scores"],
)
def test_attention_in_float32_loses_no_digits(interpret: Interpret, gate: float, spread: float, scale: float) -> None:
    """Also where float32 could not resolve the sum of the gates."""
    inputs = attention_inputs(frames=130, gate=gate, spread=spread, scale=scale, dtype=torch.float32)
    assert max(errors(interpret, "fox", attend, inputs)) < (1e-5 if scale == 1 else 1e-3)


def test_attention_past_gates_that_are_shut_for_good(interpret: Interpret) -> None:
    q, k, v, log_forget = attention_inputs(frames=40, dtype=torch.float32)
    log_forget[:, 20] = -torch.inf
    outputs, gradients = interpret(interpreted.differentiate, "fox", [q, k, v, log_forget], [q])
    after = attend(q[:, 20:], k[:, 20:], v[:, 20:], F.pad(log_forget[:, 21:], (0, 0, 1, 0)))
    assert torch.allclose(outputs[0][:, 20:], after, atol=1e-5)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_attention_refuses_what_it_does_not_support(interpret: Interpret) -> None:
    with pytest.raises(ValueError, match=r"257 wide.*at most 256"):
        interpret(interpreted.differentiate, "fox", attention_inputs(frames=3, width=257), [])
    with pytest.raises(ValueError, match=r"3 heads of queries .* 2 heads of keys"):
        interpret(interpreted.differentiate, "fox", attention_inputs(frames=3, heads=3), [])


@pytest.mark.parametrize("num_kv_heads", [None, 2])
@pytest.mark.parametrize("view", ["past", "clip"])
def test_forgetting_layer(interpret: Interpret, num_kv_heads: int | None, view: str) -> None:
    x, mask = torch.randn(2, 40, 64, dtype=torch.float64), torch.rand(2, 40) > 0.3
    if view == "clip":
        mask = mask.sort(descending=True).values  # only padding at the end can stay where it is
    y, expected = interpret(interpreted.forgetting_layer, num_kv_heads, view, x, mask)
    assert torch.allclose(y, expected, atol=1e-6)  # its gates are float32


@pytest.mark.parametrize("frames", [1, 2, 31, 32, 33, 100])
def test_decays_equal_their_equations(interpret: Interpret, frames: int) -> None:
    logits = 3 * torch.randn(2, frames, 5, generator=torch.Generator().manual_seed(frames), dtype=torch.float64)
    assert max(errors(interpret, "lightnet", decay, [logits])) < 1e-7  # log(1 + e) is a series for float32


@settings(max_examples=10, deadline=None)
@given(frames=st.integers(2, 80), trend=st.floats(-2, 2), scale=st.floats(0, 5))
def test_decays_of_any_logits(interpret: Interpret, frames: int, trend: float, scale: float) -> None:
    """Rising, falling and jumping ones. A decay below 2^-25 is returned as 2^-25."""
    generator = torch.Generator().manual_seed(frames)
    logits = scale * torch.randn(1, frames, 3, generator=generator) + trend * torch.arange(frames)[:, None]
    (key, log_decay), gradients = interpret(interpreted.differentiate, "lightnet", [logits], [logits, logits])
    expected, expected_decay = decay(logits.double())
    assert torch.allclose(key.double(), expected, rtol=1e-4, atol=1e-6)
    assert torch.allclose(log_decay.double(), expected_decay.clamp(min=-17.33), rtol=1e-4, atol=1e-5)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_decays_skip_padding(interpret: Interpret) -> None:
    logits, real = torch.randn(1, 90, 4), torch.rand(90) > 0.4
    real[:35] = False
    padded = logits.masked_fill(~real[:, None], -torch.inf)
    outputs, gradients = interpret(interpreted.differentiate, "lightnet", [padded], [logits, logits])
    alone, _ = interpret(interpreted.differentiate, "lightnet", [logits[:, real]], [logits[:, real]] * 2)
    first = int(real.nonzero()[0])
    for value, expected in zip(outputs, alone, strict=True):
        assert torch.allclose(value[:, real][:, 1:], expected[:, 1:], atol=1e-6)
        assert (value[:, ~real] == 0).all()
    assert (outputs[0][:, first] == 1).all()
    assert (gradients[0][:, ~real] == 0).all()
    assert gradients[0].isfinite().all()


OPERATORS = {
    "fox": attention_inputs(frames=5, heads=2, key_heads=1),
    "lightnet": [torch.randn(1, 40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))],
}


@pytest.mark.parametrize("name", OPERATORS)
def test_gradients_by_finite_differences(interpret: Interpret, name: str) -> None:
    assert interpret(interpreted.check_gradients, name, OPERATORS[name])


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_work_in_torch_compile(interpret: Interpret, name: str) -> None:
    inputs = [*OPERATORS[name], *([None, 0.25] if name == "fox" else [])]
    assert set(interpret(interpreted.check_operator, name, inputs).values()) == {"SUCCESS"}
    plain, compiled = interpret(interpreted.compiled, name, OPERATORS[name])
    for value, expected in zip(plain, compiled, strict=True):
        assert torch.equal(value, expected)


ATTENTION: dict[str, tuple[Any, tiles.Tiles, dict[str, Any]]] = {
    "forward": (forward.forgetting_attention_forward_kernel, tiles.FORWARD, {}),
    "dq": (backward.forgetting_attention_dq_kernel, tiles.QUERY_GRADIENT, {}),
    "dk": (backward.forgetting_attention_dkv_kernel, tiles.KEY_GRADIENT, {"VALUES": False}),
    "dv": (backward.forgetting_attention_dkv_kernel, tiles.VALUE_GRADIENT, {"VALUES": True}),
}
GPUS = {"H200": (90, 232_448), "A100": (80, 166_912), "RTX 4090": (89, 101_376)}


def compile_for(capability: int, kernel: Any, types: dict[str, str], constants: dict[str, Any], **options: int) -> int:
    """Compile to machine code for a GPU that need not be present; return the bytes of shared memory that it takes."""
    signature = {name: types.get(name, "*fp32") for name in kernel.arg_names} | dict.fromkeys(constants, "constexpr")
    aligned = {(at,): [["tt.divisibility", 16]] for at, kind in enumerate(signature.values()) if kind.startswith("*")}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
    return int(triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options).metadata.shared)


@pytest.mark.parametrize(
    ("name", "gpu", "products"),
    [
        *((name, "H200", "ieee") for name in ATTENTION),
        *(("forward", "H200", "tf32"), ("dk", "H200", "tf32"), ("dk", "H200", "bf16x6")),
        *(("forward", "A100", "ieee"), ("forward", "RTX 4090", "ieee")),
        *(("dk", "RTX 4090", products) for products in ("ieee", "bf16x6")),
    ],
)
def test_attention_fits_in_shared_memory(name: str, gpu: str, products: str) -> None:
    """The largest tiles that are said to fit, at a width where the library's do not; "ieee" is bfloat16."""
    kernel, held, more = ATTENTION[name]
    capability, room = GPUS[gpu]
    element_size = 2 if products == "ieee" else 4
    fits = partial(held.fits, width=256, element_size=element_size, products=products, room=room)
    config = next(filter(fits, kernel.configs))
    constants = {"HEADS": 4, "KEY_HEADS": 4, "WIDTH": 256, "PADDED": False, "PRODUCTS": products}
    constants |= more | config.kwargs
    inputs = dict.fromkeys(("q", "k", "v", "mask", "o", "do", "dq", "out"), "*bf16" if element_size == 2 else "*fp32")
    types = inputs | {"frames": "i32", "length_bucket": "i32", "scale": "fp32"}
    warps, stages = config.num_warps, config.num_stages
    assert 0 < compile_for(capability, kernel.fn, types, constants, num_warps=warps, num_stages=stages) <= room


@pytest.mark.parametrize("width", [16, 32, 64, 128, 256])
@pytest.mark.parametrize(("element_size", "products"), [(2, "ieee"), (4, "tf32"), (4, "bf16x6")])
def test_some_tiles_always_fit(width: int, element_size: int, products: str) -> None:
    for kernel, held, _ in ATTENTION.values():
        smallest = kernel.configs[-1]
        assert held.fits(smallest, width=width, element_size=element_size, products=products, room=101_376)


def test_decays_compile() -> None:
    types = dict.fromkeys(("x", "key", "log_decay", "dkey", "dlog_decay", "dx"), "*bf16") | {"frames": "i32"}
    for name, kernel in [*vars(decay_forward).items(), *vars(decay_backward).items()]:
        if name.endswith("_kernel"):
            compile_for(90, kernel, types, {"WIDTH": 1024, "BLOCK": 128, "CHANNELS": CHANNELS}, num_warps=1)
