"""A sweep with encoders, from the command line to the report."""

import itertools
import shutil
from pathlib import Path

import pandas as pd
import pytest

from bench.efficiency.store import read_header, read_records, read_samples
from tests.conftest import Sbench
from tests.tiny_encoder import WIDTH, save_tiny_encoder
from tests.tiny_whisper import save_tiny_whisper

pytestmark = pytest.mark.usefixtures("quick_sweeps")

LENGTHS = (0.5, 1.0, 1.2)
FORMS = ("tiny/one-piece", "tiny/windows-0.5s", "whisper/windows-1s")


def measure(sbench: Sbench, folder: Path) -> None:
    save_tiny_encoder(folder / "tiny")
    save_tiny_whisper(folder / "whisper", max_source_positions=50, extractor={"chunk_length": 1})
    arguments = (
        *("sweep", "sa/eager", "sa/sdpa", "--width", WIDTH, "--lengths", "0.5,1,1.2", "--device", "cpu"),
        *("--with-encoder", "tiny,whisper", "--encoder-window", "none,0.5", "--output", "run"),
        *("--time-budget", "10000"),
    )
    code, _, err = sbench(*arguments)
    assert code == 0, err
    assert f"float32, encoder, inference, width {WIDTH}, random waveforms" in " ".join(err.split())


def test_encoders_and_the_head_are_measured_resumed_compared_and_reported(sbench: Sbench, tmp_path: Path) -> None:
    measure(sbench, tmp_path)
    folder = tmp_path / "run"
    records = read_records(folder)
    parts = [(each.part, each.name, each.width, each.window_s) for each in records[:: len(LENGTHS)]]
    assert parts == [
        *(("mixer", name, WIDTH, None) for name in ("sa/eager", "sa/sdpa")),
        *(("encoder", name, WIDTH, window_s) for name, window_s in zip(FORMS, (None, 0.5, 1.0), strict=True)),
        ("head", "head/pooling-classifier", WIDTH, None),
    ]
    assert {(each.status, each.error) for each in records} == {("ok", "")}
    for record in records:
        assert record.seconds in LENGTHS
        assert record.parameters
        assert record.flops
        assert record.weights_gib
        assert record.input_gib
        assert record.peak_memory_gib

    lines = (folder / "records.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "records.jsonl").write_bytes(b"".join(lines[:8]) + lines[8][:50])  # cut off within an encoder
    code, _, err = sbench("sweep", "--resume", "run")
    assert code == 0, err
    again = read_records(folder)
    assert [(each.case, each.window_s) for each in again] == [(each.case, each.window_s) for each in records]
    assert again[:8] == records[:8]
    assert len(read_samples(folder)) == len(records)
    assert read_header(folder).plan.contestants[3].window_s == 0.5

    code, out, _ = sbench("runs", ".")
    assert "finished" in out
    shutil.copytree(folder, tmp_path / "copy")
    code, out, _ = sbench("compare", "run", "copy")
    assert (code, "tiny/windows-0.5s" in out) == (0, True)
    code, _, err = sbench("report", "run", "--mixers", "sa", "--output", "out")
    assert code == 0, err
    table = pd.read_csv(tmp_path / "out" / "tables" / "end-to-end.csv")
    cases = list(table[["encoder", "mixer", "seconds"]].itertuples(index=False, name=None))
    assert cases == list(itertools.product(FORMS, ("sa/eager", "sa/sdpa"), LENGTHS))
    text = (tmp_path / "out" / "tables" / "end-to-end.md").read_text()
    assert "The base is sa/sdpa." in text
    assert (tmp_path / "out" / "end-to-end.png").exists()
    capacities = pd.read_csv(tmp_path / "out" / "tables" / "capacities.csv", keep_default_na=False)
    assert list(dict.fromkeys(capacities["encoder"])) == ["none", *FORMS]
    assert {path.name for path in (tmp_path / "out").glob("figure2*.png")} == {"figure2.png"}


def test_recordings_go_through_the_measured_encoder_too(sbench: Sbench, tmp_path: Path, recordings: Path) -> None:
    tiny = save_tiny_encoder(tmp_path / "tiny")
    arguments = ("--lengths", "0.5", "--device", "cpu", "--width", WIDTH, "--audio", recordings, "--encoder", tiny)
    code, _, err = sbench("sweep", "sa/sdpa", *arguments, "--with-encoder", tiny, "--output", "run")
    assert code == 0, err
    records = read_records(tmp_path / "run")
    assert [each.input for each in records] == [f"1 recording through {tiny}", "1 recording", records[0].input]
