"""Each change to a library does what it says, is undone, and is for the versions that the project allows."""

import ast
import importlib.metadata
import importlib.util
import inspect
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from torch import Tensor

import bench
import mixers
from mixers.support import patches

ROOT = Path(mixers.__path__[0]).parent
ALLOWED = {
    requirement.name: requirement.specifier
    for requirement in map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
}


def bounds(versions: SpecifierSet) -> tuple[Version | None, Version | None]:
    """The first version of a range, and the first one beyond it; None without such a bound."""
    found = {each.operator: Version(each.version) for each in versions}
    assert found.keys() <= {">=", "<"}
    return found.get(">="), found.get("<")


def is_within(allowed: SpecifierSet, checked: SpecifierSet) -> bool:
    (first, end), (first_checked, end_checked) = bounds(allowed), bounds(checked)
    assert first_checked
    assert end_checked
    return first is not None and end is not None and first_checked <= first and end <= end_checked


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [(">=3.6,<3.10", True), (">=3.7,<3.8", True), (">=3.5,<3.10", False), (">=3.6,<3.11", False), (">=3.6", False)],
)
def test_a_range_that_moves_on_is_seen(allowed: str, expected: bool) -> None:
    assert is_within(SpecifierSet(allowed), SpecifierSet(">=3.6,<3.10")) == expected


@pytest.mark.parametrize("patch", patches.PATCHES, ids=lambda patch: patch.change.__name__)
def test_the_project_and_this_machine_have_versions_that_a_patch_is_for(patch: patches.Patch) -> None:
    checked = SpecifierSet(patch.versions)
    assert is_within(ALLOWED[patch.library], checked)
    assert checked.contains(importlib.metadata.version(patch.library), prereleases=True)


def test_every_change_has_versions_and_a_reason() -> None:
    functions = {
        function
        for name, function in vars(patches).items()
        if inspect.isfunction(function) and function.__module__ == patches.__name__ and not name.startswith("_")
    }
    assert {patch.change for patch in patches.PATCHES} == functions
    assert all("Reason: " in (function.__doc__ or "") for function in functions)


def changes(file: Path) -> Iterator[str]:
    """What a module sets in other people's modules and classes: attributes, and filters of warnings."""
    tree = ast.parse(file.read_text())
    foreign = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if not (getattr(node, "module", None) or alias.name).startswith(("bench", "mixers"))
    }
    for node in ast.walk(tree):
        for target in getattr(node, "targets", ()):
            for each in target.elts if isinstance(target, ast.Tuple) else [target]:
                name = ast.unparse(each.value if isinstance(each, ast.Subscript) else each)
                if "." in name and name.partition(".")[0] in foreign:
                    yield name
        if isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "warnings.filterwarnings",
            "warnings.simplefilter",
        ):
            yield ast.unparse(node.func)


# which the libraries offer to be set
SETTINGS = {"torch.backends.cudnn.allow_tf32", "os.environ", "knobs.compilation.listener", "sys.unraisablehook"}
SETTINGS |= {"sys.modules"}


def test_no_other_module_changes_a_library() -> None:
    files = [file for package in (bench, mixers) for file in Path(package.__path__[0]).rglob("*.py")]
    found = {file.relative_to(ROOT).as_posix(): set(changes(file)) - SETTINGS for file in files}
    assert found.pop("mixers/support/patches.py") >= {"torch.compile", "warnings.filterwarnings"}
    assert {file: names for file, names in found.items() if names} == {}


def test_importing_the_library_leaves_out_the_compiler_and_the_language_models() -> None:
    unwanted = "torch._inductor.compile_fx", "fla.models", "transformers.modeling_utils"
    code = f"""
import sys
from mixers.kernels import fla
assert fla.layers().GatedSlotAttention
assert sys.modules["fla.backends"].BackendRegistry._get_sorted_backends.__module__ == "mixers.support.patches"
print([name for name in {unwanted} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_decorated_function_is_compiled_when_it_is_called() -> None:
    compiled: list[object] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        compiled.append(graph)
        return graph

    with patches.compiling_deferred():

        @torch.compile(backend=backend)
        def twice(x: Tensor) -> Tensor:
            """Double."""
            return 2 * x

        @torch.compile
        def never_called(x: Tensor) -> Tensor:
            return x

    assert (twice.__name__, twice.__doc__, never_called.__name__) == ("twice", "Double.", "never_called")
    assert compiled == []
    for _ in range(2):
        assert torch.equal(twice(torch.ones(3)), torch.full((3,), 2.0))
    assert len(compiled) == 1
    assert torch.compile.__module__ == "torch"


def test_the_library_hands_work_to_no_other_package(monkeypatch: pytest.MonkeyPatch) -> None:
    package = importlib.util.find_spec("fla")
    assert package
    assert package.submodule_search_locations
    spec = importlib.util.spec_from_file_location("backends", f"{package.submodule_search_locations[0]}/backends.py")
    assert spec
    assert spec.loader
    backends = importlib.util.module_from_spec(spec)  # a copy, whatever the tests before have changed
    needed = SimpleNamespace(find_spec_cached=importlib.util.find_spec, has_usable_nvcc=lambda: True)
    for name, module in (("fla", ModuleType("fla")), ("fla.utils", needed), ("fla.backends", backends)):
        monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(backends)

    class Foreign(backends.BaseBackend):  # type: ignore[name-defined, misc]
        backend_type, package_name = "foreign", "json"  # which is always there

        def answer(self) -> str:
            return "foreign"

    registry = backends.BackendRegistry("answers")
    registry.register(Foreign())

    def answer() -> str:
        return "own"

    answer = registry.dispatch(answer)
    assert answer() == "foreign"
    patches.dispatch_to_no_other_package()
    assert answer() == "own"


def test_the_librarys_operators_are_changed_where_they_must_be() -> None:
    """Products of the delta rules follow the default precision; gradients are refused only where they are wrong."""
    code = """
import torch
from mixers.kernels import fla
from mixers.support import patches
fla.layers()
patches.compute_delta_rules_in_full_float32()
from fla.ops.common import chunk_o
from fla.ops.gated_delta_rule import chunk as gated, chunk_fwd
from fla.ops.kda import chunk_intra
from fla.ops.simple_gla import chunk as simple
for module, name in ((chunk_intra, "SOLVE_TRIL"), (chunk_intra, "SAFE_GATE"), (chunk_fwd, "SOLVE_TRIL")):
    print(getattr(module, f"{name}_DOT_PRECISION").value)

chunk_o.IS_NVIDIA_HOPPER = chunk_o.TRITON_ABOVE_3_4_0 = True
chunk_o.chunk_bwd_kernel_dqkwg = {(number, 1): lambda **_: None for number in (1, 2, 4)}
chunk_o.check_shared_mem = lambda *_: True  # as on Hopper
for operator in gated, simple:
    for fixed in False, True:
        chunk_o.TRITON_ABOVE_3_7_1 = fixed
        for width in 32, 33, 64, 65, 256:
            x = torch.zeros(1, 64, 1, width)
            tensors = {name: x for name in ("q", "k", "v", "do", "h", "dh")}
            try:
                operator.chunk_bwd_dqkwg(**tensors, g=x[..., 0])
            except RuntimeError as error:
                print(width, "refused" if "incorrect results" in str(error) else error)
        assert chunk_o.TRITON_ABOVE_3_7_1 is fixed
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["ieee"] * 3 + 2 * ["33 refused", "64 refused"]


def test_the_methods_of_the_autotuner_are_put_back() -> None:
    from triton.runtime.autotuner import Autotuner

    names = ("prune_configs", "do_bench", "_bench")
    before = {name: vars(Autotuner)[name] for name in names}
    with patches.autotuner_methods(
        prune_configs=lambda own, tuner, arguments: own(tuner, arguments),
        do_bench=lambda tuner: tuner._do_bench,
        bench=lambda own, tuner, *arguments, **options: own(tuner, *arguments, **options),
    ):
        assert all(vars(Autotuner)[name] is not before[name] for name in names)
    assert {name: vars(Autotuner)[name] for name in names} == before


def test_only_the_warning_of_cublas_is_ignored() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.resetwarnings()
        patches.cublas_warning_ignored()
        warnings.warn("Attempting to run cuBLAS, but there was no current CUDA context! x", stacklevel=1)
        warnings.warn("another", stacklevel=1)
    assert [str(each.message) for each in shown] == ["another"]


def test_only_the_warning_of_rwkv_is_ignored() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.resetwarnings()
        with patches.rwkv_warning_ignored():
            warnings.warn("According to Bo, you are using a potentially buggy implementation of RWKV.", stacklevel=1)
            warnings.warn("another", stacklevel=1)
    assert [str(each.message) for each in shown] == ["another"]
