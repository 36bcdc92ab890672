"""Checks array shapes while tests run, keeps benchmarks and tests apart, and skips what the machine cannot run."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import MagicMock

import hypothesis
import pytest
import torch
from jaxtyping import install_import_hook

import mixers
from mixers.support import plugins

CHECKED = [
    *(f"mixers.{name}" for name in (*mixers.names(), "base", "stack", "support.precision", "kernels.fla")),
    *(f"mixers.kernels.{name}.operator" for name in ("fox", "lightnet")),  # but no module that Triton compiles
    *("bench.audio", "bench.encoders", "bench.whisper", "bench.efficiency.inputs"),
]
install_import_hook(CHECKED, "beartype.beartype")

EXAMPLE_PLUGIN = Path(__file__).parent / "example_plugin"

GPU_BYTES_OF_A_PROCESS = 12 * 2**30  # one held 11 GiB

REAL = Path(__file__).parents[2] / "shared" / "real"  # real speech and a real encoder, never part of the project

hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one is no failure
hypothesis.settings.load_profile("any machine")

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # and so do the processes that tests start


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--benchmark", action="store_true", help="run the benchmark cases, and no tests")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    if config.option.benchmark:
        config.option.numprocesses = 0  # one case at a time


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Run no more processes at once than the GPU's memory holds; without one, as many as xdist chooses."""
    if not torch.cuda.is_available():
        return None
    room = torch.cuda.get_device_properties(0).total_memory // GPU_BYTES_OF_A_PROCESS
    return max(1, min(len(os.sched_getaffinity(0)), room))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect either the benchmark cases or everything else."""
    if collection_path.is_dir():
        return None
    return True if (collection_path.name == "test_benchmark.py") != config.option.benchmark else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))
        elif item.get_closest_marker("gpu") and "PYTEST_XDIST_WORKER" in os.environ and "efficiency" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason="times the GPU, which it must not share: run it with -n 0"))
        if item.get_closest_marker("real") and not REAL.is_dir():
            item.add_marker(pytest.mark.skip(reason="needs RAVDESS and Whisper base's encoder in ../shared/real"))


@pytest.fixture
def pretended_captures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let captures of CUDA graphs call what they capture and do nothing else, for machines without a GPU."""
    streams = ("Stream", "current_stream", "get_sync_debug_mode", "set_sync_debug_mode")
    for name in (*streams, "CUDAGraph", "get_rng_state", "set_rng_state"):
        monkeypatch.setattr(torch.cuda, name, MagicMock())
    for name in ("graph", "stream"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, **__: contextlib.nullcontext())


@pytest.fixture(scope="session")
def installed_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the example of a plug-in is installed, without a network."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(EXAMPLE_PLUGIN, folder / "source")
    offline = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-compile")
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(folder / "site"), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "site"


@contextlib.contextmanager
def example_plugin(site: Path) -> Iterator[str]:
    """Let the example be installed in the block, and return its mixer's name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        plugins.installed.cache_clear()
        yield "running_mean"
    plugins.installed.cache_clear()


@pytest.fixture(autouse=True)
def _precision_as_it_was() -> Iterator[None]:
    """A precision is the process's own, and kernels of later tests would be told it too."""
    torchs, cudnns = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    tritons = os.environ.get("TRITON_F32_DEFAULT")
    yield
    torch.set_float32_matmul_precision(torchs)
    torch.backends.cudnn.allow_tf32 = cudnns
    os.environ.pop("TRITON_F32_DEFAULT", None)
    if tritons is not None:
        os.environ["TRITON_F32_DEFAULT"] = tritons


class Sbench:
    """Runs `sbench` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Return the exit code and what was printed to standard output and standard error."""
        from bench.cli import main

        self._monkeypatch.setattr(sys, "argv", ["sbench", *map(str, arguments)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        code = caught.value.code
        assert code is None or isinstance(code, int)
        return (code or 0, *self._capsys.readouterr())


@pytest.fixture
def sbench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sbench:
    monkeypatch.chdir(tmp_path)
    return Sbench(capsys, monkeypatch)
