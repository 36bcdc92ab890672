"""The example of reports/adding-a-mixer.md keeps the contract as the page promises."""

import inspect
import itertools
import re
import sys
from pathlib import Path

import pytest

import mixers
from bench.efficiency.selection import choose_contestants, choose_settings
from mixers import stack
from tests.mixers import test_contract, test_stack

PAGE = Path(mixers.__path__[0]).parent / "reports" / "adding-a-mixer.md"


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's example, as a mixer."""
    (path,) = set(re.findall(r"Save it as `mixers/(\w+)\.py`", PAGE.read_text()))
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (tmp_path / f"{path}.py").write_text(source)
    monkeypatch.setattr(mixers, "__path__", [*mixers.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, f"mixers.{path}", raising=False)
    return str(path)


def checks() -> list[str]:
    """The contract tests of a mixer, or of each of its implementations."""
    return [
        check
        for check, function in vars(test_contract).items()
        if check.startswith("test_")
        and {*inspect.signature(function).parameters} in ({"name"}, {"name", "implementation"})
    ]


@pytest.mark.parametrize("check", checks())
def test_the_example_keeps_the_contract(name: str, check: str) -> None:
    function = getattr(test_contract, check)
    if "implementation" in inspect.signature(function).parameters:
        for implementation in mixers.load(name).implementations:
            function(name=name, implementation=implementation)
    else:
        function(name=name)


def test_the_contract_has_tests() -> None:
    assert len(checks()) >= 9


def test_the_example_has_the_size_of_every_mixer(name: str) -> None:
    for preset in test_stack.SIZES:
        test_stack.test_size_of_stacks(name, preset)
    for preset in stack.PRESETS:
        test_stack.test_padding_and_shape(name, preset)
        test_stack.test_arithmetic_of_projections_is_what_pytorch_counts(name, preset)


def test_a_sweep_measures_the_example(name: str) -> None:
    chosen = [
        choose_contestants([name], settings=choose_settings(device_type=device_type), device_type=device_type)
        for device_type in ("cpu", "cuda")
    ]
    found = [each.implementation for each in itertools.chain(*chosen)]
    assert found == ["cumsum", "cumsum"]
