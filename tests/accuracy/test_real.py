"""Real speech: one of EmoBox's folds of RAVDESS through Whisper base, by the commands that a user would give."""

import json
from pathlib import Path

import pytest

from bench.accuracy import corpora
from bench.accuracy import run as runs
from bench.accuracy.evaluation.metrics import summarise
from bench.accuracy.evaluation.predictions import read_predictions
from tests.conftest import REAL, Sbench

EMOTIONS = ("calm", "anger", "sadness", "surprise")
CHANCE = 1 / len(EMOTIONS)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_mixer_learns_emotions_of_speakers_that_it_never_heard(sbench: Sbench, tmp_path: Path) -> None:
    """On one recording of 14 actors and four emotions, since a core of a CPU encodes one in a second."""
    fold = corpora.load(f"ravdess@4:{REAL / 'ravdess'}")
    speakers = {split: sorted({each.speaker for each in fold.split(split)}) for split in fold.splits}
    chosen = {*speakers["train"][::2], *speakers["development"][::2], *speakers["test"]}
    lines = [
        json.dumps({key: str(getattr(each, key)) for key in ("audio", "text", "label", "speaker", "split")})
        for each in fold.utterances
        if each.speaker in chosen
        and each.label in EMOTIONS
        and each.name.endswith(f"-01-02-01-{each.speaker[-2:]}.flac")
    ]
    (tmp_path / "fold.jsonl").write_text("".join(f"{line}\n" for line in lines))
    code, out, err = sbench(
        *("train", "--corpus", f"manifest:{tmp_path / 'fold.jsonl'}", "--speech", REAL / "whisper-base-encoder"),
        *("--no-text", "--mixers", "sa", "--layer", 4, "--crop", "whole", "--batch", 16, "--epochs", 8),
        *("--learning-rate", 1e-3, "--schedule", "one-cycle", "--classifier-layers", 1),
        *("--workers", 0, "--evaluate", "test", "--output", "run"),
    )
    assert (code, out) == (0, "run\n"), err
    classes = runs.read(tmp_path / "run").classes
    found = summarise(read_predictions(tmp_path / "run" / "evaluation" / "test" / "sa-0.csv", classes=classes))
    assert (found.utterances, found.speakers) == (16, 4)
    assert found.average_recall.value > 2 * CHANCE
