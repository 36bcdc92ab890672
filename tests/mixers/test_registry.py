"""A mixer is one file: the registry, the list and the sweep find it there, and say so where its library is missing."""

from pathlib import Path

import pytest
from rich.console import Console

import mixers
from bench.efficiency.listing import table
from bench.efficiency.selection import choose_contestants, choose_settings
from bench.efficiency.settings import Contestant
from mixers import stack
from mixers.support.errors import UserError

MEAN = """
from mixers.base import Mixer, MixerConfig
from torch import nn


class RunningMean(Mixer):
    arxiv = "0000.00000"
    causal = True
    implementations = ("reference",)
    presets = {"matched": MixerConfig(), "released": MixerConfig()}

    def __init__(self, config, *, implementation="reference"):
        super().__init__(config, implementation=implementation)
        self.o_proj = nn.Linear(config.width, config.width)

    def equations(self, x):
        return self.o_proj(x.cumsum(1) / (1 + x.new_ones(x.shape[1]).cumsum(0)[:, None]))

    def mixing_flops(self, *, batch, frames):
        return 2 * batch * frames * self.width
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(mixers, "__path__", [*mixers.__path__, str(tmp_path)])
    return tmp_path


def listed() -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table(preset="matched"))
    return capture.get()


def test_a_new_file_is_a_new_mixer(folder: Path) -> None:
    (folder / "running_mean.py").write_text(MEAN)
    assert "running_mean" in mixers.names()
    assert stack.count_parameters("running_mean", preset="matched") == pytest.approx(20e6, rel=0.01)
    (setting,) = settings = choose_settings(device_type="cpu")
    contestants = choose_contestants([], settings=settings, device_type="cpu")
    assert contestants[0] == Contestant(mixer="running_mean", implementation="reference", setting=setting)
    assert "running_mean/reference" in listed()


def test_a_missing_library_is_told(folder: Path) -> None:
    (folder / "elsewhere.py").write_text("import no_such_library\n")
    assert mixers.unavailable() == {"elsewhere": "No module named 'no_such_library'"}
    assert "no: No module named 'no_such_library'" in listed()
    assert "elsewhere" not in {
        each.mixer for each in choose_contestants([], settings=choose_settings(device_type="cpu"), device_type="cpu")
    }
    with pytest.raises(UserError, match="elsewhere is unavailable: No module named 'no_such_library'"):
        choose_contestants(["elsewhere"], settings=choose_settings(device_type="cpu"), device_type="cpu")


def test_the_list_says_what_runs_here_and_why_not() -> None:
    text = listed()
    for name in mixers.names():
        assert f"{stack.count_parameters(name, preset='matched'):,}" in text
        for implementation in mixers.load(name).implementations:
            assert f"{name}/{implementation}" in text
    assert "too little shared memory at 256 a head" in text
    assert "bidirectional" in text
