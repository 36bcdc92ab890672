"""A whole sweep on a GPU, through the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.efficiency.records import Record
from bench.efficiency.selection import choose_contestants, choose_settings
from bench.efficiency.store import read_records, read_samples
from bench.efficiency.tune import AUTOTUNED

pytestmark = pytest.mark.gpu

EXECUTIONS = ("eager", "graph")

SBENCH = (sys.executable, "-c", "from bench.cli import main; main()")


def swept(folder: Path, *arguments: str) -> list[Record]:
    subprocess.run([*SBENCH, "sweep", *arguments, "--output", folder], check=True, timeout=280)
    return read_records(folder)


@pytest.mark.timeout(300)
def test_every_mixer(tmp_path: Path) -> None:
    records = swept(tmp_path / "run", "--lengths", "2,10", "--execution", ",".join(EXECUTIONS))
    settings = choose_settings(device_type="cuda", executions=EXECUTIONS)
    contestants = choose_contestants([], settings=settings, device_type="cuda")
    assert [(each.name, each.execution) for each in records] == [
        (each.name, each.setting.execution) for each in contestants for _ in range(2)
    ]
    assert len(read_samples(tmp_path / "run")) == len(records)
    for record in records:
        assert (record.status, record.error) == ("ok", "")
        assert record.gpu_ms is not None
        assert record.latency_ms is not None
        assert record.host_ms is not None
        assert record.reserved_gib is not None
        assert record.weights_gib is not None
        assert record.input_gib is not None
        assert record.peak_memory_gib is not None
        assert record.gpu_ms < 1.1 * record.latency_ms
        assert record.reserved_gib >= record.weights_gib + record.input_gib + record.peak_memory_gib
        assert record.sm_clock_mhz is not None
        assert bool(record.configurations) == (record.implementation in AUTOTUNED)
        if record.execution == "graph":
            assert record.host_ms < 0.2


@pytest.mark.timeout(300)
def test_an_encoder_and_the_head(tmp_path: Path) -> None:
    encoder = ("--with-encoder", "xlsr-random", "--encoder-window", "none,0.5")
    records = swept(tmp_path / "run", "sa/sdpa", "--lengths", "1", "--execution", ",".join(EXECUTIONS), *encoder)
    parts = {"mixer": 1, "encoder": 2, "head": 1}  # two forms of the encoder
    expected = [(part, execution) for part in parts for execution in EXECUTIONS for _ in range(parts[part])]
    assert [(record.part, record.execution) for record in records] == expected
    for record in records:
        assert (record.status, record.error) == ("ok", "")
        assert record.pass_ == "inference"
        for figure in (record.gpu_ms, record.latency_ms, record.peak_memory_gib, record.weights_gib, record.floor_ms):
            assert figure is not None
            assert 0 < figure < float("inf")
        assert record.gpu_ms is not None
        assert record.floor_ms is not None
        assert record.gpu_ms > record.floor_ms
        assert record.fused_attention is (True if record.part == "encoder" else None)


@pytest.mark.timeout(300)
def test_out_of_memory_is_a_row_with_what_was_asked_for_and_what_fits(tmp_path: Path) -> None:
    fits, fails = swept(tmp_path / "run", "sa/eager", "--lengths", "10,20000")
    assert fits.status == "ok"
    assert fails.status == "oom"
    assert fails.oom_requested_gib == pytest.approx(4 * fails.frames**2 * 2 / 2**30, rel=0.01)
    assert fails.longest_fitting_seconds is not None
    assert 10 < fails.longest_fitting_seconds < 20_000
