"""A mixer is one file. The registry, the list and the sweep find it there, or say why it is unavailable."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

import mixers
from bench.efficiency.listing import examine, tables
from bench.efficiency.selection import choose_contestants, choose_settings
from bench.efficiency.settings import Contestant
from mixers import stack
from mixers.base import MixerConfig
from mixers.support.errors import UserError
from tests.mixers.test_contract import PAPER

MEAN = """
from mixers.base import Implementation, Mixer, MixerConfig
from torch import nn


class RunningMean(Mixer):
    arxiv = "0000.00000"
    causal = True
    implementations = {"reference": Implementation()}
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
    """A folder whose files belong to the package `mixers` during a test."""
    monkeypatch.setattr(mixers, "__path__", [*mixers.__path__, str(tmp_path)])
    for name in ("running_mean", "broken"):
        monkeypatch.delitem(sys.modules, f"mixers.{name}", raising=False)
    return tmp_path


def listed() -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(tables(examine(preset="matched")))
    return capture.get()


def test_a_new_file_is_a_new_mixer(folder: Path) -> None:
    (folder / "running_mean.py").write_text(MEAN)
    assert "running_mean" in mixers.names()
    assert stack.count_parameters("running_mean", preset="matched") == pytest.approx(20e6, rel=0.01)
    (setting,) = settings = choose_settings(device_type="cpu")
    contestants = choose_contestants([], settings=settings, device_type="cpu")
    assert contestants[0] == Contestant(mixer="running_mean", implementation="reference", setting=setting)
    assert "running_mean/reference" in listed()


def test_a_mixer_without_a_library_is_measured_on_a_gpu_by_what_it_has(folder: Path) -> None:
    (folder / "running_mean.py").write_text(MEAN)
    (setting,) = settings = choose_settings(device_type="cuda")
    contestants = choose_contestants(["running_mean"], settings=settings, device_type="cuda")
    assert contestants == (Contestant(mixer="running_mean", implementation="reference", setting=setting),)
    assert mixers.load("running_mean").unavailable("reference", MixerConfig(), device_type="cuda") == ""


BROKEN = {
    "a missing library": ("import no_such_library\n", "No module named 'no_such_library'"),
    "no mixer": ("WIDTH = 3\n", "defines 0 subclasses of Mixer"),
    "two mixers": (MEAN + "class Another(RunningMean): ...\n", "defines 2 subclasses of Mixer"),
    "a syntax error": ("def f(:\n", "SyntaxError"),
    "an error": ("1 / 0\n", "ZeroDivisionError"),
    "no paper": (MEAN.replace("arxiv =", "source ="), "RunningMean lacks arxiv"),
    "no equations": (MEAN.replace("def equations", "def formulas"), "RunningMean lacks equations"),
    "a preset too few": (MEAN.replace(', "released": MixerConfig()', ""), "RunningMean lacks the preset released"),
    "no reference": (MEAN.replace('{"reference"', '{"fast"'), "RunningMean lacks reference"),
    "an error on exit": ("raise SystemExit(3)\n", "SystemExit: 3"),
    "a paper that is no text": (MEAN.replace('"0000.00000"', "None"), "RunningMean lacks arxiv as text"),
    "a yes": (MEAN.replace("causal = True", 'causal = "yes"'), "RunningMean lacks causal as True or False"),
    "no presets": (MEAN.replace("presets =", "sizes ="), "RunningMean lacks presets"),
    "no implementations": (MEAN.replace("implementations =", "ways ="), "RunningMean lacks implementations"),
    "a width as a preset": (
        MEAN.replace('"released": MixerConfig()', '"released": 1024'),
        "RunningMean lacks a MixerConfig as the preset released",
    ),
    "a bare function": (
        MEAN.replace("Implementation()}", 'Implementation(), "fast": print}'),
        "RunningMean lacks an Implementation named fast",
    ),
    "a method that fails": (
        MEAN + "\n    @classmethod\n    def state_numbers(cls, config):\n        return config.size\n",
        "RunningMean lacks state_numbers for the preset matched (AttributeError: 'MixerConfig' object has no",
    ),
    "a reach that is no text": (
        MEAN + "\n    @classmethod\n    def reach_at(cls, config):\n        return 5\n",
        "RunningMean lacks reach_at for the preset matched as text",
    ),
    "a reason that fails": (
        MEAN.replace("Implementation()", "Implementation(unavailable=lambda *_: 1 / 0)"),
        "RunningMean lacks unavailable of reference for the preset matched (ZeroDivisionError: division by zero)",
    ),
    "a list of names": (
        MEAN.replace('{"reference": Implementation()}', '("reference",)'),
        "RunningMean lacks reference",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_makes_only_itself_unavailable(folder: Path, case: str) -> None:
    source, reason = BROKEN[case]
    (folder / "broken.py").write_text(source)
    assert "broken" in mixers.names()
    reasons = mixers.unavailable()
    assert reasons.keys() == {"broken"}
    assert reason in reasons["broken"]
    assert "broken" in listed()
    settings = choose_settings(device_type="cpu")
    chosen = {each.mixer for each in choose_contestants([], settings=settings, device_type="cpu")}
    assert chosen == PAPER
    with pytest.raises(UserError, match="broken is unavailable") as refusal:
        choose_contestants(["broken"], settings=settings, device_type="cpu")
    assert "mend mixers/broken.py" in refusal.value.hint


def test_the_list_says_what_runs_here_and_why_not() -> None:
    text = listed()
    for name in mixers.names():
        assert f"{stack.count_parameters(name, preset='matched'):,}" in text
        for implementation in mixers.load(name).implementations:
            assert f"{name}/{implementation}" in text
    (row,) = (line for line in text.splitlines() if line.startswith("fox/fla "))
    assert ("too little shared memory at 256 a head" if torch.cuda.is_available() else "needs a CUDA GPU") in row
    assert "fixed half-lives of 0.44, 0.88, 1.8, 3.5 s by head" in text
    assert "524,288" in text
    for name, width in (("retnet", "512"), ("kda", "1,536"), ("lightnet", "1,792"), ("sa", "1,888")):
        (row,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
        assert width in row


def test_the_librarys_fox_runs_wide_heads_in_bfloat16_alone() -> None:
    """Its kernel keeps whole heads in shared memory. What is measured by default runs in every precision."""
    mixer = mixers.load("fox")
    for heads in (4, 8, 16):
        config = stack.sizes(mixer, "matched", heads=heads)
        reasons = [
            mixer.unavailable("fla", config, device_type="cuda", precision=each) for each in ("bfloat16", "tf32")
        ]
        assert [bool(reason) for reason in reasons] == [heads == 4, heads < 16]
        assert mixer.defaults(config) == (("fla",) if heads == 16 else ("triton",))


def test_heads_of_queries_share_those_of_keys_evenly() -> None:
    with pytest.raises(UserError, match="--heads 6: FoX has 4 heads of keys in released") as refusal:
        stack.sizes(mixers.load("fox"), "released", heads=6)
    assert refusal.value.hint == "Give a multiple of 4."


def test_a_group_has_no_implementation() -> None:
    with pytest.raises(UserError, match="unknown mixer 'paper'") as refusal:
        mixers.expand(["paper/reference"])
    assert "Did you mean 'paper'" not in refusal.value.hint


def test_a_group_is_a_name_for_its_mixers() -> None:
    assert set(mixers.expand(["paper"])) == PAPER
    assert set(mixers.expand(["all"])) == set(mixers.names())
    linear, attention = mixers.expand(["linear"]), mixers.expand(["attention"])
    assert attention == ["sa", "sliding", "fox"]
    assert {"kda", "mamba2", "summary"} < set(linear)
    assert set(linear) | set(attention) == set(mixers.names())
    assert not set(linear) & set(attention)
    assert mixers.expand(["kda/reference", "attention", "sa"]) == ["kda/reference", *attention]


def test_an_unknown_name_lists_groups_too() -> None:
    with pytest.raises(UserError, match="unknown mixer 'liner'") as refusal:
        mixers.expand(["sa", "liner"])
    assert "Did you mean 'linear'?" in refusal.value.hint
    assert "attention" in refusal.value.hint


def test_a_sweep_takes_groups() -> None:
    settings = choose_settings(device_type="cpu")
    chosen = choose_contestants(["attention", "sa"], settings=settings, device_type="cpu")
    assert list(dict.fromkeys(each.mixer for each in chosen)) == ["sa", "sliding", "fox"]


@pytest.mark.parametrize(("name", "narrowest"), [("deltanet", 17), ("rwkv7", 16)])
def test_where_the_library_s_kernels_break_another_implementation_is_the_default(name: str, narrowest: int) -> None:
    mixer = mixers.load(name)
    known = dataclasses.replace(mixer.presets["matched"], num_heads=1, width=narrowest)
    narrower = dataclasses.replace(known, width=narrowest - 1)
    assert mixer.unavailable("fla", known, device_type="cuda") == ""
    assert mixer.defaults(known) == ("fla",)
    assert mixer.unavailable("fla", narrower, device_type="cuda") == f"supports no keys narrower than {narrowest}"
    assert mixer.defaults(narrower) == ("chunked",)
