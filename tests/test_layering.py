"""Who may import whom, and that nothing heavy is imported early."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import bench
import mixers

ROOT = Path(bench.__path__[0]).parent
FILES = [
    path.relative_to(ROOT) for package in (bench, mixers) for path in sorted(Path(package.__path__[0]).rglob("*.py"))
]


def imports(file: Path, *, at_the_top: bool = False) -> Iterator[str]:
    """The modules of this project that a file imports, anywhere or at its top level alone."""
    tree = ast.parse((ROOT / file).read_text())
    for node in tree.body if at_the_top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(of: str, *, among: str) -> list[tuple[str, str]]:
    return [
        (str(file), name)
        for file in FILES
        if str(file).startswith(among)
        for name in imports(file)
        if name == of or name.startswith(f"{of}.")
    ]


def test_the_rules_see_imports() -> None:
    assert importers("mixers.stack", among="bench/efficiency")


def test_mixers_import_no_bench() -> None:
    assert not importers("bench", among="mixers/")


def test_reporting_imports_only_records() -> None:
    allowed = ("bench.reporting", "bench.efficiency.records", "mixers.errors")
    for _, name in importers("bench", among="bench/reporting/") + importers("mixers", among="bench/reporting/"):
        assert name.startswith(allowed) or name in {"bench", "mixers"}, name
    assert not importers("torch", among="bench/reporting/")


def test_the_two_halves_are_strangers() -> None:
    assert not importers("bench.accuracy", among="bench/efficiency/")
    assert not importers("bench.efficiency", among="bench/accuracy/")


def test_nothing_imports_the_command_line() -> None:
    assert all(file.startswith("bench/cli/") for file, _ in importers("bench.cli", among="bench/"))
    assert not importers("bench.cli", among="mixers/")


def test_the_command_line_imports_nothing_heavy_at_its_top() -> None:
    heavy = "torch", "pandas", "matplotlib", "transformers", "fla", "rich"
    code = f"import sys, bench.cli; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_loading_every_mixer_imports_no_compiler() -> None:
    """PyTorch's takes seconds to import, before a sweep can start its children."""
    code = "import sys, mixers; [mixers.load(name) for name in mixers.names()]; print('torch._dynamo' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "False"
