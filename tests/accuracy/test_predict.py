"""What `sbench predict` prints and refuses."""

import csv
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import soundfile

from bench.accuracy.corpora.base import Corpus
from bench.accuracy.evaluation.predictions import read_predictions
from tests.accuracy.made_up import write_run
from tests.conftest import Sbench

CPU = ("--device", "cpu", "--workers", 0)


@pytest.fixture
def spoilt(tmp_path: Path, corpus: Corpus) -> Path:
    """A folder with two sound recordings, one in a subfolder, and three bad ones."""
    folder = tmp_path / "spoilt"
    (folder / "deep").mkdir(parents=True)
    for place, name in enumerate(("a.wav", "deep/b.wav")):
        shutil.copy(corpus.split("test1")[place].audio, folder / name)
    soundfile.write(folder / "short.wav", np.zeros(100), 16_000)
    (folder / "cut.wav").write_bytes((folder / "a.wav").read_bytes()[:-100])
    (folder / "text.wav").write_text("no audio")
    return folder


def test_a_text_is_given_exactly_if_the_run_has_one(
    sbench: Sbench, tmp_path: Path, trained: Path, corpus: Corpus, spoilt: Path
) -> None:
    recording = corpus.split("test1")[0].audio
    with_text = write_run(tmp_path / "with-text", {})
    for run, options, message in (
        (with_text, (recording,), "the run was trained with text, but no --text is given"),
        (trained, (recording, "--text", "oh no"), "the run was trained without text, so --text would be ignored"),
        (with_text, (spoilt, "--text", "oh no"), "--text is the transcript of one recording, but 5 are given"),
    ):
        code, _, err = sbench("predict", run, *options, *CPU)
        assert (code, err.splitlines()[0]) == (2, f"sbench: {message}")
    code, out, err = sbench("predict", trained, recording, *CPU)
    assert (code, out.count("%")) == (0, 2 * 2), err


def test_several_recordings_are_predicted_as_evaluate_does_and_bad_ones_are_named(
    sbench: Sbench, tmp_path: Path, trained: Path, corpus: Corpus, spoilt: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    assert sbench("evaluate", run, "--corpus", corpus.spec, "--splits", "test1", *CPU)[0] == 0
    scored = read_predictions(run / "evaluation" / "test1" / "sa-0.csv", classes=corpus.classes)
    files = [each.audio for each in corpus.split("test1")]
    code, out, err = sbench("predict", run, *files, files[0], "nowhere.wav", spoilt, *CPU)
    assert code == 1
    assert [line for line in err.splitlines() if ".wav" in line] == [
        "nowhere.wav cannot be read: No such file or directory",
        f"{spoilt}/cut.wav ends before the length that its header states",
        f"{spoilt}/short.wav is shorter than an encoder's frame (25 ms)",
        f"{spoilt}/text.wav cannot be decoded: Format not recognised",
    ]
    header, *rows = csv.reader(io.StringIO(out))
    assert header == ["recording", "learner", "prediction", *corpus.classes]
    assert [row[0] for row in rows[::2]] == list(map(str, [*files, spoilt / "a.wav", spoilt / "deep" / "b.wav"]))
    of_sa = [row for row in rows if row[1] == "sa-0"][: len(files)]
    assert tuple(row[2] for row in of_sa) == scored.predictions
    assert np.array([row[3:] for row in of_sa], dtype=float) == pytest.approx(scored.probabilities, abs=1e-5)


def test_the_result_goes_into_a_file_as_csv_or_json(
    sbench: Sbench, tmp_path: Path, trained: Path, spoilt: Path
) -> None:
    run, sound = trained, (spoilt / "a.wav", spoilt / "deep")
    code, out, err = sbench("predict", run, *sound, "--output", "made/found.csv", *CPU)
    assert (code, out) == (0, "made/found.csv\n"), err
    rows = list(csv.DictReader((tmp_path / "made" / "found.csv").read_text().splitlines()))
    code, out, err = sbench("predict", run, *sound, "--json", *CPU)
    assert code == 0, err
    found = json.loads(out)
    assert (found["demo"], found["direction"]) == (False, "alternating")
    for row, each in zip(rows, found["predictions"], strict=True):
        assert [row[key] for key in ("recording", "learner", "prediction")] == list(each.values())[:3]
        assert float(row["low"]) == each["probabilities"]["low"]


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (["nowhere.wav"], "nowhere.wav cannot be read: No such file or directory"),
        (["spoilt/short.wav"], "spoilt/short.wav is shorter than an encoder's frame (25 ms)"),
        (["spoilt/cut.wav"], "spoilt/cut.wav ends before the length that its header states"),
        (["."], ". holds no wav or flac file"),
        (["x.wav", "y.wav"], "none of 2 recordings can be used: x.wav cannot be read"),
        (["a" * 5000], f"{'a' * 5000} cannot be read: File name too long"),
        (["spoilt/a.wav", "--output", "spoilt"], "spoilt is a folder"),
        (["spoilt/a.wav", "--output", "a" * 300], f"{'a' * 300} cannot be written: File name too long"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_loaded(
    sbench: Sbench,
    trained: Path,
    spoilt: Path,
    audio: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.accuracy.trained.open_run", lambda *_, **__: pytest.fail("the run is loaded"))
    if audio == ["."]:
        shutil.rmtree(spoilt)
    code, out, err = sbench("predict", trained, *audio, *CPU)
    assert (code, out, len(err.splitlines())) == (2, "", 2)
    assert err.startswith(f"sbench: {message}")


def test_a_device_is_written_to_and_not_replaced(sbench: Sbench, tmp_path: Path, trained: Path, spoilt: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    code, _, err = sbench("predict", trained, spoilt / "a.wav", "--output", "pipe", *CPU)
    assert code == 0, err
    assert os.read(reading, 9) == b"recording"
    os.close(reading)
    assert (tmp_path / "pipe").is_fifo()


def test_weights_that_give_no_probabilities_are_refused(
    sbench: Sbench, tmp_path: Path, trained: Path, corpus: Corpus
) -> None:
    path = shutil.copytree(trained, tmp_path / "run") / "sa-0" / "best.safetensors"
    weights = {name: value * float("nan") for name, value in safetensors.torch.load(path.read_bytes()).items()}
    path.write_bytes(safetensors.torch.save(weights))
    for command in (("predict", "run", corpus.utterances[0].audio), ("evaluate", "run", "--corpus", corpus.spec)):
        code, _, err = sbench(*command, *CPU)
        assert (code, "sa-0/best.safetensors gives probabilities that are not finite" in err) == (2, True), err
    assert not list((tmp_path / "run").rglob("*.csv"))
