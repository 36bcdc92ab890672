"""Mixers of third parties, one installed and one in a file, are trained, scored and used like ours."""

import json
from pathlib import Path

import mixers
from bench.accuracy import run as runs
from bench.accuracy.corpora.base import Corpus
from mixers.support import plugins
from tests.conftest import EXAMPLE_PLUGIN, Sbench, example_plugin

PACKAGE = "sbench-running-mean 0.3.1"


def test_plug_ins_are_trained_and_found_again(
    sbench: Sbench, tmp_path: Path, of_speech: list[object], corpus: Corpus, installed_example: Path
) -> None:
    file = tmp_path / "mean_so_far.py"
    file.write_text((EXAMPLE_PLUGIN / "sbench_running_mean.py").read_text())
    with example_plugin(installed_example):
        chosen = ("--mixers", "running_mean,mean_so_far/reference", "--epochs", 1, "--plugin", file)
        code, _, err = sbench("train", *of_speech, *chosen, "--output", "run")
        assert code == 0, err
        run = runs.read(tmp_path / "run")
        assert run.mixers == ("running_mean/cumsum", "mean_so_far/reference")
        assert [(each.mixer, each.origin, each.file) for each in run.plugins] == [
            ("running_mean", PACKAGE, None),
            ("mean_so_far", plugins.origin_of(file), str(file)),
        ]

        heard = ("--corpus", corpus.spec, "--splits", "test1", "--device", "cpu", "--workers", 0)
        code, _, err = sbench("evaluate", "run", *heard)
        assert code == 0, err
        scored = {path.stem for path in (tmp_path / "run" / "evaluation" / "test1").glob("*-0.csv")}
        assert scored == {"running_mean-0", "mean_so_far-0"}

        elsewhere = file.rename(tmp_path / "run" / file.name)
        recording = corpus.split("test1")[0].audio
        code, _, err = sbench("predict", "run", recording, "--device", "cpu", "--json")
        assert code == 2
        assert f"run needs the plug-in {file}, which is not there" in err
        code, out, err = sbench("predict", "run", recording, "--device", "cpu", "--json", "--plugin", elsewhere)
        assert code == 0, err
        assert {each["learner"] for each in json.loads(out)["predictions"]} == scored

        elsewhere.write_text(f"{elsewhere.read_text()}# another text\n")
        code, _, err = sbench("train", "--resume", "run", "--device", "cpu", "--plugin", elsewhere)
        assert code == 2
        assert "run was begun with other code: mean_so_far of mean_so_far.py sha256:" in err
    code, _, err = sbench("predict", "run", recording, "--device", "cpu", "--plugin", elsewhere)
    assert code == 2
    assert f"run needs the mixer running_mean of {PACKAGE}, which is not installed" in err
    mixers.use_files(())
