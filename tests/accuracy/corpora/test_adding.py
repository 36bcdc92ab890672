"""reports/adding-a-corpus.md works as written: its manifest and its reader are taken from the page."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import bench
from bench.accuracy import corpora
from bench.accuracy.corpora import readers
from tests.conftest import Sbench

PAGE = (Path(bench.__path__[0]).parent / "reports" / "adding-a-corpus.md").read_text()

RECORDINGS = [
    f"{speaker}_{label}_{split}.wav"
    for speaker, split in (("anna", "train"), ("ben", "train"), ("cleo", "development"), ("dan", "test1"))
    for label in ("anger", "neutral", "boredom")
]


def block(language: str) -> str:
    """The first code block of a language on the page."""
    match = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert match
    return match.group(1)


def write_audio(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(0).uniform(-1, 1, 8000), 16_000)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the page's reader, which lies in a folder where readers are looked for."""
    (file,) = set(re.findall(r"`(\w+)\.py` reads", PAGE))
    folder = tmp_path / "readers"
    folder.mkdir()
    (folder / f"{file}.py").write_text(block("python"))
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(folder)])
    yield file.replace("_", "-")
    sys.modules.pop(f"{readers.__name__}.{file}", None)


def test_the_manifest_of_the_page(sbench: Sbench, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in block("json").splitlines()]
    for line in lines:
        write_audio(tmp_path / line["audio"])
    (tmp_path / "mine.jsonl").write_text(block("json"))
    code, out, err = sbench("corpus", "manifest:mine.jsonl")
    assert code == 0, (out, err)
    corpus = corpora.load(f"manifest:{tmp_path / 'mine.jsonl'}", missing_text="empty")
    assert corpus.splits == ("train", "development", "test1")
    assert corpus.classes == ("anger", "happiness")


def test_the_reader_of_the_page(sbench: Sbench, tmp_path: Path, reader: str) -> None:
    for name in RECORDINGS:
        write_audio(tmp_path / "tones" / name)
    assert reader in corpora.names()
    corpus = corpora.load(f"{reader}:{tmp_path / 'tones'}", missing_text="empty")
    assert corpus.splits == ("train", "development", "test1")
    assert (len(corpus.utterances), len(corpus.left_out)) == (8, 4)
    code, out, err = sbench("corpus", f"{reader}:tones")
    assert code == 0, (out, err)
    assert "class boredom" in out


def test_a_reader_is_a_file_and_nothing_else() -> None:
    assert corpora.names() == ["crema-d", "emobox", "manifest", "msp-podcast", "ravdess"]
