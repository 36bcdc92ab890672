"""Every change to other people's code, each with its reason and the versions of the library that it was checked with.

A test compares these versions with the installed ones and with those that the project allows.
"""

import contextlib
import functools
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

_FLA_MODELS = "fla.models"


@contextlib.contextmanager
def fla_models_hidden() -> Iterator[None]:
    """Within the context, make importing ``fla.models`` fail as if it were missing, unless it is imported already.

    Reason: flash-linear-attention imports its language models with its layers, and with them most of transformers. That
    takes every process seconds. The layers work without the models.
    """
    if _FLA_MODELS in sys.modules:
        yield
        return
    sys.modules[_FLA_MODELS] = None  # type: ignore[assignment]  # which makes the import fail
    try:
        yield
    finally:
        del sys.modules[_FLA_MODELS]


@contextlib.contextmanager
def compiling_deferred() -> Iterator[None]:
    """Within the context, let `torch.compile` do nothing until the decorated function is first called.

    Reason: `torch.compile` compiles at the first call anyway, but decorating imports PyTorch's compiler, which takes
    seconds. flash-linear-attention decorates functions that no mixer calls.
    """
    compile_now = torch.compile

    def later(function: Callable[..., Any] | None = None, **options: Any) -> Callable[..., Any]:
        if function is None:
            return functools.partial(later, **options)
        compiled = functools.cache(lambda: compile_now(function, **options))
        return functools.wraps(function)(lambda *arguments, **named: compiled()(*arguments, **named))

    torch.compile = later  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compile = compile_now


def dispatch_to_no_other_package() -> None:
    """Let flash-linear-attention compute in its own Triton kernels, whatever other packages are installed.

    Reason: Some of its operators hand their work to TileLang, FlashQLA or FlashKDA where these can be imported, and say
    so nowhere. A row with its name would be of another kernel on another machine.
    """
    registry: Any = importlib.import_module("fla.backends").BackendRegistry
    every = registry._get_sorted_backends
    registry._get_sorted_backends = lambda self: [each for each in every(self) if each.package_name is None]


def gated_gradients_allowed_where_right() -> None:
    """Let flash-linear-attention compute the gradients of gated operators, except in blocks of 64 keys.

    Reason: Triton 3.4 to 3.7.0 compiles that kernel wrongly on Hopper, and the library refuses every size. Only blocks
    of 64 are wrong (its issue 640), which heads with 33 to 64 keys have.
    """
    shared: Any = importlib.import_module("fla.ops.common.chunk_o")
    refusing: Callable[..., Any] = shared.chunk_bwd_dqkwg

    def gradients(**tensors: Any) -> Any:
        is_right = shared.TRITON_ABOVE_3_7_1
        shared.TRITON_ABOVE_3_7_1 = is_right or not 32 < tensors["k"].shape[-1] <= 64
        try:
            return refusing(**tensors)
        finally:
            shared.TRITON_ABOVE_3_7_1 = is_right

    for name in ("simple_gla", "gated_delta_rule"):
        operator: Any = importlib.import_module(f"fla.ops.{name}.chunk")
        operator.chunk_bwd_dqkwg = gradients


def gradients_beside_the_input() -> None:
    """Let the backward pass of flash-linear-attention's RWKV-7 leave the layer's input alone.

    Reason: It writes the input's gradient over the input, which the caller may still need. PyTorch cannot notice that.
    """
    module: Any = importlib.import_module("fla.ops.rwkv7.fused_addcmul")
    module.addcmul_bwd1 = functools.partial(module.addcmul_bwd1, inplace=False)


def compute_delta_rules_in_full_float32() -> None:
    """Let products of flash-linear-attention's KDA and gated delta rule follow Triton's default precision.

    Reason: Its kernels name TF32 and bf16x3 for these products. `mixers.support.precision` sets the default, which
    Triton uses where a kernel asks for IEEE.
    """
    kda: Any = importlib.import_module("fla.ops.kda.chunk_intra")
    gated: Any = importlib.import_module("fla.ops.gated_delta_rule.chunk_fwd")
    constant = importlib.import_module("triton.language").constexpr
    kda.SOLVE_TRIL_DOT_PRECISION = kda.SAFE_GATE_DOT_PRECISION = gated.SOLVE_TRIL_DOT_PRECISION = constant("ieee")


def compile_in_this_process() -> None:
    """Let PyTorch's compiler compile in this process alone.

    Reason: FlexAttention is one kernel. PyTorch would start a compiling process for every core, and these would disturb
    the cases that are measured next.
    """
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1


@contextlib.contextmanager
def autotuner_methods(
    *,
    prune_configs: Callable[[Callable[..., Sequence[Any]], Any, dict[str, Any]], Sequence[Any]],
    do_bench: Callable[[Any], Callable[..., Any]],
    bench: Callable[..., Any],
) -> Iterator[None]:
    """Within the context, replace three methods of Triton's autotuner.

    Reason: Triton compiles and times one candidate after another, and has no hook for doing either differently.

    Args:
        prune_configs: Returns the candidates to time, given Triton's own method, the autotuner and the arguments.
        do_bench: Returns the function that times a candidate, given the autotuner.
        bench: Times a candidate, given Triton's own method, the autotuner and what that method takes.
    """
    from triton.runtime.autotuner import Autotuner

    own_prune, own_do_bench, own_bench = Autotuner.prune_configs, vars(Autotuner)["do_bench"], Autotuner._bench
    Autotuner.prune_configs = lambda tuner, arguments: prune_configs(own_prune, tuner, arguments)
    Autotuner.do_bench = property(do_bench)
    Autotuner._bench = lambda tuner, *arguments, **options: bench(own_bench, tuner, *arguments, **options)
    try:
        yield
    finally:
        Autotuner.prune_configs, Autotuner.do_bench, Autotuner._bench = own_prune, own_do_bench, own_bench


def cublas_warning_ignored() -> None:
    """Ignore PyTorch's warning that cuBLAS had no CUDA context.

    Reason: The first backward pass makes a context for its thread and warns of that. It is right, and no user can act.
    """
    warnings.filterwarnings("ignore", message="Attempting to run cuBLAS, but there was no current CUDA context")


@contextlib.contextmanager
def rwkv_warning_ignored() -> Iterator[None]:
    """Within the context, ignore flash-linear-attention's warning that its RWKV may differ from the authors' code.

    Reason: It is shown in every process that measures. The tests compare the layer with the paper's equations.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="According to Bo")
        yield


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A change to a library.

    Attributes:
        change: The function that makes it, whose documentation says why.
        library: The name of the distribution.
        versions: Those that it was checked with.
    """

    change: Callable[..., object]
    library: str
    versions: str


_FLA, _TORCH, _TRITON = ">=0.6,<0.7", ">=2.11,<2.14", ">=3.6,<3.10"

PATCHES = (
    Patch(change=fla_models_hidden, library="flash-linear-attention", versions=_FLA),
    Patch(change=compiling_deferred, library="torch", versions=_TORCH),
    Patch(change=dispatch_to_no_other_package, library="flash-linear-attention", versions=_FLA),
    Patch(change=gated_gradients_allowed_where_right, library="flash-linear-attention", versions=_FLA),
    Patch(change=gradients_beside_the_input, library="flash-linear-attention", versions=_FLA),
    Patch(change=compute_delta_rules_in_full_float32, library="flash-linear-attention", versions=_FLA),
    Patch(change=compile_in_this_process, library="torch", versions=_TORCH),
    Patch(change=autotuner_methods, library="triton", versions=_TRITON),
    Patch(change=cublas_warning_ignored, library="torch", versions=_TORCH),
    Patch(change=rwkv_warning_ignored, library="flash-linear-attention", versions=_FLA),
)
