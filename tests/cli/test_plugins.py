"""A mixer of a third party, installed or in a file, takes part in all that ours do."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import mixers
from bench.efficiency.listing import examine
from bench.efficiency.store import read_header, read_records
from mixers.support import plugins
from tests.cli.commands import FAST, measure_quickly
from tests.cli.test_json import documented, keys
from tests.conftest import EXAMPLE_PLUGIN, Sbench, example_plugin

SHORT = ("--lengths", "0.1", *FAST[4:])
PACKAGE = "sbench-running-mean 0.3.1"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's mixer as a single file."""
    copy = tmp_path_factory.mktemp("file") / "mean_so_far.py"
    copy.write_text((EXAMPLE_PLUGIN / "sbench_running_mean.py").read_text())
    return copy


@pytest.fixture(autouse=True)
def _installed(installed_example: Path) -> Iterator[None]:
    """The example is installed as a package."""
    with example_plugin(installed_example):
        yield
    mixers.use_files(())


@pytest.fixture(scope="module")
def run(installed_example: Path, file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of the package, the file and one of our mixers."""
    from bench.cli import main

    folder = tmp_path_factory.mktemp("swept") / "run"
    words = ("sweep", "running_mean/cumsum", "mean_so_far", "sa/sdpa", *SHORT, "--plugin", file, "--output", folder)
    with pytest.MonkeyPatch.context() as patch, example_plugin(installed_example):
        measure_quickly(patch, samples=10)
        patch.setattr("sys.argv", ["sbench", *map(str, words)])
        with pytest.raises(SystemExit, match=r"^0$"):
            main()
    return folder


def test_they_are_listed_with_where_they_come_from(sbench: Sbench, file: Path) -> None:
    code, out, _ = sbench("list", "--json", "--plugin", file)
    assert code == 0
    listed = {each["mixer"]: each["plugin"] for each in json.loads(out)["mixers"]}
    assert listed.pop("running_mean") == PACKAGE
    assert listed.pop("mean_so_far") == plugins.origin_of(file)
    assert set(listed.values()) == {""}


@pytest.mark.usefixtures("quick_sweeps")
def test_they_are_checked(sbench: Sbench, file: Path) -> None:
    code, out, err = sbench("check", "running_mean/cumsum", "mean_so_far/cumsum", "--device", "cpu", "--plugin", file)
    assert code == 0, err
    for line in ("running_mean/cumsum", "mean_so_far/cumsum", "FLOPs", "same parameters", "gradients, float64, causal"):
        assert line in out
    assert out.count(" kept ") == 2 * (4 + 4 + 8 + 4)
    assert "BROKEN" not in out


@pytest.mark.usefixtures("quick_sweeps")
def test_what_a_library_says_in_brackets_is_shown(sbench: Sbench, tmp_path: Path, file: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(f"{file.read_text()}\n\ndef fail(*_):\n    raise ValueError('no kernel: [sm_90]')\n")
    name = re.findall(r"class (\w+)\(Mixer\)", file.read_text())[-1]
    bad.write_text(f"{bad.read_text()}\n{name}.forward = fail\n")
    code, out, _ = sbench("check", "bad/cumsum", "--device", "cpu", "--plugin", bad)
    assert code == 1
    assert "ValueError: no kernel: [sm_90]" in " ".join(out.split())


def test_a_broken_one_does_not_stop_others(sbench: Sbench, tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("raise ImportError('pip install mylib[cuda], or see [/data]')")
    code, _, err = sbench("sweep", "sa/sdpa", *SHORT, "--plugin", bad, "--output", "run")
    assert code == 0
    assert "mylib[cuda], or see [/data]" in " ".join(err.split())


def test_what_one_prints_while_it_is_loaded_is_no_output(sbench: Sbench, tmp_path: Path, file: Path) -> None:
    loud = tmp_path / "loud.py"
    loud.write_text(f"print('hello')\n{file.read_text()}")
    code, out, err = sbench("list", "--json", "--plugin", loud)
    assert code == 0
    assert "loud" in {each["mixer"] for each in json.loads(out)["mixers"]}
    assert err == "hello\n"


def test_one_that_exits_does_not_end_the_command(sbench: Sbench, tmp_path: Path) -> None:
    (tmp_path / "ending.py").write_text("import sys\nsys.exit()\n")
    code, out, _ = sbench("list", "--json", "--plugin", tmp_path / "ending.py")
    assert code == 0
    reasons = {each["name"]: each["reason"] for each in json.loads(out)["implementations"]}
    assert reasons["ending"] == "SystemExit: "


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("nn.Linear(config.width,", "nn.Linear(1 / 0,", "it cannot be built: ZeroDivisionError: division by zero"),
        ("nn.Linear(config.width,", "nn.Linear(exit(),", "it cannot be built: SystemExit: None"),
        (
            "default=True",
            "default=lambda config: 1 / 0",
            "broken cannot tell its default implementation (ZeroDivisionError: division by zero)",
        ),
    ],
)
def test_one_that_cannot_be_built_or_asked_hides_no_other(
    sbench: Sbench, tmp_path: Path, file: Path, old: str, new: str, reason: str
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(file.read_text().replace(old, new))
    code, out, _ = sbench("list", "--json", "--plugin", broken)
    assert code == 0
    listed = json.loads(out)
    assert {"sa", "kda"} <= {each["mixer"] for each in listed["mixers"]}
    reasons = {each["name"]: each["reason"] for each in listed["implementations"]}
    assert reasons["broken"] == reason


@pytest.mark.parametrize("command", ["sweep", "train"])
def test_one_whose_default_cannot_be_told_is_one_line(sbench: Sbench, tmp_path: Path, file: Path, command: str) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(file.read_text().replace("default=True", "default=lambda config: 1 / 0"))
    words = ("broken", *SHORT) if command == "sweep" else ("--demo", "--mixers", "broken")
    code, _, err = sbench(command, *words, "--plugin", broken, "--output", "run")
    assert code == 2
    assert "broken cannot tell its default implementation (ZeroDivisionError: division by zero)" in err
    assert "name one: broken/reference" in err
    assert not Path("run").exists()


def test_no_gpu_is_asked_where_mixers_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep's parent process loads them. It would keep memory on the card, and a busy card would hide them."""
    import torch

    def ask(*_: object) -> None:
        raise AssertionError("a GPU was asked")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("get_device_capability", "get_device_properties", "current_device", "init"):
        monkeypatch.setattr(torch.cuda, name, ask)
    assert mixers.unavailable() == {}
    assert "fox" in mixers.available()


def test_the_same_file_may_be_given_twice(sbench: Sbench, file: Path) -> None:
    again = file.parent / ".." / file.parent.name / file.name
    code, out, err = sbench("list", "--json", "--plugin", file, "--plugin", file, "--plugin", again)
    assert code == 0, err
    assert [each["mixer"] for each in json.loads(out)["mixers"]].count(file.stem) == 1


def test_records_and_reports_name_them(sbench: Sbench, run: Path, file: Path) -> None:
    records = read_records(run)
    found = [(each.name, each.status, each.plugin) for each in records]
    of_file = plugins.origin_of(file)
    assert found == [
        ("running_mean/cumsum", "ok", PACKAGE),
        ("mean_so_far/cumsum", "ok", of_file),
        ("sa/sdpa", "ok", ""),
    ]
    for each in records:
        assert each.conforms is True
        assert each.conformity_error is not None
        assert 0 < each.conformity_error < 1e-5
    assert sbench("report", run, "--output", "report")[0] == 0
    with Path("report", "results.csv").open() as text:
        assert [(row["plugin"], row["conforms"]) for row in csv.DictReader(text)] == [
            *((PACKAGE, "True"), (of_file, "True"), ("", "True"))
        ]


def test_child_processes_know_the_file(sbench: Sbench, tmp_path: Path, file: Path) -> None:
    code, _, err = sbench("sweep", file.stem, *SHORT, "--time-budget", 60, "--plugin", file, "--output", "run")
    assert code == 0, err
    (record,) = read_records(tmp_path / "run")
    assert (record.status, record.plugin) == ("ok", plugins.origin_of(file))


@pytest.mark.usefixtures("quick_sweeps")
def test_a_sweep_that_continues_finds_its_plug_ins(
    sbench: Sbench, tmp_path: Path, run: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run, tmp_path / "run")
    package, single = read_header(run).plan.plugins
    assert (package.file, single.file) == (None, str(file))
    records = tmp_path / "run" / "records.jsonl"
    whole = records.read_text()

    def resumed(*options: object) -> tuple[int, str]:
        records.write_text(whole[: whole.index("\n") + 1])
        code, _, err = sbench("sweep", "--resume", "run", *options)
        return code, err

    assert resumed()[0] == 0
    assert len(records.read_text().splitlines()) == len(whole.splitlines())
    header = tmp_path / "run" / "sweep.json"
    header.write_text(header.read_text().replace(str(file), "/gone/mean_so_far.py"))
    code, err = resumed()
    assert code == 2
    assert "run needs the plug-in /gone/mean_so_far.py, which is not there" in err
    assert "--plugin mean_so_far.py" in err

    other = tmp_path / file.name
    other.write_text(f"{file.read_text()}# another text\n")
    code, err = resumed("--plugin", other)
    assert code == 2
    assert f"mean_so_far of {single.origin} then, of {plugins.origin_of(other)} now" in err
    assert resumed("--plugin", other, "--allow-mixed")[0] == 0

    monkeypatch.setattr(plugins, "installed", dict)
    code, err = resumed("--plugin", file)
    assert code == 2
    assert f"run needs the mixer running_mean of {PACKAGE}, which is not installed" in err


@pytest.mark.usefixtures("quick_sweeps")
def test_what_breaks_the_contract_is_named_and_marked(sbench: Sbench, tmp_path: Path, file: Path) -> None:
    """Its fast implementation sees one frame of the future."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(file.read_text().replace("mixer.v_proj(x)", "mixer.v_proj(x.roll(-1, dims=1))"))
    code, out, _ = sbench("check", "wrong/cumsum", "--device", "cpu", "--json", "--plugin", wrong)
    found = json.loads(out)
    assert (code, found["passed"]) == (1, False)
    assert set(keys(found)) == documented("check")
    broken = {(each["name"], each["promise"]) for each in found["verdicts"] if not each["kept"]}
    assert {name for name, _ in broken} == {"wrong/cumsum"}
    assert {promise for _, promise in broken} >= {
        *("output, float32, causal", "output, float64, whole clip", "gradients, float64, causal"),
        *("causality, causal", "padding, causal"),
    }
    code, _, err = sbench("sweep", "wrong/cumsum", *SHORT, "--plugin", wrong, "--output", "run")
    assert code == 0, err
    assert "wrong/cumsum !" in err
    assert "!: differs from its reference: wrong/cumsum (error" in err
    (record,) = read_records(tmp_path / "run")
    assert (record.status, record.conforms) == ("ok", False)
    assert record.conformity_error is not None
    assert record.conformity_error > 0.1


def test_a_file_that_cannot_be_a_mixer_is_refused_in_one_line(sbench: Sbench, tmp_path: Path, file: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in ("kda.py", "paper.py", "running_mean.py", "my-mixer.py", "mixer.txt", "other/mean_so_far.py"):
        (tmp_path / path).write_text("")
    for options, said in {
        ("paper.py",): "a group of sbench has the name paper already",
        ("kda.py",): "sbench itself has the name kda already",
        ("running_mean.py",): "sbench-running-mean 0.3.1 has the name running_mean already",
        (file, "other/mean_so_far.py"): f"{file} has the name mean_so_far already",
        ("my-mixer.py",): "my-mixer.py gives no name for a mixer",
        ("mixer.txt",): "mixer.txt gives no name for a mixer",
        ("gone.py",): "no such plug-in: gone.py",
        (".",): ". is a folder",
    }.items():
        code, _, err = sbench("list", *(word for each in options for word in ("--plugin", each)))
        assert code == 2
        assert said in err
        assert len(err.splitlines()) == 2  # with the hint


def test_a_broken_plug_in_makes_only_itself_unavailable(
    sbench: Sbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def entry(name: str, value: str) -> EntryPoint:
        return EntryPoint(name=name, value=value, group=plugins.GROUP)

    entries = {
        "gone": [entry("gone", "no_such_module")],
        "number": [entry("number", "math:pi")],
        "kda": [entry("kda", "their_kda")],
        "twice": [entry("twice", "one"), entry("twice", "two")],
    }
    monkeypatch.setattr(plugins, "installed", lambda: entries)
    (tmp_path / "failing.py").write_text("1 / 0\n")
    mixers.use_files([tmp_path / "failing.py"])
    reasons = mixers.unavailable()
    assert reasons == {
        "failing": "ZeroDivisionError: division by zero",
        "gone": "No module named 'no_such_module'",
        "kda of their_kda": "sbench itself has a mixer kda",
        "number": "its entry point names 3.141592653589793, which is no subclass of Mixer",
        "twice": "one and two both have a mixer of this name; uninstall one",
    }
    ours = set(mixers.names()) - {"failing", "gone", "number", "twice"}
    assert {each.mixer for each in examine(preset="matched").mixers} == ours
    assert mixers.load("kda").__module__ == "mixers.kda"
    code, _, err = sbench("sweep", "failing", "--device", "cpu", "--plugin", "failing.py")
    assert code == 2
    assert "failing is unavailable: ZeroDivisionError: division by zero" in err
    assert f"mend {tmp_path / 'failing.py'}" in err


def test_a_plug_in_has_the_name_of_its_entry_point(file: Path) -> None:
    mixers.use_files([file])
    assert mixers.load("running_mean").__module__ == "sbench_running_mean"
    assert [mixers.load(each).name() for each in ("running_mean", file.stem, "kda")] == [
        *("running_mean", "mean_so_far", "kda")
    ]


@pytest.mark.usefixtures("quick_sweeps")
def test_what_cannot_be_causal_is_refused_by_name_and_unavailable_in_a_group(sbench: Sbench, tmp_path: Path) -> None:
    whole = tmp_path / "whole.py"
    whole.write_text(
        "from mixers.sa import SoftmaxAttention\n\nclass Whole(SoftmaxAttention):\n    can_be_causal = False\n"
    )
    options = ("--lengths", "0.1", "--preset", "layer", "--device", "cpu", "--plugin", whole, "--output", "run")
    reason = "whole cannot be causal: its frames see the whole clip"
    for names, directions in ((["whole"], "causal"), (["sa", "whole/sdpa"], "paper,causal")):
        code, _, err = sbench("sweep", *names, *options, "--direction", directions)
        assert (code, err) == (2, f"sbench: {reason}\n  hint: Choose another direction.\n")
    code, _, err = sbench("sweep", "whole+sa", *options, "--preset", "matched", "--direction", "causal")
    assert (code, "whole+sa cannot be causal" in err) == (2, True)
    assert not (tmp_path / "run").exists()
    code, _, err = sbench("sweep", "attention", *options, "--direction", "causal,paper")
    assert code == 0, err
    records = [record for record in read_records(tmp_path / "run") if record.implementation == "sdpa"]
    found = {(record.mixer, record.direction): (record.status, record.causal, record.error) for record in records}
    assert found == {
        ("sa", "causal"): ("ok", True, ""),
        ("whole", "causal"): ("unavailable", False, reason),
        ("sa", "paper"): ("ok", False, ""),
        ("whole", "paper"): ("ok", False, ""),
    }
