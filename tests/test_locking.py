"""Two processes never write one folder at the same time."""

import errno
import fcntl
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.locking import LOCK_FILE, holder, writing
from mixers.support.errors import UserError
from tests.conftest import Sbench

HOLD = """
import os, sys
from pathlib import Path
from bench.locking import writing
with writing(Path(sys.argv[1])):
    if os.fork() == 0:  # as the workers of a training do
        sys.stdin.read()
        os._exit(0)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> "Iterator[subprocess.Popen[str]]":
    """Another process, with a child, that writes the folder ``run``."""
    (tmp_path / "run").mkdir()
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize(
    "command",
    [
        ("sweep", "--resume", "run"),
        ("sweep", "sa/sdpa", "--lengths", "0.1", "--device", "cpu", "--output", "run"),
        ("train", "--resume", "run", "--device", "cpu"),
        ("train", "--demo", "--device", "cpu", "--output", "run"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_folder_that_another_process_writes_is_refused(
    sbench: Sbench, tmp_path: Path, other: "subprocess.Popen[str]", command: tuple[str, ...]
) -> None:
    code, out, err = sbench(*command)
    assert (code, out) == (2, "")
    assert f"sbench: run is being written by process {other.pid} on {platform.node()} since 2" in err
    assert [path.name for path in tmp_path.rglob("*")] == ["run", LOCK_FILE]


def test_a_kill_releases_a_folder_although_a_child_of_the_killed_process_lives(
    tmp_path: Path, other: "subprocess.Popen[str]"
) -> None:
    folder = tmp_path / "run"
    assert f"process {other.pid}" in holder(folder)
    other.kill()
    other.wait()
    assert (folder / LOCK_FILE).exists()
    assert holder(folder) == ""
    with writing(folder):
        pass
    assert list(folder.iterdir()) == []


def test_a_file_system_without_locks_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with writing(tmp_path):
        assert holder(tmp_path) == ""


def test_a_folder_that_is_not_there_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"), writing(tmp_path / "nowhere"):
        pass
