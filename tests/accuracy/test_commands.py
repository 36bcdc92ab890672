"""The accuracy half as its users meet it: a demonstration, an interruption, wrong input."""

import errno
import gc
import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from bench.accuracy import run as runs
from bench.accuracy.corpora.base import Corpus
from bench.accuracy.evaluation.predictions import read_predictions
from bench.accuracy.evaluation.writing import write_split
from bench.accuracy.training import checkpoints
from bench.accuracy.training.learner import Learner
from bench.locking import holder
from tests.accuracy.made_up import write_run
from tests.conftest import EXAMPLE_PLUGIN, Sbench

SBENCH = (sys.executable, "-m", "bench.cli")


def test_train_evaluate_predict_table(sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus) -> None:
    code, out, err = sbench("train", *arguments, "--seeds", 2, "--learning-rate", 3e-3, "--output", "run")
    assert (code, out) == (0, "run\n"), err
    assert "epoch 2: development macro-F sa-0" in err
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("run.json", "metrics.jsonl", "state.json", "tensorboard", "checkpoint-2-0"),
        *("sa-0", "sa-1", "retnet-0", "retnet-1"),
    }
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [("loss" in line, "development_macro_f" in line) for line in lines] == [
        *[(True, False)] * 3,
        (False, True),
    ] * 2
    assert any((tmp_path / "run" / "tensorboard").glob("events*"))

    code, out, err = sbench("evaluate", "run", "--corpus", corpus.spec, "--splits", "test1", "--device", "cpu")
    assert (code, out) == (0, "run/evaluation\n"), err
    assert "test1: 5 utterances, 5 used, 0 left out" in err
    scores = json.loads((tmp_path / "run" / "evaluation" / "test1" / "sa-0.json").read_text())
    assert scores["utterances"] == 5

    recording = corpus.split("test1")[0].audio
    code, out, _ = sbench("predict", "run", recording, "--text", "what a day", "--device", "cpu")
    assert code == 0
    assert "retnet-1" in out
    assert out.count("%") == 2 * 4

    code, out, _ = sbench("table", "run", "--output", "table")
    assert code == 0
    assert {path.suffix for path in (tmp_path / "table").iterdir()} >= {".csv", ".md", ".tex"}

    code, _, err = sbench("train", *arguments, "--output", "run")
    assert code == 2
    assert "or continue in it with --resume." in err


def started(folder: Path, *arguments: object) -> "subprocess.Popen[str]":
    """Begin to train on one thread, so that sums are taken in one order."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*SBENCH, "train", *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_result(tmp_path: Path, arguments: list[object]) -> None:
    whole = started(tmp_path, *arguments, "--output", "whole")
    whole.communicate(timeout=100)
    killed = started(tmp_path, *arguments, "--output", "killed")
    end = time.monotonic() + 100
    while not (tmp_path / "killed" / "state.json").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert f"process {killed.pid} " in holder(tmp_path / "killed")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert checkpoints.last_place(tmp_path / "killed").epoch < 2
    options = ("--workers", 0, "--device", "cpu", "--checkpoint-steps", 1)
    resumed = started(tmp_path, "--resume", "killed", *options)
    assert resumed.communicate(timeout=100)[0] == "killed\n"
    for name in ("sa-0/best.safetensors", "retnet-0/best.safetensors", "metrics.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


def test_explain_needs_no_corpus(sbench: Sbench) -> None:
    code, out, _ = sbench("train", "--explain", "--preset", "released")
    assert code == 0
    assert "--preset released is in use" in out
    assert "five hidden layers" in " ".join(out.split())
    assert "The mixer and the pooling see the padding of the text" in " ".join(out.split())
    assert "--direction paper is in use" in out
    assert "no frame of speech sees the text or later speech" in " ".join(out.split())
    assert "--direction alternating is in use" in sbench("train", "--explain")[1]


BAD_INPUT = {
    "no corpus": ([], "no corpus was given", "--demo"),
    "unknown corpus": (["--corpus", "msp-podcst:."], "msp-podcst", "Did you mean 'msp-podcast'?"),
    "missing corpus": (["--corpus", "ravdess:nowhere"], "nowhere", ""),
    "unknown fold": (["--corpus", "ravdess:.", "--fold", "7"], "has no fold 7", "Its folds are 1 to 6"),
    "no folds": (["--corpus", "manifest:x.jsonl", "--fold", "1"], "no such folder", "fold-1.jsonl"),
    "two folds": (["--corpus", "ravdess@1:.", "--fold", "2"], "is fold 1, but --fold says 2", "Give the fold once"),
    "resume with a fold": (["--resume", "there", "--fold", "1"], "continues the run", "--fold"),
    "unknown preset": (["--preset", "mached"], "unknown preset 'mached'", "Did you mean 'matched'?"),
    "unknown direction": (["--direction", "causual"], "unknown direction 'causual'", "Did you mean 'causal'?"),
    "demo in no direction": (["--demo", "--direction", "bth"], "unknown direction 'bth'", "Did you mean 'both'?"),
    "unknown layer": (["--layer", "first"], "no such layer: 'first'", "weighted"),
    "missing layer": (["--layer", "3"], "has no layer 3", "Give --layer 1 to 2"),
    "resume with a layer": (["--resume", "there", "--layer", "last"], "continues the run", "--layer"),
    "unknown mixer": (["--mixers", "sa,kdaa"], "unknown mixer 'kdaa'", "Did you mean 'kda'?"),
    "a mixer twice": (["--mixers", "sa,retnet,sa/reference"], "one mixer is given twice", "in one implementation"),
    "resume with epochs": (["--resume", "there", "--epochs", "9"], "continues the run", "--epochs"),
    "resume in a direction": (["--resume", "there", "--direction", "both"], "continues the run", "--direction"),
    "demo with a corpus": (["--demo", "--corpus", "ravdess:x"], "--demo uses its own corpus", "--corpus"),
    "demo of no mixer": (["--demo", "--mixers", "saa", "--output", "x"], "unknown mixer 'saa'", "Did you mean 'sa'?"),
    "demo nowhere": (["--demo", "--output", "/proc/x"], "/proc/x-materials cannot be written", "--output"),
    "unknown implementation": (["--mixers", "sa/spda"], "unknown implementation of sa 'spda'", "sdpa"),
    "cannot run here": (["--mixers", "kda/fla"], "kda/fla cannot be trained here: needs a CUDA GPU", "Give only kda"),
    "no implementation": (["--mixers", "sa/"], "unknown implementation of sa ''", "Available: reference"),
    "text without text": (["--no-text"], "--no-text uses no transcripts", "Remove --text"),
    "empty precision": (["--precision", ""], "unknown precision ''", "bfloat16"),
    "unknown precision": (["--precision", "float16"], "unknown precision 'float16'", "bfloat16"),
    "learning rate": (["--learning-rate", "0"], "--learning-rate 0 is not between 0 and 1", "1e-4"),
    "crop": (["--crop", "0"], "--crop 0 is no length of a training utterance", "seconds from 0.025 to 1000"),
    "batch": (["--batch", "64"], "13 training utterances are less than a batch of 64", "--batch"),
    "output exists": (["--output", "there"], "the output folder there exists", "Give another --output."),
    "resume nothing": (["--resume", "there"], "there is no run", "sbench train"),
}


@pytest.mark.parametrize(("wrong", "message", "hint"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_is_one_line_and_a_hint(
    sbench: Sbench, tmp_path: Path, arguments: list[object], wrong: list[str], message: str, hint: str
) -> None:
    (tmp_path / "there").mkdir()
    alone = message == "no corpus was given" or wrong[0] in ("--resume", "--demo")
    given = wrong if alone else [*arguments, *wrong]
    code, out, err = sbench("train", *given)
    lines = [line for line in err.splitlines() if line.startswith(("sbench: ", "  hint: "))]
    assert code == 2
    assert out == ""
    assert message in lines[0]
    assert hint in "".join(lines[1:])
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_checkpoint_cut_in_half(sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus) -> None:
    sbench("train", *arguments, "--output", "run")
    progress = tmp_path / "run" / "checkpoint-2-0" / "sa-0.json"
    whole_progress = progress.read_text()
    for content, reason in (("{}", "its sa-0.json lacks 'learning_rate'"), ("[]", "list indices must be integers")):
        progress.write_text(content)
        code, _, err = sbench("train", "--resume", "run", "--device", "cpu")
        assert (code, f"run/checkpoint-2-0 cannot be resumed from: {reason}" in err) == (2, True), err
    progress.write_text(whole_progress)
    for path in ("checkpoint-2-0/sa-0.safetensors", "sa-0/best.safetensors"):
        whole = (tmp_path / "run" / path).read_bytes()
        (tmp_path / "run" / path).write_bytes(whole[: len(whole) // 2])
    for command in (("train", "--resume", "run"), ("evaluate", "run", "--corpus", corpus.spec)):
        code, _, err = sbench(*command, "--device", "cpu")
        assert code == 2
        assert "sa-0" in err
        assert "is damaged" in err


def changed(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_run_of_a_gpu_can_be_used_without_one_but_not_resumed(
    sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus
) -> None:
    sbench("train", *arguments, "--output", "run")
    evaluate = ("evaluate", "run", "--corpus", corpus.spec, "--device", "cpu")
    assert sbench(*evaluate)[0] == 0
    scores = tmp_path / "run" / "evaluation"
    assert {path.name for path in scores.iterdir()} == {"development", "test1"}  # all but train
    before = (scores / "test1" / "retnet-0.csv").read_bytes()
    changed(tmp_path / "run" / "run.json", implementations={"sa": "sdpa", "retnet": "fla"})
    code, _, err = sbench(*evaluate)
    assert code == 0, err
    assert (scores / "test1" / "retnet-0.csv").read_bytes() == before
    code, _, err = sbench("train", "--resume", "run", "--device", "cpu")
    assert code == 2
    assert "retnet/fla cannot be trained here: needs a CUDA GPU" in err


def test_every_use_of_a_run_computes_in_its_precision(
    sbench: Sbench, arguments: list[object], corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.accuracy import trained
    from bench.accuracy.training import setup

    sbench("train", *arguments, "--precision", "bfloat16", "--output", "run")
    chosen: list[str] = []
    for module in (setup, trained):
        monkeypatch.setattr(module, "choose_precision", lambda name, **_: chosen.append(name))
    recording = corpus.split("test1")[0].audio
    assert sbench("train", "--resume", "run", "--device", "cpu")[0] == 0
    assert sbench("evaluate", "run", "--corpus", corpus.spec, "--splits", "test1", "--device", "cpu")[0] == 0
    assert sbench("predict", "run", recording, "--text", "oh no", "--device", "cpu")[0] == 0
    assert chosen == ["bfloat16"] * 3


def test_accelerate_is_not_asked_how_to_compute() -> None:
    code = (
        "from bench.accuracy.training.computing import start_accelerator as start; a = start('cpu'); "
        "print(a.mixed_precision, a.gradient_accumulation_steps, a.state.dynamo_plugin.backend.value)"
    )
    elsewhere = {
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
        "ACCELERATE_DYNAMO_BACKEND": "EAGER",
    }
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | elsewhere, capture_output=True, text=True, check=True)
    assert done.stdout == "no 1 NO\n"


def test_another_corpus_than_a_run_was_begun_with(
    sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus
) -> None:
    manifest = Path(corpus.spec.partition(":")[2])
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    moved = [{**line, "audio": str(manifest.parent / line["audio"])} for line in lines]
    (tmp_path / "own.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in moved))
    arguments = [f"manifest:{tmp_path / 'own.jsonl'}" if each == corpus.spec else each for each in arguments]
    assert sbench("train", *arguments, "--output", "run")[0] == 0
    (tmp_path / "own.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in moved[1:]))
    code, _, err = sbench("train", "--resume", "run", "--device", "cpu")
    assert code == 2
    assert "own.jsonl has changed" in err


def test_what_a_run_needs_and_was_moved_is_named(sbench: Sbench, tmp_path: Path, trained: Path, corpus: Corpus) -> None:
    shutil.copytree(trained, tmp_path / "run")
    resume = ("train", "--resume", "run", "--device", "cpu")
    predict = ("predict", "run", corpus.utterances[0].audio, "--device", "cpu")
    file = tmp_path / "run" / "run.json"
    whole = json.loads(file.read_text())
    missing = tmp_path / "gone"
    for fields, commands, message, hint in (
        ({"corpus": f"manifest:{missing}"}, (resume,), f"its corpus manifest:{missing}", "Move the corpus back"),
        (
            {"encoders": whole["encoders"] | {"speech": str(missing)}},
            (resume, predict),
            f"the encoder {missing}",
            "link",
        ),
    ):
        file.write_text(json.dumps(whole | fields))
        for command in commands:
            code, _, err = sbench(*command)
            assert (code, err.splitlines()[-2]) == (2, f"sbench: run needs {message}, which is not there")
            assert hint in err.splitlines()[-1]


def test_an_unknown_split_is_refused_before_any_is_scored(
    sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus
) -> None:
    sbench("train", *arguments, "--output", "run")
    command = ("evaluate", "run", "--corpus", corpus.spec, "--splits", "development,tset1", "--device", "cpu")
    code, _, err = sbench(*command)
    assert (code, "'tset1'" in err) == (2, True)
    assert not (tmp_path / "run" / "evaluation").exists()


def test_a_test_that_was_trained_on_is_refused_left_out_or_accepted(
    sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus
) -> None:
    manifest = Path(corpus.spec.partition(":")[2])
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    moved = [{**line, "audio": str(manifest.parent / line["audio"])} for line in lines]
    later = [{**line, "split": "test1"} for line in moved if line["split"] in ("train", "test1")]
    (tmp_path / "later.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in later))
    sbench("train", *arguments, "--output", "run")
    evaluate = ("evaluate", "run", "--corpus", "manifest:later.jsonl", "--device", "cpu")
    code, _, err = sbench(*evaluate)
    assert code == 2
    assert "test1 of manifest:later.jsonl shares 13 recordings" in err
    assert not (tmp_path / "run" / "evaluation").exists()
    file = tmp_path / "run" / "evaluation" / "test1" / "utterances.json"
    for treatment, used in (("leave-out", 5), ("accept", 18)):
        code, _, err = sbench(*evaluate, "--overlap", treatment)
        assert code == 0, err
        assert "with training: 13 utterances" in err
        content = json.loads(file.read_text())
        assert (content["expected"], content["used"]) == (18, used)
        assert content["overlap"] == {
            "treatment": treatment,
            "recordings": 13,
            "speakers": 3,
            "utterances": 13,
            "of_unknown_speaker": 0,
        }
    changed(tmp_path / "run" / "run.json", corpus="manifest:/gone.jsonl")
    code, _, err = sbench(*evaluate)
    assert code == 0, err
    assert "not checked against training" in err
    assert json.loads(file.read_text())["overlap"] is None
    moved[0]["speaker"] = "another"
    (tmp_path / "other.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in moved))
    changed(tmp_path / "run" / "run.json", corpus=f"manifest:{tmp_path / 'other.jsonl'}")
    code, _, err = sbench(*evaluate)
    assert code == 0, err
    assert "other.jsonl has changed since" in " ".join(err.split())


def write_manifest(
    file: Path, corpus: Corpus, *, labels: Mapping[str, str] | None = None, without: Collection[str] = ()
) -> str:
    """Write the corpus's manifest with other labels of some recordings, without others, and return its spec."""
    lines = [
        {"audio": str(each.audio), "text": each.text, "label": each.label, "speaker": each.speaker, "split": each.split}
        for each in corpus.utterances
        if each.name not in without
    ]
    for line in lines:
        line["label"] = (labels or {}).get(Path(line["audio"]).name, line["label"])
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return f"manifest:{file.name}"


def test_scores_of_another_corpus_are_not_replaced(
    sbench: Sbench, tmp_path: Path, trained: Path, corpus: Corpus
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    evaluate = ("evaluate", "run", "--splits", "test1", "--workers", 0, "--device", "cpu", "--corpus")
    heard = corpus.split("train")[0]
    moved = write_manifest(tmp_path / "moved.jsonl", corpus)
    fewer = write_manifest(tmp_path / "fewer.jsonl", corpus, without=["test1-0.wav"])
    relabelled = write_manifest(tmp_path / "relabelled.jsonl", corpus, labels={"test1-0.wav": "low"})
    with_heard = write_manifest(tmp_path / "with-heard.jsonl", corpus)
    text = (tmp_path / "with-heard.jsonl").read_text().replace('"test1-0"', f'"{heard.speaker}"')
    (tmp_path / "with-heard.jsonl").write_text(text)
    (tmp_path / "again.jsonl").write_text(text)

    for spec in (corpus.spec, moved):
        code, _, err = sbench(*evaluate, spec)
        assert code == 0, err
    file = run / "evaluation" / "test1" / "utterances.json"
    assert json.loads(file.read_text())["corpus"] == f"manifest:{tmp_path / 'moved.jsonl'}"
    stored = file.read_bytes()
    for spec in (fewer, relabelled, with_heard):
        code, _, err = sbench(*evaluate, spec, "--overlap", "accept")
        assert (code, f"holds scores of manifest:{tmp_path / 'moved.jsonl'}" in err, spec in err) == (2, True, True), (
            err
        )
        assert "test1-before" in err
        assert file.read_bytes() == stored

    (run / "evaluation" / "test1").rename(run / "evaluation" / "test1-before")
    for spec, treatment in ((with_heard, "accept"), (with_heard, "leave-out"), ("manifest:again.jsonl", "accept")):
        code, _, err = sbench(*evaluate, spec, "--overlap", treatment)
        assert code == 0, err
    write_manifest(tmp_path / "again.jsonl", corpus, without=["test1-0.wav"])  # the same corpus, corrected
    code, _, err = sbench(*evaluate, "manifest:again.jsonl")
    assert code == 0, err
    code, out, err = sbench("table", "run")
    assert (code, "test1-before" in out, "T1" in out) == (0, True, True), err


def test_classes_that_differ_are_named_before_anything_is_loaded(
    sbench: Sbench, tmp_path: Path, corpus: Corpus
) -> None:
    write_run(tmp_path / "run", {}, classes=["high", "low", "middle"])
    labels = {"test1-0.wav": "flat"}
    for changed, differences in (({}, "it lacks middle"), (labels, "it lacks middle and adds flat")):
        own = write_manifest(tmp_path / "own.jsonl", corpus, labels=changed)
        code, _, err = sbench("evaluate", "run", "--corpus", own, "--splits", "test1", "--device", "cpu")
        first, second = err.splitlines()[-2:]
        assert (code, first) == (2, f"sbench: manifest:own.jsonl has other classes than run: {differences}")
        assert "labels that occur in it" in second
        assert "high, low, middle" in second


def test_classes_that_a_split_lacks_are_named(
    sbench: Sbench, tmp_path: Path, of_speech: list[object], corpus: Corpus
) -> None:
    labels = {"test1-0.wav": "middle", "test1-2.wav": "middle", "test1-4.wav": "middle"}
    write_manifest(tmp_path / "own.jsonl", corpus, labels=labels)
    spec = f"manifest:{tmp_path / 'own.jsonl'}"
    own = [spec if each == corpus.spec else each for each in of_speech]
    code, _, err = sbench("train", *own, "--epochs", 1, "--mixers", "retnet", "--output", "run")
    untaught = "training has no utterance of middle, so no model can recognise it\n"
    assert (code, untaught in err) == (0, True), err
    for split, lacking, tested in (("test1", "high", True), ("development", "middle", False)):
        code, _, err = sbench("evaluate", "run", "--corpus", spec, "--splits", split, "--device", "cpu")
        line = f"{split} has no utterance of {lacking}, which counts 0 in macro-F and recall\n"
        assert (code, err.count(line), untaught in err) == (0, 1, tested), err
    code, _, err = sbench("train", *of_speech, "--epochs", 1, "--evaluate", "test1", "--output", "all")
    assert (code, "no utterance of" in err) == (0, False), err


def test_a_corpus_may_order_its_classes_in_its_own_way(
    sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus
) -> None:
    sbench("train", *arguments, "--output", "run")
    changed(tmp_path / "run" / "run.json", classes=corpus.classes[::-1])
    code, _, err = sbench("evaluate", "run", "--corpus", corpus.spec, "--splits", "test1", "--device", "cpu")
    assert code == 0, err
    header, *_ = (tmp_path / "run" / "evaluation" / "test1" / "sa-0.csv").read_text().splitlines()
    assert header.endswith(",".join(corpus.classes[::-1]))


def test_an_evaluation_that_is_interrupted_does_not_pass_for_one_of_newer_weights(
    tmp_path: Path, corpus: Corpus
) -> None:
    found = dict.fromkeys(("sa-0", "kda-0"), np.full((len(corpus.split("test1")), 2), 0.5))
    for weights, steps, complete in ((1, 2, True), (5, 1, False), (5, 2, True)):
        epochs: dict[str, int | None] = dict.fromkeys(found, weights)
        writing = write_split(corpus, "test1", found, checks=None, weights=epochs, folder=tmp_path)
        assert len(list(itertools.islice(writing, steps + complete))) == steps
        assert (tmp_path / "evaluation" / "test1" / "utterances.json").exists() == complete


def test_two_folds_are_trained_evaluated_and_pooled(
    sbench: Sbench, tmp_path: Path, encoder_folders: tuple[Path, Path], two_folds: Path
) -> None:
    (tmp_path / "speech").symlink_to(encoder_folders[0])
    options = ("--speech", "speech", "--no-text", "--mixers", "sa", "--epochs", 1, "--batch", 4, "--crop", 0.4)
    for fold in (1, 2):
        train = ("train", "--corpus", "emobox:data/tones", "--fold", fold, *options, "--workers", 0, "--device", "cpu")
        code, _, err = sbench(*train, "--output", f"run-{fold}")
        assert code == 0, err
        assert runs.read(tmp_path / f"run-{fold}").corpus == f"emobox@{fold}:{two_folds}"
        code, _, err = sbench("evaluate", f"run-{fold}", "--corpus", "emobox:data/tones", "--device", "cpu")
        assert code == 0, err
        assert "test: 16 utterances, 16 used" in err
        assert f"fold {fold}, as in training" in err
    code, _, err = sbench("evaluate", "run-1", "--corpus", "emobox:data/tones", "--fold", 2, "--device", "cpu")
    assert (code, "shares" in err, "as in training" in err) == (2, True, False), err
    code, out, err = sbench("table", "run-1", "run-2")
    assert code == 0, err
    assert "32 utterances, 8 speakers, 2 folds" in out
    code, _, err = sbench("table", "run-1")
    assert (code, "lacks fold 2 of 2" in err) == (2, True), err


def test_bad_audio_is_found_before_training(
    sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus
) -> None:
    manifest = Path(corpus.spec.partition(":")[2])
    (tmp_path / "corpus").mkdir()
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        shutil.copy(manifest.parent / line["audio"], tmp_path / "corpus")
    shutil.copy(manifest, tmp_path / "corpus" / "corpus.jsonl")
    arguments = [
        f"manifest:{tmp_path / 'corpus' / 'corpus.jsonl'}" if each == corpus.spec else each for each in arguments
    ]
    soundfile.write(tmp_path / "corpus" / "development-2.wav", np.zeros(399), 16_000)
    code, _, err = sbench("train", *arguments, "--output", "run")
    assert code == 2
    assert "development-2.wav is shorter than an encoder's frame (25 ms)" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "writer", ["bench.accuracy.training.learner.write_atomically", "bench.accuracy.training.checkpoints.append_metrics"]
)
def test_a_full_disk_names_the_command_to_continue(
    sbench: Sbench, arguments: list[object], monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer, refuse)
    code, _, err = sbench("train", *arguments, "--output", "run")
    assert code == 2
    assert "run cannot be written: No space left on device" in err
    assert "sbench train --resume run" in err


def test_ctrl_c_before_the_first_step_names_the_command_to_continue(
    sbench: Sbench, tmp_path: Path, arguments: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "__init__", interrupt)
        code, _, err = sbench("train", *arguments, "--output", "a run")
    assert code == 130
    assert "To continue: sbench train --resume 'a run'\n" in err
    resumed = sbench("train", "--resume", tmp_path / "a run", "--workers", 0, "--device", "cpu", "--quiet")
    assert resumed == (0, f"{tmp_path / 'a run'}\n", "")


def test_who_resumes_a_run_is_told_what_is_lost_and_no_finished_run_is_trained_again(
    sbench: Sbench, tmp_path: Path, of_speech: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, steps = Learner.step, 0

    def interrupt(*given: object, **named: object) -> object:
        nonlocal steps
        steps += 1
        if steps == 5:  # of three in an epoch
            raise KeyboardInterrupt
        return step(*given, **named)  # type: ignore[arg-type]

    options = ("--mixers", "retnet", "--checkpoint-steps", 100, "--evaluate", "development,test1", "--output", "a run")
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", interrupt)
        patch.setattr("bench.accuracy.training.loop.UNSAVED_S", math.inf)
        code, _, err = sbench("train", *of_speech, *options)
    assert (code, "sbench train --resume 'a run' --evaluate development,test1\n" in err) == (130, True), err
    resume = ("train", "--resume", "a run", "--workers", 0, "--device", "cpu")
    code, _, err = sbench(*resume)
    assert code == 0, err
    assert "a run has no checkpoint yet, so its training begins anew, and 1 complete epoch will be trained again" in err
    run = tmp_path / "a run"
    assert "no checkpoint" not in sbench(*resume)[2]

    shutil.rmtree(run / "checkpoint-2-0")
    (run / "state.json").unlink()
    weights = (run / "retnet-0" / "best.safetensors").stat()
    code, _, err = sbench(*resume)
    assert (code, "all 2 epochs of a run are done, but its checkpoints are missing" in err) == (2, True), err
    assert "Nothing is left to train" in err
    assert (run / "retnet-0" / "best.safetensors").stat() == weights
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 8


def test_a_diverging_loss_is_said(sbench: Sbench, arguments: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Learner, "step", lambda *_, **__: torch.tensor(float("nan")))
    code, _, err = sbench("train", *arguments, "--output", "run")
    assert code == 2
    assert "sbench: the loss of sa-0 is nan in epoch 1" in err
    assert "--learning-rate" in err


def test_corpus_and_demo_corpus(sbench: Sbench) -> None:
    assert sbench("demo-corpus", "made", "--utterances", 64, "--speakers", 4)[0] == 0
    code, out, _ = sbench("corpus", "msp-podcast:made")
    assert code == 0
    assert "anger" in out
    code, _, err = sbench("demo-corpus", "made")
    assert code == 2
    assert "made" in err


def test_speech_alone_needs_no_transcripts(
    sbench: Sbench, tmp_path: Path, arguments: list[object], of_speech: list[object], corpus: Corpus
) -> None:
    manifest = Path(corpus.spec.partition(":")[2])
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    without = [{**line, "audio": str(manifest.parent / line["audio"]), "text": ""} for line in lines]
    (tmp_path / "without.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in without))
    spoken = f"manifest:{tmp_path / 'without.jsonl'}"
    arguments, of_speech = ([spoken if each == corpus.spec else each for each in own] for own in (arguments, of_speech))
    code, _, err = sbench("train", *arguments, "--output", "with-text")
    assert (code, "have no transcript" in err) == (2, True), err
    code, _, err = sbench("train", *of_speech, "--output", "run")
    assert code == 0, err
    code, _, err = sbench("evaluate", "run", "--corpus", spoken, "--splits", "test1", "--device", "cpu")
    assert code == 0, err


def test_throughput(sbench: Sbench, tmp_path: Path, encoder_folders: tuple[Path, Path]) -> None:
    speech, text = encoder_folders
    options = ("--mixers", "sa,retnet", "--steps", 2, "--batch", 4, "--crop", 0.5, "--utterances", 96, "--workers", 0)
    arguments = ("throughput", "--speech", speech, "--text", text, *options, "--device", "cpu")
    code, _, err = sbench(*arguments, "--output", tmp_path)
    assert (code, "is a folder" in err) == (2, True), err
    code, out, err = sbench(*arguments, "--output", "training/throughput.json")
    assert (code, out) == (0, "training/throughput.json\n"), err
    content = json.loads((tmp_path / "training/throughput.json").read_text())
    assert content["environment"]["device_type"] == "cpu"
    assert content["direction"] == "alternating"
    rates = content["rates"]
    assert rates.keys() == {"together", "sa", "retnet"}
    assert rates["together"]["step_ms"].keys() == {"sa-0", "retnet-0"}
    alone_s = sum(1 / rates[name]["utterances_per_s"] for name in ("sa", "retnet"))
    assert content["times_faster"] == pytest.approx(rates["together"]["utterances_per_s"] * alone_s)
    assert content["hours_of_training"] > 0
    assert content["hours_of_scoring"] > 0
    assert content["scoring"].keys() == {"together", "one recording at a time"}
    assert all(rate["utterances_per_s"] > 0 for rate in content["scoring"].values())
    shutil.copy(EXAMPLE_PLUGIN / "sbench_running_mean.py", tmp_path / "mean_so_far.py")
    of_others = ("--mixers", "retnet,mean_so_far", "--plugin", "mean_so_far.py")
    code, _, err = sbench(*arguments, *of_others, "--seeds", 2, "--together", "--output", "together.json")
    assert code == 0, err
    content = json.loads((tmp_path / "together.json").read_text())
    assert content["rates"].keys() == {"together"}
    names = [f"{mixer}-{seed}" for mixer in ("retnet", "mean_so_far") for seed in (0, 1)]
    assert sorted(content["rates"]["together"]["step_ms"]) == sorted(names)


def test_throughput_loads_the_encoders_before_it_makes_a_corpus(
    sbench: Sbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = "bench.accuracy.training.throughput.write_demo_corpus"
    monkeypatch.setattr(made, lambda *_, **__: pytest.fail("a corpus is made"))
    code, _, err = sbench("throughput", "--mixers", "sa", "--speech", "/nowhere", "--device", "cpu")
    assert (code, "no such encoder: '/nowhere'" in err) == (2, True), err


def test_bfloat16(sbench: Sbench, tmp_path: Path, arguments: list[object]) -> None:
    code, _, err = sbench("train", *arguments, "--precision", "bfloat16", "--output", "run")
    assert code == 0, err
    assert runs.read(tmp_path / "run").precision == "bfloat16"


def test_a_run_is_scored_in_the_end_if_so_chosen(sbench: Sbench, tmp_path: Path, arguments: list[object]) -> None:
    code, _, err = sbench("train", *arguments, "--evaluate", "nothing", "--output", "run")
    assert (code, "nothing" in err, (tmp_path / "run").exists()) == (2, True, False), err
    code, out, err = sbench("train", *arguments, "--evaluate", "test1", "--crop", "whole", "--output", "run")
    assert (code, out) == (0, "run\n"), err
    assert "of at least 6 speakers)" in " ".join(err.split())
    scored = (tmp_path / "run" / "evaluation" / "test1" / "sa-0.csv").read_text()
    corpus = arguments[arguments.index("--corpus") + 1]
    code, _, err = sbench("evaluate", "run", "--corpus", corpus, "--splits", "test1", "--device", "cpu")
    assert code == 0, err
    assert (tmp_path / "run" / "evaluation" / "test1" / "sa-0.csv").read_text() == scored
    assert runs.read(tmp_path / "run").crop_seconds is None


def test_what_was_trained_is_freed_before_it_is_scored(
    sbench: Sbench, arguments: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[bool] = []
    trained: list[weakref.ref[Learner]] = []
    build = Learner.__init__

    def remember(learner: Learner, *given: object, **named: object) -> None:
        trained.append(weakref.ref(learner))
        build(learner, *given, **named)  # type: ignore[arg-type]

    def look(*_: object, **__: object) -> None:
        gc.collect()
        alive.extend(each() is not None for each in trained)

    monkeypatch.setattr(Learner, "__init__", remember)
    monkeypatch.setattr("bench.cli.evaluate.evaluate_run", look)
    code, _, err = sbench("train", *arguments, "--evaluate", "test1", "--output", "run")
    assert code == 0, err
    assert alive
    assert not any(alive)


def test_a_crop_is_a_number_or_whole(sbench: Sbench, arguments: list[object]) -> None:
    code, _, err = sbench("train", *arguments, "--crop", "half", "--output", "run")
    assert (code, err.splitlines()[0]) == (2, "sbench: --crop half is no number")


def test_weights_of_an_unfinished_run_and_scores_of_earlier_weights_are_named(
    sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus
) -> None:
    code, _, err = sbench("train", *arguments, "--evaluate", "test1", "--output", "run")
    assert (code, "not finished" in err) == (0, False), err
    code, out, _ = sbench("table", "run")
    assert (code, "UNFINISHED" in out, "OUTDATED" in out) == (0, False, False)

    run = tmp_path / "run"
    fields = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(fields | {"epochs": 9}))
    with (run / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"epoch": 9, "devel')
    (run / "sa-0" / "best.json").write_text(json.dumps({"development_macro_f": 1.0, "epoch": 7}))
    words = "not finished: 2 of 9 epochs are complete"
    code, _, err = sbench("evaluate", "run", "--corpus", corpus.spec, "--splits", "development", "--device", "cpu")
    assert (code, words in " ".join(err.split())) == (0, True), err
    recording = corpus.split("test1")[0].audio
    code, _, err = sbench("predict", "run", recording, "--text", "oh no", "--device", "cpu")
    assert (code, words in " ".join(err.split())) == (0, True), err
    code, out, _ = sbench("table", "run")
    told = " ".join(out.split())
    assert f"UNFINISHED: run is {words}." in told
    assert "OUTDATED: test1 of run: the weights of sa-0 have changed since." in told
    assert "OUTDATED: development" not in told


def test_a_split_that_is_named_twice_is_scored_once(sbench: Sbench, arguments: list[object], corpus: Corpus) -> None:
    sbench("train", *arguments, "--output", "run")
    splits = "test1,test1"
    code, _, err = sbench("evaluate", "run", "--corpus", corpus.spec, "--splits", splits, "--device", "cpu")
    assert (code, err.count("test1: ")) == (0, 1), err


def test_training_names_speakers_that_stand_in_two_splits(
    sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus
) -> None:
    manifest = Path(corpus.spec.partition(":")[2])
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        line["audio"] = str(manifest.parent / line["audio"])
    heard = next(line["speaker"] for line in lines if line["split"] == "train")
    next(line for line in lines if line["split"] == "test1")["speaker"] = heard
    (tmp_path / "own.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    own = [f"manifest:{tmp_path / 'own.jsonl'}" if each == corpus.spec else each for each in arguments]
    for given, shares in ((own, True), (arguments, False)):
        code, _, err = sbench("train", *given, "--epochs", 1, "--output", f"run-{shares}")
        assert (code, f"test1 shares 1 speaker ({heard}) with training: 1 utterance." in err) == (0, shares), err
        assert "not used by this training: 5 utterances of test1." in err
    code, _, err = sbench("train", *own, "--evaluate", "test1", "--output", "refused")
    assert (code, "shares 1 speaker" in err, "--evaluate" in err) == (2, True, True), err
    assert not (tmp_path / "refused").exists()
    code, _, err = sbench("train", "--resume", "run-True", "--evaluate", "test1", "--device", "cpu")
    assert (code, "shares 1 speaker" in err, "--evaluate" in err) == (2, True, True), err


def test_a_corpus_with_one_file_name_in_several_folders(
    sbench: Sbench, tmp_path: Path, of_speech: list[object], corpus: Corpus
) -> None:
    lines = []
    for place, each in enumerate(corpus.utterances):
        audio = tmp_path / "clips" / str(place) / "clip.wav"
        audio.parent.mkdir(parents=True)
        shutil.copy(each.audio, audio)
        lines.append({"audio": f"clips/{place}/clip.wav", "label": each.label, "speaker": each.speaker})
        lines[-1]["split"] = each.split
    (tmp_path / "own.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    own = [f"manifest:{tmp_path / 'own.jsonl'}" if each == corpus.spec else each for each in of_speech]
    assert sbench("corpus", "manifest:own.jsonl")[0] == 0
    options = ("--epochs", 1, "--evaluate", "test1", "--output", "run")
    code, _, err = sbench("train", *own, *options)
    assert (code, "not used by this training" in err) == (0, False), err
    path = tmp_path / "run" / "evaluation" / "test1" / "sa-0.csv"
    assert read_predictions(path, classes=corpus.classes).utterances[0] == "clips/19/clip.wav"
    assert sbench("table", "run")[0] == 0
