"""A run's folder is read strictly, by every version of its preset's name, and without torch."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.accuracy import run as runs
from bench.accuracy.parts import PARTS, Layer, choose_layer
from bench.accuracy.run import DIRECTIONS, Run
from mixers import stack
from mixers.support.errors import UserError


def test_a_run_reads_back_as_it_was_written(make_run: Callable[..., Run], tmp_path: Path) -> None:
    for name, run in {"one": make_run(), "other": make_run(text=None, scale=None, preset="released")}.items():
        runs.start(run, tmp_path / name)
        assert runs.read(tmp_path / name) == run


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_direction_is_that_of_every_model(make_run: Callable[..., Run], tmp_path: Path, direction: str) -> None:
    runs.start(make_run(direction=direction), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["direction"] == direction
    assert {config.direction for config, _ in runs.read(tmp_path / "run").models()} == {direction}


def test_a_run_of_before_directions_is_the_papers(make_run: Callable[..., Run], tmp_path: Path) -> None:
    runs.start(make_run(), tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    fields = json.loads(path.read_text())
    del fields["direction"]
    path.write_text(json.dumps(fields))
    assert runs.read(tmp_path / "run") == make_run(direction="paper")


def test_directions_are_those_of_the_models_and_the_preset_chooses() -> None:
    assert DIRECTIONS == stack.DIRECTIONS == tuple(runs.SEEN)
    assert runs.choose_direction(None, "matched") == "alternating"
    assert runs.choose_direction(None, "released") == "paper"
    assert all(runs.choose_direction(each, "released") == each for each in DIRECTIONS)
    with pytest.raises(UserError, match="unknown direction 'causual'") as caught:
        runs.choose_direction("causual", "matched")
    assert "Did you mean 'causal'?" in caught.value.hint


def test_the_former_name_of_a_preset_is_read(make_run: Callable[..., Run], tmp_path: Path) -> None:
    runs.start(make_run(), tmp_path / "run")
    change(tmp_path / "run", preset="paper")
    assert runs.read(tmp_path / "run").preset == "matched"
    assert runs.choose_preset("paper") == "matched"


def change(folder: Path, **fields: object) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": "20"}, "run.json is damaged: epochs"),
        ({"preset": "large"}, "run.json is damaged: preset"),
        ({"direction": "forward"}, "run.json is damaged: direction"),
        ({"layer": "first"}, "run.json is damaged: layer"),
        ({"layer": True}, "run.json is damaged: layer"),
        ({"class_weights": 1}, "run.json is damaged: class_weights"),
        ({"direction": None}, "run.json is damaged: direction"),
        ({"encoders": {"speech": "wavlm-large"}}, r"run.json is damaged: encoders\.text"),
        ({"implementations": {}}, "run.json is damaged: mixers and implementations differ"),
        ({"scale": {"mean": 0.0}}, r"run.json is damaged: scale\.deviation"),
        ({"unheard_of": 1}, "run.json is damaged: unheard_of"),
        ({"epochs": -3}, "run.json is damaged: epochs is not between 1 and 1,000,000"),
        ({"width": 2**70}, "run.json is damaged: width is not between"),
        ({"seeds": [0, 0]}, "run.json is damaged: seeds is empty or repeats a value"),
        ({"mixers": [], "implementations": {}}, "run.json is damaged: mixers is empty"),
        ({"learning_rate": -1.0}, "run.json is damaged: learning_rate is not positive"),
        ({"crop_seconds": 0.0}, "run.json is damaged: crop_seconds is not positive"),
        ({"schedule": "warp"}, "run.json is damaged: schedule"),
        ({"precision": "float8"}, "run.json is damaged: precision"),
        ({"version": 1}, "is a run of version 1, this sbench reads 2"),
    ],
)
def test_what_is_wrong_with_a_run_is_named(
    make_run: Callable[..., Run], tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    runs.start(make_run(), tmp_path / "run")
    change(tmp_path / "run", **fields)
    with pytest.raises(UserError, match=message) as caught:
        runs.read(tmp_path / "run")
    assert str(tmp_path / "run") in str(caught.value)
    assert caught.value.hint


def test_reading_a_run_imports_no_torch() -> None:
    code = "import sys, bench.accuracy.run; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.parametrize("layer", ["last", "weighted", 0, 12])
def test_the_layer_is_that_of_every_model(make_run: Callable[..., Run], tmp_path: Path, layer: Layer) -> None:
    runs.start(make_run(layer=layer), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["layer"] == layer
    assert {config.layer for config, _ in runs.read(tmp_path / "run").models()} == {layer}


@pytest.mark.parametrize(
    ("preset", "layer", "norms", "depth", "weights"),
    [
        ("paper", "last", False, 1, False),
        ("matched", "last", False, 1, False),
        ("released", "weighted", True, 5, True),
    ],
)
def test_an_earlier_run_has_the_parts_that_its_preset_had(
    make_run: Callable[..., Run], tmp_path: Path, preset: str, layer: Layer, norms: bool, depth: int, weights: bool
) -> None:
    runs.start(make_run(), tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    fields = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("layer", *PARTS)}
    path.write_text(json.dumps(fields | {"preset": preset}))
    run = runs.read(tmp_path / "run")
    assert (run.layer, run.stream_norms, run.classifier_layers, run.class_weights) == (layer, norms, depth, weights)
    ((config, _), *_) = run.models()
    assert (config.layer, config.stream_norms, config.classifier_layers) == (layer, norms, depth)


def test_a_layer_is_a_number_or_one_of_two_names() -> None:
    assert [choose_layer(each) for each in ("last", "weighted", "0", "12")] == ["last", "weighted", 0, 12]
    for name in ("", "-1", "1.5", "first", "\u0664"):
        with pytest.raises(UserError, match="no such layer") as caught:
            choose_layer(name)
        assert "weighted" in caught.value.hint
