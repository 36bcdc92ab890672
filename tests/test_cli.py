"""The command line as its users meet it: what it measures, what it refuses, and what an interruption leaves."""

import csv
import errno
import itertools
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from bench.efficiency.records import Samples
from bench.efficiency.settings import Setting
from bench.efficiency.store import RECORDS_FILE, SAMPLES_FILE, read_records, read_samples
from mixers import stack
from tests.conftest import Sbench

FAST = ("sa/sdpa", "fox", "--lengths", "0.1,0.2", "--preset", "released", "--device", "cpu")


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


def test_the_default_output_is_a_new_folder_under_runs(sbench: Sbench, tmp_path: Path) -> None:
    code, out, _ = sbench("sweep", "sa/sdpa", *FAST[2:])
    assert code == 0
    assert out.startswith("runs/")
    assert (tmp_path / out.strip() / "figure2.png").exists()


def test_bfloat16_and_seed_are_recorded(sbench: Sbench, tmp_path: Path) -> None:
    assert sbench("sweep", *FAST, "--precision", "bfloat16", "--seed", 7, "--output", "run")[0] == 0
    assert {(record.precision, record.seed) for record in read_records(tmp_path / "run")} == {("bfloat16", 7)}


def test_what_does_not_fit_in_the_time_is_a_row_that_says_so(sbench: Sbench, tmp_path: Path) -> None:
    code, _, err = sbench(
        "sweep", "sa", "kda", "--max-seconds", 400, "--device", "cpu", "--time-budget", 3, "--output", "run"
    )
    assert code == 0
    records = read_records(tmp_path / "run")
    assert [record.seconds for record in records if record.mixer == "kda"][-1] == 400.0
    assert records[-1].status == "skipped"
    assert records[-1].latency_ms is None
    assert "of the time budget are left" in records[-1].error
    assert "kda/reference at" in err


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


def test_released_layers_get_text_within_the_call(sbench: Sbench, tmp_path: Path) -> None:
    sbench("sweep", "sa/eager", "--lengths", "2", "--device", "cpu", "--preset", "released", "--output", "run")
    (record,) = read_records(tmp_path / "run")
    assert (record.preset, record.precision, record.text_tokens) == ("released", "float32", 100)
    # What cat makes, then q, k and v, both scaled, and two matrices of scores: the text is in all of them.
    length = record.frames + record.text_tokens
    assert record.peak_memory_gib is not None
    assert record.peak_memory_gib * 2**30 > 4 * (4 * length * 1024 + 2 * 4 * length**2)


def test_an_implementation_that_cannot_run_here_is_a_row_that_says_so(sbench: Sbench, tmp_path: Path) -> None:
    code, _, err = sbench("sweep", "kda/fla", "--lengths", "0.1", "--device", "cpu", "--output", "run")
    assert code == 0
    assert read_records(tmp_path / "run")[0].status == "unavailable"
    assert "kda/fla at 0.1 s: unavailable: needs a CUDA GPU" in err


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    soundfile.write(folder / "one.wav", np.random.default_rng(0).normal(0, 0.1, (8000, 2)), 8000)
    return folder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A small wav2vec 2.0 of the mixers' width."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    config = Wav2Vec2Config(
        hidden_size=1024, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, num_conv_pos_embeddings=16
    )
    Wav2Vec2Model(config).save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def test_recordings_through_an_encoder(sbench: Sbench, tmp_path: Path, recordings: Path, encoder: Path) -> None:
    arguments = ("--lengths", "0.5,2", "--device", "cpu", "--audio", recordings, "--encoder", encoder)
    code, _, err = sbench("sweep", "sa/sdpa", *arguments, "--output", "run")
    assert code == 0, err
    records = read_records(tmp_path / "run")
    assert [record.frames for record in records] == [24, 99]
    assert records[0].input == f"1 recording through {encoder}"


BAD_INPUT = {
    "mixer": (["lightnett"], "unknown mixer 'lightnett'", "Did you mean 'lightnet'?"),
    "implementation": (["sa/spda"], "unknown implementation of sa 'spda'", "Did you mean 'sdpa'?"),
    "preset": (["--preset", "mached"], "unknown preset 'mached'", "Did you mean 'matched'?"),
    "precision": (["--precision", "bf16"], "unknown precision 'bf16'", "Did you mean 'bfloat16'?"),
    "device": (["--device", "cdua"], "unknown device 'cdua'", "Did you mean 'cuda'?"),
    "zero": (["--lengths", "0"], "0 s", "rising lengths"),
    "negative": (["--max-seconds", "-3"], "-3 s", "rising lengths"),
    "below one frame": (["--lengths", "0.01"], "less than one frame", "rising lengths"),
    "reversed": (["--lengths", "20,10"], "10 s follows 20 s", "rising lengths"),
    "not a number": (["--lengths", "ten"], "--lengths ten: not every length is a number", "--lengths 10,20,40"),
    "nan": (["--max-seconds", "nan"], "finite", "rising lengths"),
    "infinite": (["--lengths", "10,inf"], "finite", "rising lengths"),
    "two lengths": (["--lengths", "1", "--max-seconds", "2"], "exclude each other", "--lengths"),
    "no time": (["--time-budget", "0"], "--time-budget 0.0", "seconds"),
    "audio without encoder": (["--audio", "."], "--audio needs --encoder", "xlsr-random"),
    "encoder without audio": (["--encoder", "xlsr-random"], "--encoder needs --audio", "xlsr-random"),
    "audio missing": (["--audio", "nowhere", "--encoder", "xlsr-random"], "no such folder: nowhere", "wav or flac"),
    "audio empty": (["--audio", "empty", "--encoder", "xlsr-random"], "empty", "wav or flac"),
    "audio broken": (["--audio", "broken", "--encoder", "xlsr-random"], "broken/bad.wav", ""),
    "encoder wrong": (["--audio", "recordings", "--encoder", "./nowhere"], "nowhere", "xlsr-random"),
    "output exists": (["--output", "empty"], "the output folder empty exists", "--resume"),
    "output is a file": (["--output", "file"], "the output file file exists", "--output"),
    "output below a file": (["--output", "file/run"], "file/run cannot be written", "--output"),
    "resume nothing": (["--resume", "empty"], "empty/sweep.json is missing or damaged", "whole folder"),
    "mixed without resume": (["--allow-mixed"], "--allow-mixed is for a sweep that continues", "--resume"),
    "unknown execution": (["--execution", "graphs"], "unknown execution 'graphs'", "graph"),
    "unknown pass": (["--pass", "train"], "unknown pass 'train'", "Did you mean 'training'?"),
    "one of several": (["--precision", "bfloat16,fp32"], "unknown precision 'fp32'", ""),
    "a name missing": (["--precision", "float32,,bfloat16"], "a name is missing in 'float32,,bfloat16'", "commas"),
    "given twice": (["--precision", "float32,float32"], "--precision float32,float32: a value is given twice", "once"),
    "no batch": (["--batch", "0"], "--batch 0 is not a number of sequences", "--batch 1,8"),
    "batch of words": (["--batch", "1,two"], "--batch 1,two is not a number of sequences", "--batch 1,8"),
    "less than no text": (["--text-tokens", "-1"], "--text-tokens -1 is less than none", "from 0"),
    "tf32 on a CPU": (["--precision", "tf32"], "--precision tf32 needs a GPU", "float32"),
    "graph on a CPU": (["--execution", "graph"], "needs a GPU", "eager"),
    "cold cache on a CPU": (["--cold-cache"], "the L2 cache of a GPU", "CPU"),
    "resume with options": (
        ["kda", "--resume", "empty"],
        "--resume continues the sweep as it was",
        "Remove MIXER",
    ),
    "resume with a seed": (["--resume", "empty", "--seed", "7"], "continues the sweep as it was", "--seed"),
    "resume on a device": (["--resume", "empty", "--device", "cpu"], "continues the sweep as it was", "--device"),
}


@pytest.mark.parametrize(("arguments", "message", "hint"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
@pytest.mark.usefixtures("recordings")
def test_bad_input_is_one_line_a_hint_and_nothing_written(
    sbench: Sbench, tmp_path: Path, arguments: list[str], message: str, hint: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "bad.wav").write_text("this is no audio")
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = sbench("sweep", *arguments)
    first, *rest = err.splitlines()
    assert code == 2
    assert out == ""
    assert first.startswith("sbench: ")
    assert message in first
    assert len(rest) <= 1
    assert hint in "".join(rest)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_where_there_is_none(sbench: Sbench) -> None:
    code, _, err = sbench("sweep", "--device", "cuda")
    assert code == 2
    assert "no CUDA GPU is visible" in err
    assert "built for CUDA" in err
    assert sbench("tune")[0] == 2
    assert "no setting with this value is tuned: tf32" in sbench("tune", "--precision", "native,tf32")[2]
    assert "unknown mixer 'kdaa'" in sbench("tune", "kdaa")[2]


def test_wrong_flags(sbench: Sbench) -> None:
    for arguments in (["sweep", "--max-second", "3"], ["sweep", "--max-seconds", "long"], ["swep"]):
        code, _, err = sbench(*arguments)
        assert code == 2
        assert "Traceback" not in err
        assert err


COMMANDS = (
    *("sweep", "doctor", "tune", "list", "report", "compare"),
    *("train", "evaluate", "predict", "table", "corpus", "demo-corpus", "throughput"),
)


def test_help_of_every_command(sbench: Sbench) -> None:
    for command in ([], *([name] for name in COMMANDS)):
        code, out, _ = sbench(*command, "--help")
        assert code == 0
        assert "Usage: sbench" in out


def test_help_lists_every_command_in_groups_the_main_one_first(sbench: Sbench) -> None:
    _, out, _ = sbench("--help")
    assert max(map(len, out.splitlines())) <= 80
    lines = [line.split()[0] for line in out.splitlines() if line[:3].strip()]
    headings = ["Measure:", "Report:", "Train:", "Tools:"]
    assert [line for line in lines if line in headings] == [heading for heading in headings if heading in lines]
    assert headings[0] in lines
    listed = [line for line in lines if line in COMMANDS]
    assert sorted(listed) == sorted(COMMANDS)
    assert listed[: listed.index("compare") + 1] == list(COMMANDS[:6])


def test_version(sbench: Sbench) -> None:
    assert sbench("--version")[:2] == (0, f"sbench {version('sbench')}\n")


def test_list(sbench: Sbench) -> None:
    code, out, _ = sbench("list", "--preset", "released")
    assert code == 0
    assert "8,389,120" in out
    assert sbench("list", "--preset", "release")[0] == 2


WITHOUT_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from bench.cli import main
main()
"""


def without_torch(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments], capture_output=True, text=True, check=False
    )


def test_report_rebuilds_csv_and_figure_without_torch(sbench: Sbench, tmp_path: Path) -> None:
    sbench("sweep", *FAST, "--output", "run")
    made = {name: (tmp_path / "run" / name).read_bytes() for name in ("results.csv", "figure2.png")}
    for name in made:
        (tmp_path / "run" / name).unlink()
    done = without_torch("report", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert {name: (tmp_path / "run" / name).read_bytes() for name in made} == made
    with (tmp_path / "run" / "results.csv").open() as file:
        assert [row["mixer"] for row in csv.DictReader(file)] == ["sa", "sa", "fox", "fox"]


def test_compare(sbench: Sbench, tmp_path: Path) -> None:
    sbench("sweep", *FAST, "--output", "run")
    code, out, _ = sbench("compare", "run", "run", "--fail-on-slower", "5%")
    assert code == 0
    assert "0 faster, 0 slower" in out
    shutil.copytree(tmp_path / "run", tmp_path / "worse")
    path = tmp_path / "worse" / SAMPLES_FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    slowed = [line | {"latency_ms": [1000 * time for time in line["latency_ms"]]} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in slowed))
    assert sbench("compare", "run", "worse")[0] == 0
    code, out, err = sbench("compare", "run", "worse", "--fail-on-slower", "5%")
    assert code == 1
    assert "0 faster, 4 slower" in out
    assert "sa/sdpa at 0.1 s: 1000.000" in err
    assert sbench("compare", "run", "run", "--fail-on-slower", "5")[0] == 2
    assert sbench("compare", "run", "nowhere")[0] == 2


def test_report_of_what_is_not_a_sweep(sbench: Sbench, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert sbench("report", "nowhere")[0] == sbench("report", "run")[0] == 2
    (tmp_path / "run" / RECORDS_FILE).write_text('{"schema_version": 1, "mixer": "sa"')
    code, _, err = sbench("report", "run")
    assert code == 2
    assert "line 1: not a whole record" in err
    (tmp_path / "run" / RECORDS_FILE).write_text('{"schema_version": 99}\n')
    assert "schema version 99" in sbench("report", "run")[2]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [RECORDS_FILE]


SBENCH = (sys.executable, "-c", "from bench.cli import main; main()")


def test_ctrl_c_keeps_what_was_measured_and_says_how_to_continue(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    what = ["sa", "retnet", "fox", "--preset", "layer", "--lengths", "0.1,0.2,0.3,0.4", "--device", "cpu"]
    process = subprocess.Popen(
        [*SBENCH, "sweep", *what, "--output", folder],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell's job may ignore it
    )
    while not (folder / RECORDS_FILE).exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert f"sbench sweep --resume {folder}" in err
    kept = (folder / RECORDS_FILE).read_text()
    assert 1 <= len(read_records(folder)) < 12

    with (folder / RECORDS_FILE).open("a") as file:
        file.write('{"schema_version": 1, "mixer": "fo')  # as a process killed while it writes leaves it
    subprocess.run([*SBENCH, "sweep", "--resume", folder], check=True, capture_output=True)
    assert (folder / RECORDS_FILE).read_text().startswith(kept)
    assert [(record.name, record.seconds) for record in read_records(folder)] == list(
        itertools.product(["sa/reference", "retnet/reference", "fox/reference"], [0.1, 0.2, 0.3, 0.4])
    )


def test_a_sweep_of_a_gpu_cannot_go_on_without_one(
    sbench: Sbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    sbench("sweep", *FAST, "--output", "run")
    path = tmp_path / "run" / "sweep.json"
    path.write_text(path.read_text().replace('"device_type": "cpu"', '"device_type": "cuda"'))
    code, _, err = sbench("sweep", "--resume", "run", "--allow-mixed")
    assert code == 2
    assert "no CUDA GPU is visible" in err


def test_resuming_in_a_folder_that_cannot_be_written_is_the_users_to_mend(
    sbench: Sbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbench("sweep", *FAST, "--output", "run")
    samples = tmp_path / "run" / SAMPLES_FILE
    samples.write_text(samples.read_text().replace("}\n", "} \n"))  # to be mended

    def refuse(_path: Path, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    code, _, err = sbench("sweep", "--resume", "run")
    assert code == 2
    assert "run cannot be written: No space left on device" in err
    assert "Make room" in err


@pytest.mark.parametrize("when", ["bench.reporting.figures", "bench.efficiency.sweep"])
def test_ctrl_c_while_a_resumed_sweep_begins_keeps_it(tmp_path: Path, when: str) -> None:
    """It comes while a module is imported."""
    folder = tmp_path / "a [b] sweep"
    subprocess.run([*SBENCH, "sweep", *FAST, "--output", str(folder)], check=True, capture_output=True)
    kept = (folder / RECORDS_FILE).read_bytes()
    lines = kept.splitlines(keepends=True)
    (folder / RECORDS_FILE).write_bytes(b"".join(lines[:-1]))
    interrupt = f"""
import sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {when!r}:
            sys.meta_path.remove(self)
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from bench.cli import main; main()
"""
    command = [sys.executable, "-c", interrupt, "sweep", "--resume", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "sbench: interrupted" in done.stderr
    if when == "bench.reporting.figures":
        assert f"sbench sweep --resume '{folder}'" in done.stderr
    assert (folder / RECORDS_FILE).read_bytes() == b"".join(lines[:-1])


def test_resume_refuses_another_machine(sbench: Sbench, tmp_path: Path) -> None:
    sbench("sweep", *FAST, "--output", "run")
    path = tmp_path / "run" / "sweep.json"
    content = json.loads(path.read_text())
    content["environment"]["device"] = "NVIDIA H200"
    path.write_text(json.dumps(content))
    code, _, err = sbench("sweep", "--resume", "run")
    assert code == 2
    assert "device 'NVIDIA H200' then" in err
    assert "--allow-mixed" in err
    code, _, err = sbench("sweep", "--resume", "run", "--allow-mixed")
    assert code == 0, err


def test_a_full_disk_keeps_whole_records(tmp_path: Path) -> None:
    def files_of_24_kb_at_most() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, 24_000))

    lengths = [f"{length / 100:g}" for length in range(10, 50, 2)]
    what = ["sa/sdpa", "--lengths", ",".join(lengths), "--device", "cpu", "--preset", "released"]
    done = subprocess.run(
        [*SBENCH, "sweep", *what, "--output", tmp_path / "run"],
        preexec_fn=files_of_24_kb_at_most,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot be written: No space left on device" in done.stderr
    assert f"sbench sweep --resume {tmp_path / 'run'}" in done.stderr
    assert "Traceback" not in done.stderr
    assert 1 <= len(read_records(tmp_path / "run")) < len(lengths)
