"""What all commands share: flags, help and version; and the list of mixers."""

from importlib.metadata import version

import pytest

from tests.conftest import Sbench


def test_wrong_flags(sbench: Sbench) -> None:
    for arguments in (["sweep", "--max-second", "3"], ["sweep", "--max-seconds", "long"], ["swep"]):
        code, _, err = sbench(*arguments)
        assert code == 2
        assert "Traceback" not in err
        assert err


COMMANDS = (
    *("sweep", "doctor", "tune", "list", "check", "report", "compare", "history", "runs"),
    *("train", "probe", "evaluate", "predict", "table", "corpus", "compose", "demo-corpus", "throughput"),
)


def test_help_of_every_command(sbench: Sbench) -> None:
    for command in ([], *([name] for name in COMMANDS)):
        code, out, _ = sbench(*command, "--help")
        assert code == 0
        assert "Usage: sbench" in out


@pytest.mark.parametrize(
    "command", ["sweep", "doctor", "tune", "check", "train", "probe", "evaluate", "corpus", "throughput"]
)
def test_what_shows_progress_can_be_quiet(sbench: Sbench, command: str) -> None:
    assert "--quiet" in sbench(command, "--help")[1]


def test_the_shell_completes_commands_and_options(sbench: Sbench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--install-completion" in sbench("--help")[1]
    for words, completed in (("sbench sw", "sweep"), ("sbench sweep --res", "--resume")):
        monkeypatch.setenv("_SBENCH_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
        assert sbench()[1].split() == [completed]


def test_help_lists_every_command_in_groups_the_main_one_first(sbench: Sbench) -> None:
    _, out, _ = sbench("--help")
    assert max(map(len, out.splitlines())) <= 80
    lines = [line.split()[0] for line in out.splitlines() if line[:3].strip()]
    headings = ["Measure:", "Report:", "Train:", "Tools:"]
    assert [line for line in lines if line in headings] == [heading for heading in headings if heading in lines]
    assert headings[0] in lines
    listed = [line for line in lines if line in COMMANDS]
    assert sorted(listed) == sorted(COMMANDS)
    assert listed[: listed.index("runs") + 1] == list(COMMANDS[:9])


def test_version(sbench: Sbench) -> None:
    assert sbench("--version")[:2] == (0, f"sbench {version('sbench')}\n")


def test_a_narrow_terminal_loses_no_name(sbench: Sbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = sbench("list")
    assert "lightnet_global/reference  yes" in out
    assert "19,994,624" in out
    assert "…" not in out


def test_list(sbench: Sbench) -> None:
    code, out, _ = sbench("list", "--preset", "released")
    assert code == 0
    assert "8,389,120" in out
    assert sbench("list", "--preset", "release")[0] == 2


def test_a_narrow_terminal_keeps_whole_names(sbench: Sbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = sbench("list")
    assert {"lightnet_global", "lightnet_global/reference"} <= {
        line.split()[0] for line in out.splitlines() if line.strip()
    }
