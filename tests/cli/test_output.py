"""A standard output that cannot be written, of every kind of command."""

import os
import sys
from pathlib import Path

import pytest

from tests.conftest import Sbench

SWEEPS = [Path(__file__).parents[2] / "reports" / "nvidia-h100" / name for name in ("graph", "bfloat16")]

COMMANDS = {
    "--help": ("--help",),
    "--version": ("--version",),
    "list": ("list",),
    "explain": ("train", "--explain"),
    "compare": ("compare", *SWEEPS),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_full_disk_is_one_line(sbench: Sbench, monkeypatch: pytest.MonkeyPatch, command: tuple[object, ...]) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code, _, err = sbench(*command)
    assert (code, err) == (1, "sbench: standard output cannot be written: No space left on device\n")


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_reader_that_has_seen_enough_ends_a_command_quietly(
    sbench: Sbench, monkeypatch: pytest.MonkeyPatch, command: tuple[object, ...]
) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        code, _, err = sbench(*command)
    assert (code, err) == (141, "")
