"""What Ctrl-C and a full disk leave of a sweep, and how it continues."""

import errno
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bench import signals
from bench.efficiency.store import RECORDS_FILE, SAMPLES_FILE, read_records
from bench.efficiency.wall_time import read_wall_time
from bench.locking import holder
from tests.cli.commands import FAST, SBENCH
from tests.conftest import Sbench


def test_ctrl_c_keeps_what_was_measured_and_says_how_to_continue(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    what = ["sa/reference", "retnet", "fox", "--preset", "layer", "--lengths", "0.1,0.2", "--device", "cpu"]
    what += ["--time-budget", "6"]
    process = subprocess.Popen(
        [*SBENCH, "sweep", *what, "--output", folder],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear,
    )
    while not (folder / RECORDS_FILE).exists() and process.poll() is None:
        time.sleep(0.02)
    assert f"process {process.pid} " in holder(folder)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert holder(folder) == ""
    assert "Traceback" not in err
    assert f"sbench sweep --resume {folder}" in err
    kept = (folder / RECORDS_FILE).read_text()
    measured = len(read_records(folder))
    assert 1 <= measured < 6
    first = read_wall_time(folder)
    assert first
    assert (first.sessions, first.cases) == (1, measured)

    with (folder / RECORDS_FILE).open("a") as file:
        file.write('{"schema_version": 1, "mixer": "fo')  # as a process killed while it writes leaves it
    subprocess.run([*SBENCH, "sweep", "--resume", folder], check=True, capture_output=True)
    assert (folder / RECORDS_FILE).read_text().startswith(kept)
    assert [(record.name, record.seconds) for record in read_records(folder)] == list(
        itertools.product(["sa/reference", "retnet/reference", "fox/reference"], [0.1, 0.2])
    )
    both = read_wall_time(folder)
    assert both
    assert (both.sessions, both.cases, both.untimed_cases) == (2, 6, 0)
    assert both.total_s > first.total_s


@pytest.mark.usefixtures("quick_sweeps")
def test_a_sweep_of_a_gpu_cannot_continue_without_one(
    sbench: Sbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    sbench("sweep", *FAST, "--output", "run")
    path = tmp_path / "run" / "sweep.json"
    path.write_text(path.read_text().replace('"device_type": "cpu"', '"device_type": "cuda"'))
    code, _, err = sbench("sweep", "--resume", "run", "--allow-mixed")
    assert code == 2
    assert "no CUDA GPU is visible" in err


@pytest.mark.usefixtures("quick_sweeps")
def test_resuming_in_a_folder_that_cannot_be_written_is_a_user_error(
    sbench: Sbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbench("sweep", *FAST, "--output", "run")
    samples = tmp_path / "run" / SAMPLES_FILE
    samples.write_text(samples.read_text().replace("}\n", "} \n"))  # to be repaired

    def refuse(_path: Path, _content: bytes) -> int:
        raise OSError(reason, os.strerror(reason))

    reason = errno.ENOSPC
    monkeypatch.setattr(Path, "write_bytes", refuse)
    for number, said in ((errno.ENOSPC, "Make room"), (errno.EACCES, "Check that you may write there")):
        reason = number
        code, _, err = sbench("sweep", "--resume", "run")
        assert code == 2
        assert f"run cannot be written: {os.strerror(number)}" in err
        assert said in err


@pytest.mark.usefixtures("quick_sweeps")
@pytest.mark.parametrize("when", ["bench.reporting.figures", "bench.efficiency.sweep"])
def test_ctrl_c_while_a_resumed_sweep_begins_keeps_it(sbench: Sbench, tmp_path: Path, when: str) -> None:
    """It comes while a module is imported."""
    folder = tmp_path / "a [b] sweep"
    sbench("sweep", *FAST, "--output", folder)
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
    command = [sys.executable, "-c", interrupt, "sweep", "--allow-mixed", "--resume", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "sbench: interrupted" in done.stderr
    if when == "bench.reporting.figures":
        assert f"sbench sweep --resume '{folder}'" in done.stderr
    assert (folder / RECORDS_FILE).read_bytes() == b"".join(lines[:-1])


@pytest.mark.usefixtures("quick_sweeps")
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


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ('{"plan": ', "is damaged: Invalid JSON: EOF", "`sbench report run` needs only the records"),
        ('{"plan": {}, "environment": {}}', "is damaged: plan.contestants: Field required", "Restore it"),
        ('{"schema_version": 99}', "schema version 99, this sbench reads 1", "the version of sbench that wrote it"),
    ],
    ids=["cut off", "a field missing", "newer"],
)
def test_resuming_names_what_is_wrong_with_the_plan(
    sbench: Sbench, tmp_path: Path, content: str, message: str, hint: str
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "sweep.json").write_text(content)
    code, _, err = sbench("sweep", "--resume", "run")
    line, advice = err.splitlines()
    assert code == 2
    assert line.startswith("sbench: run/sweep.json")
    assert message in line
    assert hint in advice


def test_a_full_disk_keeps_whole_records(tmp_path: Path) -> None:
    def files_of_8_kb_at_most() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))

    lengths = [f"{length / 100:g}" for length in range(10, 20)]
    what = ["sa/sdpa", "--lengths", ",".join(lengths), "--device", "cpu", "--preset", "released", "--time-budget", "20"]
    done = subprocess.run(
        [*SBENCH, "sweep", *what, "--output", tmp_path / "run"],
        preexec_fn=files_of_8_kb_at_most,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot be written: No space left on device" in done.stderr
    assert f"sbench sweep --resume {tmp_path / 'run'}" in done.stderr
    assert "Traceback" not in done.stderr
    assert 1 <= len(read_records(tmp_path / "run")) < len(lengths)


@pytest.mark.parametrize(
    ("sent", "code", "line"),
    [
        ([signal.SIGTERM], 143, "sbench: ended by SIGTERM"),
        ([signal.SIGHUP], 129, "sbench: ended by SIGHUP"),
        ([signal.SIGINT, signal.SIGINT], 130, "sbench: interrupted"),
        ([signal.SIGINT, signal.SIGTERM, signal.SIGINT], 130, "sbench: interrupted"),
    ],
    ids=["SIGTERM", "SIGHUP", "twice", "impatient"],
)
def test_every_signal_keeps_what_was_measured_and_says_how_to_continue(
    tmp_path: Path, sent: list[signal.Signals], code: int, line: str
) -> None:
    folder = tmp_path / "run"
    lengths = ",".join(f"{length / 100:g}" for length in range(10, 60))
    what = ("sa/sdpa", "--lengths", lengths, "--preset", "released", "--device", "cpu", "--time-budget", 20)
    process = begin(*what, "--output", folder)
    while not (folder / RECORDS_FILE).exists() and process.poll() is None:
        time.sleep(0.02)
    for number in sent:
        os.killpg(process.pid, number)  # as Slurm and a terminal send it: to all processes
        time.sleep(0.1)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "Error" not in err
    assert err.rstrip().endswith(line)
    assert f"To continue: sbench sweep --resume {folder}" in err
    records = read_records(folder)
    assert 1 <= len(records) < 50
    assert {record.status for record in records} == {"ok"}


def test_under_nohup_a_sweep_outlives_its_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    what = ("sweep", "sa/sdpa", "--lengths", "0.1", "--preset", "layer", "--device", "cpu", "--output", folder)
    process = subprocess.Popen(
        ["nohup", *SBENCH, *what],
        stdout=subprocess.DEVNULL,  # otherwise nohup may write a file
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not handles(process.pid, signal.SIGTERM):
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(read_records(folder)) == 1


@pytest.mark.parametrize("moment_s", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_the_start_ends_in_one_line(tmp_path: Path, moment_s: float, number: signal.Signals) -> None:
    """It may come while Python imports, while the server of children starts, or while the first case is measured."""
    folder = tmp_path / "run"
    lengths = ",".join(f"{length / 100:g}" for length in range(10, 60))
    what = ("sa/sdpa", "--lengths", lengths, "--preset", "released", "--device", "cpu", "--time-budget", 20)
    process = begin(*what, "--output", folder)
    while not handles(process.pid, signal.SIGTERM):
        time.sleep(0.001)
    time.sleep(moment_s)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert err.rstrip().endswith(("sbench: interrupted", "sbench: ended by SIGTERM"))
    assert not folder.exists() or f"sbench sweep --resume {folder}" in err


def handles(pid: int, number: int) -> bool:
    """Tell whether a process has a handler for a signal."""
    (caught,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], base=16) >> (number - 1) & 1)


def begin(*what: object) -> "subprocess.Popen[str]":
    """Start a sweep in a process group of its own."""
    return subprocess.Popen(
        [*SBENCH, "sweep", *map(str, what)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear,
    )


def hear() -> None:
    """Handle what a shell's job and nohup ignore, as a command in a terminal does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("times", [1, 3])
def test_a_signal_that_a_destructor_ignores_comes_again(capfd: pytest.CaptureFixture[str], times: int) -> None:
    """Python ignores every exception of a destructor, such as the one with which PyTorch ends its readers of audio."""

    class Reader:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def read() -> None:
        for _ in range(times):
            Reader()
        time.sleep(10)

    with pytest.raises(KeyboardInterrupt), signals.handled(), signals.interruptible():
        read()
    time.sleep(0.1)  # no signal follows
    assert signals.exit_code() == 128 + signal.SIGTERM
    assert capfd.readouterr().err == ""


def test_a_destructor_that_finds_its_children_ended_by_the_signal_too_says_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Reader:
        def __del__(self) -> None:
            raise RuntimeError("worker is killed by signal: Terminated")

    def read() -> None:
        readers = [Reader()]
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            readers.clear()

    with pytest.raises(KeyboardInterrupt), signals.handled(), signals.interruptible():
        read()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("code", "said"), [(143, False), (130, False), (2, True), (0, True)])
def test_after_a_signal_the_process_ends_without_destructors(code: int, said: bool) -> None:
    ends = (
        "import sys; from bench import signals\n"
        "class Reader:\n def __del__(self): print('killed by signal', file=sys.stderr)\n"
        f"reader = Reader()\nwith signals.leaving(): print('kept'); sys.exit({code})"
    )
    done = subprocess.run([sys.executable, "-c", ends], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "kept\n")
    assert ("killed" in done.stderr) == said


def test_other_faults_of_destructors_are_still_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Faulty:
        def __del__(self) -> None:
            raise ValueError("no")

    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda fault: said.append(fault.exc_type))
    with signals.handled(), signals.interruptible():
        Faulty()
    assert said == [ValueError]
