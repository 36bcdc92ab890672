"""Every implementation on a GPU against the reference in float64, at the sizes that are measured.

The tests check results, not speed. Where no configuration of a kernel is prepared, they choose between its two smallest
candidates. These compile in seconds, all candidates in minutes.
"""

import contextlib
import dataclasses
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mixers
from bench.efficiency import isolation
from mixers import stack
from mixers.base import Mixer, MixerConfig
from mixers.contract.agreement import exact, output_and_gradients
from mixers.contract.agreement import relative_error as error
from mixers.kernels import fla
from mixers.sa import SoftmaxAttention
from mixers.support.precision import DTYPES, use_precision
from mixers.support.reversal import reversal

PRECISIONS = ("float32", "bfloat16")


def bounds(name: str, implementation: str, precision: str) -> tuple[float, float]:
    """Relative errors by norm: of the output, and the largest of the gradients.

    float32 means float32 tensors at every library's default, which for Triton's products is TF32. FlexAttention adds
    rounding errors of the sums of log forget gates over thousands of frames.
    """
    if precision == "bfloat16":
        return 1.5e-2, 3e-2
    tf32 = (2e-3, 1e-2 if name == "mamba2" else 4e-3)  # a gradient of Mamba-2's steps is a sum over all frames
    return {"fla": tf32, "triton": tf32, "flex": (2e-4, 2e-3)}.get(implementation, (5e-6, 1e-5))


pytestmark = pytest.mark.gpu


def sizes(name: str, implementation: str, precision: str | None = None) -> MixerConfig | None:
    """Those of the matched stack, 4 heads of width 256, otherwise 8 of width 128 or 16 of 64; None if none runs."""
    mixer = mixers.load(name)
    matched = mixer.presets["matched"]
    for config in (matched, *(dataclasses.replace(matched, num_heads=number) for number in (8, 16))):
        if not mixer.unavailable(implementation, config, device_type="cuda", precision=precision):
            return config
    return None


def measured_on_gpus() -> list[tuple[str, str]]:
    """Every mixer and implementation that runs, without the references."""
    return [
        (name, implementation)
        for name in mixers.names()
        for implementation in tuple(mixers.load(name).implementations)[1:]
        if sizes(name, implementation)
    ]


def skip_without(precision: str, name: str, implementation: str) -> None:
    if not sizes(name, implementation, precision):
        known = mixers.load(name).implementations[implementation].precisions
        assert known
        assert precision not in known
        pytest.skip(f"computes in {' and '.join(known)} only")


on_gpu = pytest.mark.parametrize(("name", "implementation"), measured_on_gpus())


@contextlib.contextmanager
def few_candidates() -> Iterator[None]:
    from triton.runtime.autotuner import Autotuner

    fla.layers()
    every: Callable[..., list[Any]] = Autotuner.prune_configs

    def two_smallest(*args: Any) -> list[Any]:
        return sorted(every(*args), key=lambda config: (config.num_stages, sum(config.kwargs.values())))[:2]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Autotuner, "prune_configs", two_smallest)
        yield


@pytest.fixture(scope="module", autouse=True)
def _few_candidates() -> Iterator[None]:
    with few_candidates():
        yield


@pytest.fixture(autouse=True)
def _compile_anew() -> None:
    torch.compiler.reset()  # otherwise dtypes, lengths and passes in one process exceed the limit of recompilations


@pytest.fixture(autouse=True)
def _leave_memory_to_other_processes() -> Iterator[None]:
    yield
    gc.collect()
    torch.cuda.empty_cache()


def poison() -> None:
    """Leave NaN in the memory of the next allocations, so that an unwritten output is seen."""
    torch.cuda.empty_cache()
    blocks = [torch.full((size,), float("nan"), device="cuda") for size in (2**28, *[2**17] * 64)]
    del blocks


def build(name: str, implementation: str, precision: str, *, turned: bool = False) -> Mixer:
    """A mixer; if turned, attention sees the past, and the others run forward and backward in time."""
    torch.manual_seed(0)
    mixer, config = mixers.load(name), sizes(name, implementation, precision)
    assert config
    built = mixer(config, implementation=implementation).to("cuda", DTYPES[precision])
    if turned:
        built.see("clip" if mixer.causal else "past")
    return built


def exact_results(
    name: str, implementation: str, precision: str, x: Tensor, upstream: Tensor, *, turned: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """The same in float64 by the reference."""
    reference = exact(build(name, implementation, precision, turned=turned))
    return output_and_gradients(reference, reference, x.double(), upstream.double())


@on_gpu
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("frames", "turned"), [(63, False), (499, False), (2749, False), (63, True), (499, True)])
@pytest.mark.timeout(600)
def test_output_and_gradients(name: str, implementation: str, precision: str, frames: int, turned: bool) -> None:
    skip_without(precision, name, implementation)
    mixer = build(name, implementation, precision, turned=turned)
    generator = torch.Generator("cuda").manual_seed(frames)
    x, upstream = (
        torch.randn(1, frames, mixer.width, device="cuda", generator=generator).to(DTYPES[precision]) for _ in range(2)
    )
    poison()
    with torch.inference_mode():
        inferred = mixer(x)
    poison()
    y, gradients = output_and_gradients(mixer, mixer, x, upstream)
    gradients = {key: value.clone() for key, value in gradients.items()}

    expected, expected_gradients = exact_results(name, implementation, precision, x, upstream, turned=turned)
    errors = {key: error(gradients[key], value) for key, value in expected_gradients.items()}
    worst = max(errors, key=lambda key: errors[key])
    print(
        f"{name}/{implementation} {precision} {frames}{' turned' * turned}: inference {error(inferred, expected):.1e}, "
        f"training {error(y, expected):.1e}, gradient of {worst} {errors[worst]:.1e}"
    )
    of_output, of_gradients = bounds(name, implementation, precision)
    assert errors.keys() == gradients.keys()
    assert error(inferred, expected) < of_output
    assert error(y, expected) < of_output
    assert errors[worst] < of_gradients


@on_gpu
@pytest.mark.parametrize("turned", [False, True])
def test_a_padded_batch_equals_each_sequence_alone(name: str, implementation: str, turned: bool) -> None:
    mixer, lengths = build(name, implementation, "bfloat16", turned=turned), (499, 63, 200)
    x = torch.randn(len(lengths), max(lengths), mixer.width, device="cuda").bfloat16()
    mask = torch.arange(x.shape[1], device="cuda") < torch.tensor(lengths, device="cuda")[:, None]
    with torch.inference_mode():
        y = mixer(x, mask)
        alone = torch.cat([mixer(x[row : row + 1, :length])[0] for row, length in enumerate(lengths)])
    assert (y[~mask] == 0).all()
    assert error(y[mask], alone.double()) < bounds(name, implementation, "bfloat16")[0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("heads", [4, 3])  # a row of three heads of bfloat16 is no multiple of 8 bytes
def test_reversal(dtype: torch.dtype, heads: int) -> None:
    lengths = torch.tensor([99, 0, 42], device="cuda")
    mask = torch.arange(99, device="cuda") < lengths[:, None]
    for x in (
        torch.randn(3, 99, heads, device="cuda", dtype=dtype),
        torch.randn(3, 99, 4, 256, device="cuda").to(dtype),
    ):
        x.requires_grad_()
        poison()
        whole, y = reversal(None)(x), reversal(mask)(x)
        assert torch.equal(whole, x.flip(1))
        for row, length in enumerate(lengths.tolist()):
            assert torch.equal(y[row], torch.cat((x[row, :length].flip(0), x[row, length:])))
        (gradient,) = torch.autograd.grad(y, x, reversal(mask)(x))
        assert torch.equal(gradient, x)


def peak_of(name: str, implementation: str, direction: str, *, training: bool, frames: int = 4000) -> int:
    """Bytes that a call of the matched stack takes at most beside its weights, their gradients and its input."""
    with torch.device("cuda"):
        model = stack.build(name, implementation=implementation, preset="matched", direction=direction).bfloat16()
        x = torch.randn(1, frames, model.width, dtype=torch.bfloat16)

    def call() -> None:
        y = model.train(training)(x)
        if training:
            y.backward(x)

    with torch.inference_mode(not training):
        call()  # kernels are tuned in the first call, which takes memory too
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() - before


@on_gpu
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.timeout(600)
def test_memory_of_each_direction(name: str, implementation: str, training: bool) -> None:
    mixer = mixers.load(name)
    if not mixer.causal:
        pytest.skip("never runs backward in time")
    if reason := mixer.unavailable(implementation, mixer.presets["matched"], device_type="cuda"):
        pytest.skip(reason)
    causal, alternating, both = (
        peak_of(name, implementation, each, training=training) for each in ("causal", "alternating", "both")
    )
    print(
        f"{name}/{implementation} {'training' if training else 'inference'}: "
        f"alternating {alternating / causal:.2f}, both {both / causal:.2f} of causal"
    )
    # FoX's peak is between the blocks of the backward pass, where the gradient is there in both orders.
    assert alternating <= (1.04 if training else 1.01) * causal
    one_pass_for_both = mixer.implementations[implementation].run_both_ways is not None
    # Mamba-2 keeps its copies of keys for both. Without a pass of its own for both, the whole layer runs twice.
    assert both <= ({"mamba2": 1.45}.get(name, 1.35) if one_pass_for_both else 2.0) * causal


def errors_in(precision: str, name: str, implementation: str) -> tuple[float, float]:
    """The errors of output and gradients. Call it in a process that has run no kernel yet."""
    use_precision(precision)
    with few_candidates():
        mixer = build(name, implementation, precision)
        x, upstream = (torch.randn(1, 499, mixer.width, device="cuda") for _ in range(2))
        y, gradients = output_and_gradients(mixer, mixer, x, upstream)
        gradients = {key: value.clone() for key, value in gradients.items()}
    use_precision("float32")
    expected, expected_gradients = exact_results(name, implementation, precision, x, upstream)
    return error(y, expected), max(error(gradients[key], value) for key, value in expected_gradients.items())


@on_gpu
@pytest.mark.timeout(600)
def test_float32_is_full_float32(name: str, implementation: str) -> None:
    """TF32's error is at least 3e-4. FlexAttention's gradient of the gate's bias is a sum over all frames."""
    skip_without("float32", name, implementation)
    of_output, of_gradients = isolation.call(errors_in, "float32", name, implementation)
    print(f"{name}/{implementation} float32: output {of_output:.1e}, gradients {of_gradients:.1e}")
    # RWKV-7's errors on an H200 are 1.7e-5 and 3.7e-5. Its TF32 has 1e-3.
    assert of_output < (3e-5 if name == "rwkv7" else 1e-5)
    assert of_gradients < {"flex": 3e-4, "fla": 6e-5 if name == "rwkv7" else 3e-5}.get(implementation, 3e-5)


@on_gpu
@pytest.mark.timeout(600)
def test_tf32_is_not_full_float32(name: str, implementation: str) -> None:
    skip_without("tf32", name, implementation)
    of_output, _ = isolation.call(errors_in, "tf32", name, implementation)
    print(f"{name}/{implementation} TF32: output {of_output:.1e}")
    assert 1e-4 < of_output < 3e-3


# As the paper's code builds them; all other options are the library's defaults.
RELEASED: dict[str, tuple[str, dict[str, int]]] = {
    "retnet": ("MultiScaleRetention", {"num_heads": 4}),
    "lightnet": ("LightNetAttention", {"num_heads": 4}),
    "gsa": ("GatedSlotAttention", {"num_heads": 4}),
    "fox": ("ForgettingAttention", {"num_kv_heads": 4}),
    "kda": ("KimiDeltaAttention", {"num_heads": 4}),
}


@pytest.mark.parametrize("name", RELEASED)
def test_released_is_the_librarys_own_layer(name: str) -> None:
    layer, options = RELEASED[name]
    plain: nn.Module = getattr(fla.layers(), layer)(hidden_size=1024, **options).cuda().eval()
    ours = stack.build(name, implementation="fla", preset="released").cuda()
    plain.load_state_dict({key.removeprefix("layer."): value for key, value in ours.state_dict().items()})
    x = torch.randn(1, 599, 1024, device="cuda")
    mask = torch.ones(1, 599, device="cuda") if name == "gsa" else None
    with torch.inference_mode():
        assert error(ours(x), plain(x, attention_mask=mask)[0].double()) < 1e-6


def test_released_attention_is_scaled_on_both_sides() -> None:
    ours = stack.build("sa", implementation="eager", preset="released").cuda()
    assert isinstance(ours, SoftmaxAttention)
    x = torch.randn(1, 599, 1024, device="cuda")
    with torch.inference_mode():
        q, k, v = (p(x)[0].unflatten(-1, (4, 256)).transpose(0, 1) for p in (ours.q_proj, ours.k_proj, ours.v_proj))
        weights = torch.bmm(q / 4, (k / 4).transpose(1, 2)).softmax(-1)  # 256 to the power of a quarter, twice
        expected = ours.o_proj(torch.bmm(weights, v).transpose(0, 1).flatten(1))
        assert error(ours(x)[0], expected.double()) < 1e-6
