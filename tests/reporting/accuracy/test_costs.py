"""The GPU times of sweeps stand beside the scores of the same mixer, direction, width and preset, and of no other."""

import csv
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bench.efficiency.records import Record
from bench.efficiency.store import append_record
from bench.reporting.accuracy import files, table
from bench.reporting.accuracy.evaluations import Row
from mixers.support.errors import UserError
from tests.accuracy.made_up import write_run
from tests.conftest import Sbench
from tests.reporting.accuracy.test_table import results, shown
from tests.reporting.efficiency.conftest import make_up_record

LENGTHS = (10.0, 100.0)


def write_sweep(folder: Path, *records: Record) -> Path:
    folder.mkdir()
    for each in records:
        append_record(folder, each)
    return folder


def timed(name: str, *, factor: float = 1.0, **changes: Any) -> list[Record]:
    """Return records of a mixer at both lengths, 1 ms for 10 s and 10 ms for 100 s, times a factor."""
    fields: dict[str, Any] = {"direction": "alternating"} | changes
    return [make_up_record(name, seconds, **{"gpu_ms": factor * seconds / 10} | fields) for seconds in LENGTHS]


def milliseconds(found: table.AccuracyTable, row: Row, column: str = "WavLM") -> list[float | None]:
    assert found.costs is not None
    return [record.gpu_ms if record else None for record in found.costs.of(row, column)]


def test_times_are_of_the_same_mixer_direction_width_and_preset(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / direction, results("sa", "kda"), direction=direction, width=512)
        for direction in ("causal", "both")
    ]
    sweep = write_sweep(
        tmp_path / "sweep",
        *timed("sa/reference", direction="causal", width=512),
        *timed("kda/reference", direction="causal", width=512, factor=2),
        *timed("kda/reference", direction="both", width=512, factor=3),
        *timed("sa/reference", direction="both", factor=99),  # of another width
        *timed("sa/reference", direction="both", width=512, factor=99, batch=8),
        *timed("sa/reference", direction="both", width=512, factor=99, heads=8),
        *timed("sa/reference", direction="both", width=512, factor=99, pass_="training"),
        *timed("sa/reference", direction="both", width=512, factor=99, preset="layer"),
        *timed("sa/reference", direction="both", width=512, status="oom", gpu_ms=None),
    )
    found = files.write(runs, tmp_path / "table", sweeps=[sweep])
    assert found.costs is not None
    assert found.costs.seconds == LENGTHS
    assert milliseconds(found, Row("sa", "causal")) == [1, 10]
    assert milliseconds(found, Row("kda", "causal")) == [2, 20]
    assert milliseconds(found, Row("kda", "both")) == [3, 30]
    assert milliseconds(found, Row("sa", "both")) == [None, None]
    note = next(note for note in found.notes if note.startswith("GPU ms"))
    assert "at width 512, on NVIDIA H200 in bfloat16" in note
    assert "inference at batch 1," in note

    with (tmp_path / "table" / "accuracy.csv").open(newline="") as file:
        rows = {(row["mixer"], row["direction"], row["split"]): row for row in csv.DictReader(file)}
    row = rows["kda", "both", "test1"]
    assert (float(row["gpu_ms_at_10_s"]), float(row["gpu_ms_at_100_s"])) == (3, 30)
    assert [row[f"gpu_ms_{each}"] for each in ("implementation", "width", "precision", "device")] == [
        *("reference", "512"),
        *("bfloat16", "NVIDIA H200"),
    ]
    assert rows["sa", "both", "test1"]["gpu_ms_at_10_s"] == ""
    lines = (tmp_path / "table" / "accuracy.md").read_text().splitlines()
    heads = [field.strip() for field in lines[0].split("|")]
    assert heads[-3:-1] == ["GPU ms, 10 s", "GPU ms, 100 s"]
    fields = [[field.strip() for field in line.split("|")] for line in lines if line.startswith("| WavLM")]
    assert {tuple(each[-3:-1]) for each in fields if each[3:5] == ["SA", "both"]} == {("-", "-")}
    assert {tuple(each[-3:-1]) for each in fields if each[3:5] == ["KDA", "both"]} == {("3.00", "30.0")}
    assert "3.00 & 30.0 \\\\" in (tmp_path / "table" / "accuracy.tex").read_text()
    assert "NVIDIA H200" in (tmp_path / "table" / "accuracy.tex").read_text()


def test_the_runs_implementation_counts_and_otherwise_the_fastest_with_a_note(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", results("sa", "kda"), implementations={"sa": "sdpa", "kda": "reference"})
    sweep = write_sweep(
        tmp_path / "sweep",
        *timed("sa/eager", factor=0.5),
        *timed("sa/sdpa"),
        *timed("kda/fla", factor=3),
        *timed("kda/other", factor=2),
        *timed("kda/short", factor=0.1)[:1],  # without a time at the longest length
    )
    found = table.read([run], sweeps=[sweep])
    assert milliseconds(found, Row("sa", "alternating")) == [1, 10]
    assert milliseconds(found, Row("kda", "alternating")) == [2, 20]
    (note,) = [note for note in found.notes if "fastest implementation" in note]
    assert "kda/other for kda/reference" in note
    assert "sa/" not in note


def test_each_encoder_has_times_of_its_own_width(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "wide", results("sa")),
        write_run(tmp_path / "narrow", results("sa"), speech="openai/whisper-base", text=None, width=512),
    ]
    sweeps = [
        write_sweep(tmp_path / str(width), *timed("sa/reference", width=width, factor=width)) for width in (512, 1024)
    ]
    found = table.read(runs, sweeps=sweeps)
    assert milliseconds(found, Row("sa", "alternating")) == [1024, 10240]
    assert milliseconds(found, Row("sa", "alternating"), "openai/whisper-base, no text") == [512, 5120]
    assert any("at width 512 and 1024" in note for note in found.notes)


def test_the_mean_of_the_papers_encoders_costs_what_each_does(tmp_path: Path) -> None:
    encoders = ("wavlm-large", "wav2vec2-xlsr", "wav2vec2-large", "hubert-large")
    runs = [write_run(tmp_path / each, results("sa"), speech=each) for each in encoders]
    found = table.read(runs, sweeps=[write_sweep(tmp_path / "sweep", *timed("sa/reference"))])
    assert milliseconds(found, Row("sa", "alternating"), "Mean") == [1, 10]


def test_the_terminal_shows_every_length_in_80_columns(tmp_path: Path) -> None:
    lengths = [10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0]
    runs = [write_run(tmp_path / each, results("sa", "lightnet"), direction=each) for each in ("alternating", "causal")]
    records = [
        make_up_record("sa/reference", seconds, direction="alternating", gpu_ms=seconds, converged=seconds != 25)
        for seconds in lengths
    ]
    text = shown(table.read(runs, sweeps=[write_sweep(tmp_path / "sweep", *records)]))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "WavLM: GPU ms by length of audio" in text
    assert all(f"{seconds:g} s" in text for seconds in lengths)
    lines = [line.split() for line in text.splitlines()]
    assert ["SA", "alternating", "10.0", "~25.0", "50.0", "75.0", "100", "150", "200"] in lines
    assert ["SA", "causal", *["-"] * 7] in lines
    assert "~: a GPU time less precise than asked for." in text


def test_without_a_sweep_nothing_is_said_of_costs(tmp_path: Path) -> None:
    found = files.write([write_run(tmp_path / "run", results("sa"))], tmp_path / "table")
    texts = [path.read_text() for path in (tmp_path / "table").iterdir()]
    assert not any("gpu" in text.lower() for text in [*texts, shown(found)])


def test_of_two_precisions_the_runs_own_is_taken(tmp_path: Path) -> None:
    sweeps = [
        write_sweep(tmp_path / precision, *timed("sa/reference", precision=precision, factor=factor))
        for precision, factor in (("float32", 9), ("bfloat16", 1))
    ]
    found = table.read([write_run(tmp_path / "run", results("sa"))], sweeps=sweeps)
    assert milliseconds(found, Row("sa", "alternating")) == [1, 10]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"device": "NVIDIA H100"}, "NVIDIA H200 in bfloat16; NVIDIA H100 in bfloat16"),
        ({"execution": "graph"}, "NVIDIA H200 in bfloat16; NVIDIA H200 in bfloat16, graph execution"),
        ({}, "sa/reference at 10 s, bfloat16, matched preset, inference, alternating direction was measured twice"),
    ],
)
def test_times_that_cannot_stand_in_one_column_are_refused(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    one = write_sweep(tmp_path / "one", *timed("sa/reference"))
    other = write_sweep(tmp_path / "other", *(dataclasses.replace(each, **changes) for each in timed("sa/reference")))
    with pytest.raises(UserError, match=what) as refusal:
        table.read([write_run(tmp_path / "run", results("sa"))], sweeps=[one, other])
    assert "--costs" in refusal.value.hint


def test_a_sweep_of_other_models_is_refused_with_what_it_has_and_what_is_needed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", results("sa", "kda"), width=512)
    sweep = write_sweep(tmp_path / "sweep", *timed("sa/sdpa", direction="paper"))
    with pytest.raises(UserError) as refusal:
        table.read([run], sweeps=[sweep])
    assert str(refusal.value) == (
        f"no time in {sweep} fits the runs: it has pass inference, batch 1, preset matched, direction paper, "
        "width 1024, mixer sa; the runs need pass inference, batch 1, preset matched, direction alternating, "
        "width 512, mixer sa and kda"
    )
    assert "sbench sweep" in refusal.value.hint
    cpu = write_sweep(tmp_path / "cpu", *timed("sa/sdpa", gpu_ms=None, device="AMD EPYC", device_type="cpu"))
    with pytest.raises(UserError, match=r"it has no GPU time \(of AMD EPYC\); the runs need") as refusal:
        table.read([run], sweeps=[cpu])
    assert refusal.value.hint.startswith("Only a GPU gives GPU times")


def test_the_command_takes_several_sweeps(tmp_path: Path, sbench: Sbench) -> None:
    run = write_run(tmp_path / "run", results("sa", "kda", splits=("test1",)))
    sweeps = [write_sweep(tmp_path / name, *timed(f"{name}/reference")) for name in ("sa", "kda")]
    options = [option for sweep in sweeps for option in ("--costs", sweep)]
    code, out, _ = sbench("table", run, *options, "--output", "table")
    assert code == 0
    assert "GPU ms by length of audio" in out
    assert out.splitlines()[-1] == "table"
    code, _, err = sbench("table", run, "--costs", tmp_path / "nowhere", "--output", "other")
    assert (code, (tmp_path / "other").exists()) == (2, False)
    assert "no such folder" in err
