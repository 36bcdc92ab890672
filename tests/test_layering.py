"""Who may import whom, that nothing imports in a circle, and that nothing heavy is imported early."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench
import mixers

ROOT = Path(bench.__path__[0]).parent


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_name(file): file for package in (bench, mixers) for file in sorted(Path(package.__path__[0]).rglob("*.py"))
}


def imports(module: str) -> Iterator[str]:
    """The modules of this project that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            found = next((each for each in (name, name.rpartition(".")[0]) if each in MODULES), None)
            if found and found != module:
                yield found


IMPORTS = {module: set(imports(module)) for module in MODULES}
PACKAGES = [module for module, file in MODULES.items() if file.name == "__init__.py"]


def inside(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def strangers(importer: str, *allowed: str) -> list[tuple[str, str]]:
    """What the modules of a package import beside itself and what it may."""
    return [
        (module, name)
        for module in MODULES
        if inside(module, importer)
        for name in IMPORTS[module]
        if not inside(name, importer, *allowed)
    ]


def test_the_rules_see_imports() -> None:
    assert "mixers.stack" in IMPORTS["bench.efficiency.subjects"]
    assert strangers("bench.efficiency")


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("mixers", ()),
        ("mixers.support", ()),
        ("mixers.base", ("mixers.support",)),
        ("mixers.autotuning", ("mixers.support",)),
        ("mixers.kernels", ("mixers.support", "mixers.autotuning")),
        *(
            (f"mixers.{name}", ("mixers.base", "mixers.kernels", "mixers.support", "mixers.autotuning"))
            for name in mixers.names()
            if name not in ("lightnet_global", "sliding")
        ),
        ("mixers.sliding", ("mixers.base", "mixers.kernels", "mixers.sa", "mixers.support")),
        ("mixers.lightnet_global", ("mixers.base", "mixers.lightnet", "mixers.support")),
        (
            "bench.reporting",
            (
                *("bench.efficiency.records", "bench.efficiency.settings", "bench.efficiency.store"),
                *(
                    "bench.efficiency.samples",
                    "bench.efficiency.noise",
                    "bench.efficiency.progress",
                    "bench.efficiency.correlation",
                    "bench.efficiency.pooling",
                    "bench.accuracy.progress",
                    "bench.accuracy.run",
                    "bench.accuracy.probe.record",
                    "bench.accuracy.corpora",
                ),
                *(
                    f"bench.accuracy.evaluation.{name}"
                    for name in ("metrics", "intervals", "comparison", "predictions")
                ),
                *("bench.files", "bench.locking", "mixers.support.errors"),
            ),
        ),
        ("bench.reporting.efficiency", ("bench.reporting", "bench.efficiency", "bench.files", "mixers.support.errors")),
        (
            "bench.reporting.accuracy",
            (
                *("bench.reporting", "bench.accuracy", "bench.files", "mixers.support.errors"),
                *("bench.efficiency.records", "bench.efficiency.settings", "bench.efficiency.store"),  # GPU times
            ),
        ),
        (
            "bench.accuracy.corpora.readers",
            ("bench.accuracy.corpora.base", "bench.accuracy.corpora.files", "mixers.support.errors"),
        ),
        ("bench.accuracy.corpora", ("bench.audio", "bench.files", "bench.speech", "mixers.support.errors")),
        ("bench.accuracy.parts", ("mixers.support.errors",)),
        (
            "bench.accuracy.run",
            (
                *("bench.accuracy.parts", "bench.files", "bench.validation"),
                *("mixers.support.errors", "mixers.support.plugins"),
            ),
        ),
        ("bench.accuracy.probe.record", ("bench.validation", "mixers.support.errors")),
        (
            "bench.accuracy.inputs",
            (
                *("bench.accuracy.corpora", "bench.accuracy.parts", "bench.accuracy.run"),
                *("bench.audio", "bench.encoders", "bench.hub", "bench.speech", "mixers.support"),
            ),
        ),
        (
            "bench.accuracy.evaluation",
            ("bench.accuracy.corpora", "bench.accuracy.inputs", "bench.files", "bench.speech", "mixers.support.errors"),
        ),
        *(
            (
                f"bench.{half}",
                (
                    *(
                        "bench.audio",
                        "bench.encoders",
                        "bench.hub",
                        "bench.environment",
                        "bench.files",
                        "bench.garbage",
                        "bench.gpu",
                        "bench.head",
                        "bench.locking",
                        "bench.plugins",
                        "bench.speech",
                    ),
                    *("bench.validation", "mixers"),
                ),
            )
            for half in ("accuracy", "efficiency")
        ),
    ],
)
def test_a_package_imports_only_what_it_may(package: str, allowed: tuple[str, ...]) -> None:
    assert not strangers(package, *allowed)


def test_nothing_imports_the_command_line() -> None:
    importing = [module for module, names in IMPORTS.items() if "bench.cli" in names]
    assert [module for module in importing if not inside(module, "bench.cli")] == ["bench.start"]


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_in_a_package_imports_in_a_circle(package: str) -> None:
    """Each module in it counts by itself, each package in it as one."""

    def child(module: str) -> str:
        return module.removeprefix(f"{package}.").partition(".")[0]

    members = [module for module in MODULES if inside(module, package) and module != package]
    graph: dict[str, set[str]] = {}
    for module in members:
        names = {child(name) for name in IMPORTS[module] if name in members}
        graph.setdefault(child(module), set()).update(names - {child(module)})
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def loaded_by(code: str, *heavy: str) -> list[str]:
    show = f"import sys; print(*(name for name in {heavy} if name in sys.modules))"
    command = [sys.executable, "-c", f"{code}; {show}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_the_command_line_imports_nothing_heavy_at_its_top() -> None:
    assert not loaded_by("import bench.cli", "torch", "pandas", "matplotlib", "transformers", "fla", "rich", "pydantic")


def test_reporting_imports_no_torch() -> None:
    every = [module for module in MODULES if inside(module, "bench.reporting")]
    assert not loaded_by(f"import {', '.join(every)}", "torch", "transformers", "matplotlib.pyplot")


def test_loading_every_mixer_imports_no_compiler() -> None:
    """PyTorch's takes seconds to import, before a sweep can start its children."""
    assert not loaded_by("import mixers; [mixers.load(name) for name in mixers.names()]", "torch._dynamo")
