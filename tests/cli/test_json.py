"""`--json`: every key is on the page about it, and the page names no other."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.efficiency import isolation
from bench.efficiency.doctor import checks
from bench.efficiency.doctor.verdicts import Diagnosis, Finding, Repetitions
from tests.conftest import Sbench

REPORTS = Path(__file__).parents[2] / "reports"
FREE = ("cases[].setting", "smallest_difference", "repetitions[].medians_ms")  # their keys are explained elsewhere


def documented(command: str) -> set[str]:
    """The keys that the page names."""
    section = (REPORTS / "json.md").read_text().split(f"## {command}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.+?) +\|", section, re.MULTILINE)
    return {key for cell in cells for key in re.findall("`(.+?)`", cell)}


def keys(value: Any, place: str = "") -> Iterator[str]:
    """The place of every value that is neither a list nor an object."""
    if isinstance(value, dict) and place not in FREE:
        for name, each in value.items():
            yield from keys(each, f"{place}.{name}".removeprefix("."))
    elif isinstance(value, list):
        for each in value:
            yield from keys(each, f"{place}[]")
    else:
        yield place


def test_list(sbench: Sbench) -> None:
    code, out, _ = sbench("list", "--json")
    found = json.loads(out)
    assert code == 0
    assert set(keys(found)) == documented("list")
    assert {each["mixer"]: each["state_numbers"] for each in found["mixers"]}["retnet"] == 524_288
    runs = {each["name"]: each["runs_here"] for each in found["implementations"]}
    assert runs["sa/reference"]


def test_compare(sbench: Sbench) -> None:
    before, after = REPORTS / "nvidia-h100" / "bfloat16", REPORTS / "nvidia-h100" / "released"
    code, out, _ = sbench("compare", before, after, "--json")
    found = json.loads(out)
    assert code == 0
    assert set(keys(found)) == documented("compare")
    judged = [case for case in found["cases"] if case["verdict"]]
    assert len(judged) == 44
    assert all(case["ratio"] == case["after_ms"] / case["before_ms"] for case in judged)
    assert {case["setting"]["pass"] for case in judged} == {"inference"}
    assert {case["reason"] for case in found["cases"] if not case["verdict"]} == {
        "no samples of gpu_ms on both sides",
        "only after",
        "only before",
    }


def test_doctor(sbench: Sbench, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding(check="sleep", expected="20 ms", measured="30 ms", passed=False)
    repetitions = Repetitions(case="sa/sdpa at 1 s", medians_ms={"single call": [1.0, 1.25]})
    diagnosis = Diagnosis(findings=[finding], repetitions=[repetitions])
    monkeypatch.setattr(isolation, "start_server", lambda: None)
    monkeypatch.setattr(checks, "examine", lambda *_, **__: diagnosis)
    code, out, _ = sbench("doctor", "--json", "--device", "cpu")
    found = json.loads(out)
    assert code == 1
    assert set(keys(found)) == documented("doctor")
    assert found["smallest_difference"] == {"single call": 0.25}
    assert found["findings"] == [dataclasses.asdict(finding)]


def test_runs(sbench: Sbench) -> None:
    code, out, _ = sbench("runs", REPORTS, "--json")
    found = json.loads(out)
    assert code == 0
    assert {place.removesuffix("[]") for place in keys(found)} <= {
        place.removesuffix("[]") for place in documented("runs")
    }
    assert len(found) == sum(len([*REPORTS.rglob(name)]) for name in ("sweep.json", "probe.json")) > 10
    assert {each["kind"] for each in found} == {"sweep", "probe"}
    assert {(each["state"], each["resume"]) for each in found} == {("finished", "")}
