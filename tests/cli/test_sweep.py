"""What a sweep measures and leaves."""

import csv
import itertools
import json
import statistics
from pathlib import Path

import pytest

from bench.efficiency.samples import Samples
from bench.efficiency.settings import Setting
from bench.efficiency.store import read_records, read_samples
from mixers import stack
from tests.cli.commands import FAST
from tests.conftest import Sbench
from tests.tiny_whisper import WIDTH, save_tiny_whisper

quick = pytest.mark.usefixtures("quick_sweeps")


@quick
def test_a_sweep_leaves_records_table_and_figure(sbench: Sbench, tmp_path: Path) -> None:
    code, out, err = sbench("sweep", *FAST, "--output", "new/run")
    assert code == 0
    assert out.strip() == "new/run"
    assert "Measured on the CPU" in err
    folder = tmp_path / "new" / "run"
    assert {path.name for path in folder.iterdir()} == {
        *("sweep.json", "records.jsonl", "samples.jsonl"),
        *("results.csv", "figure2.png", "wall.json"),
    }
    wall = json.loads((folder / "wall.json").read_text())
    assert 0 < wall["measured_s"] <= wall["total_s"]
    assert wall["ready_s"] == {}  # nothing is compiled ahead on a CPU
    records = read_records(folder)
    assert [(record.name, record.seconds) for record in records] == list(
        itertools.product(["sa/sdpa", "fox/reference"], [0.1, 0.2])
    )
    for record in records:
        assert record.status == "ok", record.error
        assert record.samples >= 10
        assert record.latency_ms is not None
        assert record.latency_ms > 0
        assert record.peak_memory_gib is not None
        assert record.peak_memory_gib * 2**30 >= record.frames * 1024 * 4  # its own output at the least
        assert (record.device_type, record.precision) == ("cpu", "float32")
        assert "CPU allocator" in record.memory_source
        assert record.torch
    for record, samples in zip(records, read_samples(folder), strict=True):
        assert (samples.name, samples.seconds) == (record.name, record.seconds)
        assert len(samples.latency_ms) == record.samples
        assert statistics.median(samples.latency_ms) == record.latency_ms
    assert [record.causal for record in records] == [False, False, True, True]


@quick
def test_the_default_output_is_new_and_quiet_leaves_only_the_table(sbench: Sbench, tmp_path: Path) -> None:
    code, out, err = sbench("sweep", "sa/sdpa", *FAST[2:], "--quiet")
    assert code == 0
    assert err.count("Measured on the CPU") == 1  # in the table, not before it
    assert err.count("sa/sdpa") == 1  # in the table, not in a progress bar
    assert out.startswith("runs/")
    assert (tmp_path / out.strip() / "figure2.png").exists()


@quick
def test_bfloat16_and_seed_are_recorded(sbench: Sbench, tmp_path: Path) -> None:
    assert sbench("sweep", *FAST, "--precision", "bfloat16", "--seed", 7, "--output", "run")[0] == 0
    assert {(record.precision, record.seed) for record in read_records(tmp_path / "run")} == {("bfloat16", 7)}


def test_what_does_not_fit_in_the_time_is_a_row_that_says_so(sbench: Sbench, tmp_path: Path) -> None:
    code, _, err = sbench(
        "sweep", "sa", "kda", "--max-seconds", 400, "--device", "cpu", "--time-budget", 3, "--output", "run"
    )
    records = read_records(tmp_path / "run")
    assert code == (0 if any(record.status == "ok" for record in records) else 1)
    assert [record.seconds for record in records if record.mixer == "kda"][-1] == 400.0
    assert records[-1].status == "skipped"
    assert records[-1].latency_ms is None
    assert "share of --time-budget" in records[-1].error
    assert "kda/chunked at" in err


@quick
def test_every_combination_of_the_axes_is_measured(sbench: Sbench, tmp_path: Path) -> None:
    axes = ("--pass", "inference,training", "--batch", "1,2", "--text-tokens", "5", "--time-budget", "1000")
    what = ("sa/sdpa", "--preset", "layer", "--lengths", "0.2,0.4", "--device", "cpu")
    code, out, err = sbench("sweep", *what, *axes, "--output", "run")
    assert (code, out) == (0, "run\n")
    records = read_records(tmp_path / "run")
    settings = [(record.pass_, record.batch) for record in records]
    assert settings == [(pass_, batch) for pass_ in ("inference", "training") for batch in (1, 2) for _ in range(2)]
    assert {(record.status, record.text_tokens) for record in records} == {("ok", 5)}
    assert [record.frames for record in records[:2]] == [9, 19]
    assert [sum(1 for _ in group) for _, group in itertools.groupby(read_samples(tmp_path / "run"), _setting)] == [
        2
    ] * 4

    one, two, training = records[1], records[3], records[5]
    model = stack.build("sa", implementation="sdpa", preset="layer")
    assert one.flops == model.flops(batch=1, frames=19 + 5)
    assert two.flops == 2 * one.flops
    assert training.flops == 3 * one.flops
    assert one.minimum_bytes is not None
    assert training.minimum_bytes == 2 * one.minimum_bytes
    assert one.peak_memory_gib is not None
    assert two.peak_memory_gib is not None
    assert training.peak_memory_gib is not None
    assert 1.9 * one.peak_memory_gib < two.peak_memory_gib < 2.1 * one.peak_memory_gib
    assert one.parameters is not None
    assert training.peak_memory_gib > one.parameters * 4 / 2**30  # the gradients
    assert "training, batch 2, 5 text tokens" in err
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == {
        f"figure2-{pass_}-batch-{batch}.png" for pass_ in ("inference", "training") for batch in (1, 2)
    }


def _setting(samples: Samples) -> Setting:
    return samples.setting


@quick
def test_released_layers_get_text_within_the_call(sbench: Sbench, tmp_path: Path) -> None:
    sbench("sweep", "sa/eager", "--lengths", "2", "--device", "cpu", "--preset", "released", "--output", "run")
    (record,) = read_records(tmp_path / "run")
    assert (record.preset, record.precision, record.text_tokens) == ("released", "float32", 100)
    # What cat makes, then q, k and v, both scaled, and two matrices of scores: the text is in all of them.
    length = record.frames + record.text_tokens
    assert record.peak_memory_gib is not None
    assert record.peak_memory_gib * 2**30 > 4 * (4 * length * 1024 + 2 * 4 * length**2)


@quick
def test_an_implementation_that_cannot_run_here_is_a_row_that_says_so(sbench: Sbench, tmp_path: Path) -> None:
    code, _, err = sbench("sweep", "kda/fla", "--lengths", "0.1", "--device", "cpu", "--output", "run")
    assert code == 1
    assert read_records(tmp_path / "run")[0].status == "unavailable"
    assert "kda/fla at 0.1 s: unavailable: needs a CUDA GPU" in err


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A small wav2vec 2.0 of the mixers' width."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(
        hidden_size=1024, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, num_conv_pos_embeddings=16
    )
    Wav2Vec2Model(config).save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


@quick
def test_recordings_through_an_encoder(sbench: Sbench, tmp_path: Path, recordings: Path, encoder: Path) -> None:
    arguments = ("--lengths", "0.5,2", "--device", "cpu", "--audio", recordings, "--encoder", encoder)
    code, _, err = sbench("sweep", "sa/sdpa", *arguments, "--output", "run")
    assert code == 0, err
    records = read_records(tmp_path / "run")
    assert [record.frames for record in records] == [24, 99]
    assert records[0].input == f"1 recording through {encoder}"


@quick
def test_single_calls_are_timed_in_several_processes(sbench: Sbench, tmp_path: Path) -> None:
    code, _, err = sbench("sweep", *FAST, "--processes", "3", "--output", "run")
    assert code == 0
    assert "single calls, process 2 of 3: float32, released preset, inference" in err
    cases = list(itertools.product(["sa/sdpa", "fox/reference"], [0.1, 0.2]))
    folder = tmp_path / "run"
    samples = read_samples(folder)
    assert [(each.process, each.name, each.seconds) for each in samples] == [
        (process, *case) for process in (1, 2, 3) for case in cases
    ]
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["mixer"], row["processes"]) for row in rows] == [("sa", "3"), ("sa", "3"), ("fox", "3"), ("fox", "3")]
    for row, (name, seconds) in zip(rows, cases, strict=True):
        medians = [
            statistics.median(each.latency_ms) for each in samples if (each.name, each.seconds) == (name, seconds)
        ]
        found = [float(row[column]) for column in ("latency_ms_low", "latency_ms", "latency_ms_high")]
        assert found == pytest.approx(sorted(medians))
        assert int(row["samples"]) >= 30


@quick
def test_what_later_processes_have_not_timed_is_timed_on_resuming(sbench: Sbench, tmp_path: Path) -> None:
    sbench("sweep", *FAST, "--processes", "2", "--output", "run")
    folder = tmp_path / "run"
    path, records = folder / "samples.jsonl", (folder / "records.jsonl").read_bytes()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:100])  # two and a half of its four cases are missing
    code, _, err = sbench("sweep", "--resume", "run")
    assert code == 0
    assert "8/8" in err
    assert [each.process for each in read_samples(folder)] == [1] * 4 + [2] * 4
    assert path.read_bytes().startswith(b"".join(lines[:5]))
    assert (folder / "records.jsonl").read_bytes() == records


@quick
def test_resuming_measures_again_what_has_lost_its_samples_and_says_so(sbench: Sbench, tmp_path: Path) -> None:
    sbench("sweep", *FAST, "--output", "run")
    records, samples = (tmp_path / "run" / name for name in ("records.jsonl", "samples.jsonl"))
    kept = records.read_text().splitlines()[:2]
    samples.write_text("".join(samples.read_text().splitlines(keepends=True)[:2]))
    code, _, err = sbench("sweep", "--resume", "run")
    assert code == 0
    assert "run is repaired, and what it lacks is measured again: records without samples: 2" in err
    assert records.read_text().splitlines()[:2] == kept
    assert len(read_records(tmp_path / "run")) == len(read_samples(tmp_path / "run")) == 4


@quick
def test_every_direction_is_measured(sbench: Sbench, tmp_path: Path) -> None:
    directions = ("causal", "alternating", "both", "paper")
    sweep = ("sweep", "sa/sdpa", "retnet", "--lengths", "0.1", "--device", "cpu", "--time-budget", "600")
    code, _, err = sbench(*sweep, "--direction", ",".join(directions), "--output", "run")
    assert code == 0
    assert "alternating direction" in err
    records = {(record.mixer, record.direction): record for record in read_records(tmp_path / "run")}
    assert {record.status for record in records.values()} == {"ok"}
    for mixer, causal in (("sa", [True, False, False, False]), ("retnet", [True, False, False, True])):
        assert [records[mixer, direction].causal for direction in directions] == causal
        assert len({records[mixer, direction].parameters for direction in directions}) == 1
    flops = {case: record.flops or 0 for case, record in records.items()}
    assert flops["sa", "causal"] < flops["sa", "both"] == flops["sa", "alternating"]
    assert flops["retnet", "both"] > flops["retnet", "alternating"] == flops["retnet", "causal"]
    assert {path.name for path in (tmp_path / "run").glob("figure2*")} == {
        f"figure2-{direction}.png" for direction in directions
    }


@quick
def test_two_mixers_in_one_conformer_with_twice_the_heads(sbench: Sbench, tmp_path: Path) -> None:
    what = ("sa+retnet/sdpa+reference", "retnet", "--preset", "matched,conformer", "--heads", "4,8", "--width", "64")
    code, out, err = sbench("sweep", *what, "--lengths", "0.1", "--device", "cpu", "--output", "run")
    assert (code, out) == (0, "run\n"), err
    assert "conformer preset" in err
    records = {(each.mixer, each.preset, each.heads): each for each in read_records(tmp_path / "run")}
    assert len(records) == 8
    for (mixer, preset, heads), record in records.items():
        assert (record.status, record.conforms, record.causal) == ("ok", True, False)
        assert record.parameters == stack.count_parameters(mixer, preset=preset, width=64, heads=heads)
        assert record.reach.count("by head") == 1
        assert record.reach.count("; then ") == (mixer == "sa+retnet")
    assert records["retnet", "matched", 4].reach != records["retnet", "matched", 8].reach
    assert {each.name for each in (tmp_path / "run").glob("figure2*.png")} == {
        f"figure2-{preset}-{heads}-heads.png" for preset in ("matched", "conformer") for heads in (4, 8)
    }


@quick
def test_the_default_direction_lets_every_frame_of_a_stack_see_the_clip(sbench: Sbench, tmp_path: Path) -> None:
    sbench("sweep", "retnet", "--preset", "matched,layer", "--lengths", "0.1", "--device", "cpu", "--output", "run")
    found = [(record.preset, record.direction, record.causal) for record in read_records(tmp_path / "run")]
    assert found == [("matched", "alternating", False), ("layer", "paper", True)]


@quick
def test_stacks_of_every_width_are_measured(sbench: Sbench, tmp_path: Path) -> None:
    sweep = ("sweep", "kda", "--lengths", "0.2", "--device", "cpu", "--time-budget", "600")
    code, _, err = sbench(*sweep, "--width", "64,128", "--output", "run")
    assert code == 0
    assert "alternating direction, width 64, random features" in " ".join(err.split())
    records = {record.width: record for record in read_records(tmp_path / "run")}
    assert list(records) == [64, 128]
    for width, record in records.items():
        model = stack.build("kda", implementation="reference", preset="matched", width=width, direction="alternating")
        assert isinstance(model, stack.MixerStack)
        assert record.parameters == model.parameter_count()
        assert record.feed_forward_width == model.feed_forward_width
        assert record.flops == model.flops(batch=1, frames=record.frames)
        assert record.minimum_bytes == 4 * (2 * record.frames * width + model.parameter_count())
        assert record.input_gib is not None
        assert record.input_gib * 2**30 == record.frames * width * 4
    assert [record.state_numbers for record in records.values()] == [4 * 16**2, 4 * 32**2]
    assert {path.name for path in (tmp_path / "run").glob("figure2*")} == {
        f"figure2-width-{width}.png" for width in (64, 128)
    }


@quick
def test_an_encoder_of_the_width_makes_the_input(sbench: Sbench, tmp_path: Path, recordings: Path) -> None:
    whisper = save_tiny_whisper(tmp_path / "whisper")
    sweep = ("sweep", "sa/sdpa", "--lengths", "0.5", "--device", "cpu", "--audio", recordings, "--encoder", whisper)
    assert sbench(*sweep, "--width", WIDTH, "--output", "run")[0] == 0
    (record,) = read_records(tmp_path / "run")
    assert (record.width, record.input) == (WIDTH, f"1 recording through {whisper}")
    code, _, err = sbench(*sweep, "--output", "other")
    assert code == 2
    assert f"has {WIDTH} features per frame, the mixers 1024" in err
    assert f"--width {WIDTH}" in err
