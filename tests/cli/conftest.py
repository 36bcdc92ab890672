from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.commands import measure_quickly


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    soundfile.write(folder / "one.wav", np.random.default_rng(0).normal(0, 0.1, (8000, 2)), 8000)
    return folder


@pytest.fixture
def quick_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    measure_quickly(monkeypatch, samples=10)
