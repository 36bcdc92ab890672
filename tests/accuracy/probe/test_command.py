"""`sbench probe` as its users meet it."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor

from bench.accuracy.corpora.base import Corpus
from bench.accuracy.inputs.features import SpeechFeatures
from bench.accuracy.probe import record
from tests.conftest import REAL, Sbench
from tests.tiny_whisper import LAYERS, save_tiny_whisper

HERE = ("--device", "cpu", "--workers", 0)


@pytest.fixture
def arguments(corpus: Corpus, encoder_folders: tuple[Path, Path]) -> list[object]:
    return ["--corpus", corpus.spec, "--speech", encoder_folders[0], *HERE]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each recording was encoded."""
    names: Counter[str] = Counter()
    call = SpeechFeatures.__call__

    def counting(self: SpeechFeatures, waveforms: Tensor, batch: Sequence[str], *lengths: Any) -> Tensor:
        names.update(batch)
        return call(self, waveforms, batch, *lengths)

    monkeypatch.setattr(SpeechFeatures, "__call__", counting)
    return names


def rewritten(corpus: Corpus, file: Path, *, change: dict[str, dict[str, str]] | None = None, without: str = "") -> str:
    """Write a manifest with other fields in the lines of some recordings, without a split, and return its spec."""
    lines = [
        {"audio": str(each.audio), "text": each.text, "label": each.label, "speaker": each.speaker, "split": each.split}
        | (change or {}).get(each.name, {})
        for each in corpus.utterances
        if each.split != without
    ]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return f"manifest:{file}"


def test_a_probe_is_scored_and_shown(
    sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus, encoded: Counter[str]
) -> None:
    code, out, err = sbench("probe", *arguments, "--output", "out")
    assert (code, out) == (0, "out\n"), err
    assert encoded == Counter(each.name for each in corpus.utterances)
    found = record.read(tmp_path / "out")
    assert (found.corpus, found.classes, found.regularisation) == (corpus.spec, corpus.classes, 0.02)
    assert set(found.development_scores) == {"1", "2", "last"}
    assert found.parameters == 2 * found.width + 1
    assert "development macro-F by layer: 1 " in err
    assert "test1: 5 utterances, 5 used, 0 left out" in err
    for split in ("development", "test1"):
        folder = tmp_path / "out" / "evaluation" / split
        assert {each.name for each in folder.iterdir()} == {*("linear-0.csv", "linear-0.json", "utterances.json")}
        with (folder / "linear-0.csv").open(newline="") as file:
            assert [row["utterance"] for row in csv.DictReader(file)] == [each.name for each in corpus.split(split)]
        tested = json.loads((folder / "utterances.json").read_text())
        assert tested["overlap"] == {
            "treatment": "refuse",
            **dict.fromkeys(("recordings", "speakers", "utterances", "of_unknown_speaker"), 0),
        }
    code, out, err = sbench("table", "out", "--output", "table")
    assert code == 0, err
    assert "linear" in out
    assert sbench("probe", *arguments, "--output", "again")[0] == 0
    again, first = (tmp_path / name / "evaluation" / "test1" / "linear-0.csv" for name in ("again", "out"))
    assert again.read_bytes() == first.read_bytes()


def test_probe_beside_mixers(sbench: Sbench, arguments: list[object]) -> None:
    train = ("--no-text", "--mixers", "retnet", "--epochs", 1, "--batch", 4, "--crop", 0.5, "--output", "run")
    assert sbench("train", *arguments, *train)[0] == 0
    assert sbench("evaluate", "run", "--corpus", arguments[1], *HERE)[0] == 0
    assert sbench("probe", *arguments, "--output", "out")[0] == 0
    code, out, err = sbench("table", "run", "out")
    assert code == 0, err
    assert "NOT ALIKE" not in out
    assert "linear: logistic regression" in " ".join(out.split())


@pytest.mark.parametrize("layer", ["best", "2", "last"])
def test_whisper(sbench: Sbench, tmp_path: Path, corpus: Corpus, layer: str) -> None:
    speech = save_tiny_whisper(tmp_path / "whisper")
    options = ("--layer", layer, "--with-development", "--regularisation", "0.1", "--output", "out")
    code, _, err = sbench("probe", "--corpus", corpus.spec, "--speech", speech, *HERE, *options)
    assert code == 0, err
    found = record.read(tmp_path / "out")
    assert len(found.development_scores) == (LAYERS + 1 if layer == "best" else 1)
    assert layer in ("best", str(found.layer))
    assert (found.with_development, found.layer_chosen, found.regularisation) == (True, layer == "best", 0.1)


def test_all_folds_encode_every_recording_once(
    sbench: Sbench, tmp_path: Path, two_folds: Path, encoder_folders: tuple[Path, Path], encoded: Counter[str]
) -> None:
    options = ("--corpus", f"emobox:{two_folds}", "--speech", encoder_folders[0], *HERE)
    code, out, err = sbench("probe", *options, "--fold", "all", "--output", "out")
    assert (code, out) == (0, "out\n"), err
    assert len(encoded) == 32
    assert set(encoded.values()) == {1}
    assert record.read(tmp_path / "out" / "fold-2").corpus == f"emobox@2:{two_folds}"
    code, shown, err = sbench("table", *(f"out/fold-{fold}" for fold in (1, 2)))
    assert code == 0, err
    assert "32 utterances, 8 speakers, 2 folds" in shown
    assert sbench("table", "out")[:2] == (0, shown)
    assert sbench("probe", *options, "--fold", "2", "--output", "alone")[0] == 0
    part = Path("evaluation") / "test" / "linear-0.csv"
    assert (tmp_path / "alone" / part).read_bytes() == (tmp_path / "out" / "fold-2" / part).read_bytes()


BAD_INPUT = {
    "output exists": (["--output", "there"], "the output folder there exists", "Give another --output."),
    "unknown layer": (["--layer", "first"], "no such layer: 'first'", "last, or best"),
    "missing layer": (["--layer", "3"], "has no layer 3", "Give --layer 1 to 2, last, or best."),
    "what enters": (["--layer", "0"], "has no layer 0", "Give --layer 1 to 2"),
    "regularisation": (["--regularisation", "0"], "--regularisation 0.0 is invalid", "0.02"),
    "no fold": (["--fold", "x"], "no such fold: 'x'", "or all"),
    "no folds": (["--fold", "all"], "is not a folder", "fold-1.jsonl"),
    "unknown fold": (["--corpus", "ravdess:.", "--fold", "7"], "has no fold 7", "Its folds are 1 to 6"),
    "two folds": (["--corpus", "ravdess@1:.", "--fold", "all"], "is fold 1, but --fold says all", "once"),
    "unknown treatment": (["--overlap", "ignore"], "unknown treatment of overlaps 'ignore'", "leave-out"),
    "unknown precision": (["--precision", "float16"], "unknown precision 'float16'", "bfloat16"),
}


@pytest.mark.parametrize(("wrong", "message", "hint"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_bad_input_is_one_line_and_a_hint(
    sbench: Sbench, tmp_path: Path, arguments: list[object], wrong: list[str], message: str, hint: str
) -> None:
    (tmp_path / "there").mkdir()
    code, out, err = sbench("probe", *arguments, *wrong)
    lines = [line for line in err.splitlines() if line.startswith(("sbench: ", "  hint: "))]
    assert (code, out) == (2, ""), err
    assert message in lines[0]
    assert hint in "".join(lines[1:])
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_without_development_a_layer_must_be_named(
    sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus
) -> None:
    spec = rewritten(corpus, tmp_path / "own.jsonl", without="development")
    given = [spec if each == corpus.spec else each for each in arguments]
    for option, message in (((), "no development split to choose the layer on"), (("--layer", "1"), "")):
        code, _, err = sbench("probe", *given, *option, "--output", "out")
        assert (code, message in err) == (2 if message else 0, True), err
    assert record.read(tmp_path / "out").development_scores == {}
    code, _, err = sbench("probe", *given, "--layer", "1", "--with-development", "--output", "other")
    assert (code, "has no development split" in err) == (2, True)


def test_speakers_that_training_heard(sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus) -> None:
    first = corpus.split("test1")[0].name
    spec = rewritten(corpus, tmp_path / "own.jsonl", change={first: {"speaker": "train-0"}})
    given = [spec if each == corpus.spec else each for each in arguments]
    code, _, err = sbench("probe", *given, "--output", "out")
    assert (code, "test1 of" in err, "shares 1 speaker (train-0)" in err) == (2, True, True), err
    for treatment, used in (("leave-out", 4), ("accept", 5)):
        code, _, err = sbench("probe", *given, "--overlap", treatment, "--output", treatment)
        assert code == 0, err
        assert "with training: 1 utterance" in err
        tested = json.loads((tmp_path / treatment / "evaluation" / "test1" / "utterances.json").read_text())
        assert (tested["expected"], tested["used"], tested["overlap"]["utterances"]) == (5, used, 1)


def test_a_bad_recording_leaves_nothing_behind(
    sbench: Sbench, tmp_path: Path, arguments: list[object], corpus: Corpus, encoded: Counter[str]
) -> None:
    soundfile.write(tmp_path / "short.wav", torch.randn(160).numpy(), 16_000)
    last = corpus.utterances[-1].name
    spec = rewritten(corpus, tmp_path / "own.jsonl", change={last: {"audio": str(tmp_path / "short.wav")}})
    code, _, err = sbench("probe", *(spec if each == corpus.spec else each for each in arguments), "--output", "out")
    assert (code, "short.wav is shorter than an encoder's frame" in err) == (2, True), err
    assert not encoded
    assert {path.name for path in tmp_path.iterdir()} == {"own.jsonl", "short.wav"}


@pytest.mark.real
@pytest.mark.slow
def test_anger_is_told_from_sadness_in_real_speech(sbench: Sbench, tmp_path: Path) -> None:
    """Of 20 recordings, since an encoder takes seconds for one on a CPU. Chance is a macro-F of a half or less."""
    emotions = {"05": "anger", "04": "sadness"}
    lines = []
    for split, actors, takes in (("train", (1, 2, 3, 4, 5, 6), "01-01"), ("test1", (7, 8, 9, 10), "02-01")):
        for actor in actors:
            for emotion, label in emotions.items():
                audio = REAL / "ravdess" / f"Actor_{actor:02d}" / f"03-01-{emotion}-02-{takes}-{actor:02d}.flac"
                lines.append({"audio": str(audio), "text": "", "label": label, "speaker": str(actor), "split": split})
    (tmp_path / "real.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    options = ("--corpus", "manifest:real.jsonl", "--speech", REAL / "whisper-base-encoder", "--layer", "4", *HERE)
    code, _, err = sbench("probe", *options, "--output", "out")
    assert code == 0, err
    scores = json.loads((tmp_path / "out" / "evaluation" / "test1" / "linear-0.json").read_text())
    assert scores["macro_f"]["value"] > 0.8
