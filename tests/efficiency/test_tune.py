"""A search of kernel configurations keeps what it has found. What it finds is made up."""

import json
import time
from pathlib import Path

import pytest

from bench.efficiency import tune
from mixers import tuned


def test_what_is_found_is_kept_at_once_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: tuned.Files = {}
    monkeypatch.setattr(tuned, "chosen_configurations", lambda: dict(found))

    def entries(kernel: str) -> object:
        return json.loads((tmp_path / "search" / f"{kernel}.json").read_text())["autotune_entries"]

    with tune.keeping(tmp_path / "search", every_s=0.01):
        found["first"] = {"autotune_entries": {"key": "choice"}}
        end = time.monotonic() + 30
        while not (tmp_path / "search" / "first.json").exists() and time.monotonic() < end:
            time.sleep(0.01)
        assert entries("first") == {"key": "choice"}
        found["second"] = {"autotune_entries": {"other": "choice"}}
    assert entries("second") == {"other": "choice"}
