"""Writes composed recordings as corpora: FLAC files, manifests that all commands read, cards of their parts.

FOLDER/30s/salient-30s-00017.flac
FOLDER/30s/card.json             what each recording of this length consists of
FOLDER/30s/manifest.jsonl        train and development of 30 s, and the tests of every length: test-10s, test-240s, ...
FOLDER/30s/fold-1.jsonl          the same of a fold; a recording of several folds is written once
"""

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.accuracy.composing.filling import Piece, Source
from bench.accuracy.composing.plans import Plan, Plans, Request, make_plans
from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, Corpus, Utterance, digest
from bench.accuracy.corpora.readers.manifest import fold_file
from bench.accuracy.corpora.reference import parse_reference
from bench.accuracy.evaluation.overlap import describe, separate
from bench.audio import read_recording
from bench.environment import versions
from bench.files import whole
from bench.speech import SAMPLE_RATE
from mixers.support.errors import UserError

CARD, MANIFEST = "card.json", "manifest.jsonl"

_LEVEL = 0.05  # root mean square of each recording if levels are matched, -26 dB of full scale: usual for speech
_LARGEST = 0.99


@dataclass(frozen=True, kw_only=True)
class Written:
    """Some composed recordings of a length are on disk.

    Attributes:
        seconds: The length.
        done, total: In recordings.
    """

    seconds: float
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Everything is on disk.

    Attributes:
        manifests: Of each length that is learned, and each division.
        left_out: For each length, why short recordings carry no label, with their numbers.
    """

    manifests: tuple[Path, ...]
    left_out: dict[float, dict[str, int]]


def limits(divisions: Sequence[Corpus]) -> Iterator[str]:
    """Yield what cannot be done with what is composed of some corpora or folds, a line each."""
    for corpus in divisions:
        for split in (TRAIN, DEVELOPMENT):
            if split not in corpus.splits:
                yield f"{corpus.spec} has no split {split!r}, so `sbench train` refuses what is composed of it"
        _, found = separate(corpus, corpus.splits, learned=corpus, treatment="accept")
        for split, overlap in found.items():
            if overlap.utterances:
                what = f"{split} of {corpus.spec} shares {describe(overlap)} with training"
                yield f"{what}, so `sbench train --evaluate {split}` refuses what is composed of it"


def compose(divisions: Sequence[Corpus], folder: Path, requests: Sequence[Request]) -> Iterator[Written | Finished]:
    """Write corpora of composed recordings into a folder, which appears when all are written.

    Everything is planned before anything is written.

    Args:
        divisions: One corpus, or several folds of it.
        folder: A new folder.
        requests: Of different lengths.

    Raises:
        UserError: Nothing can be composed, a recording cannot be read, or the folder cannot be written.
    """
    if os.path.lexists(folder):  # unlike Path.exists, it takes names of any length
        raise UserError(f"{folder} exists", hint="Give a new folder.")
    sources = _sources(divisions)
    planned = {request: make_plans(sources, request) for request in requests}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with whole(folder) as unfinished:
            for request, plans in planned.items():
                own = unfinished / _folder(request)
                own.mkdir(parents=True)
                yield from _write(own, plans, request)
                (own / CARD).write_text(json.dumps(_card(divisions, plans, request), indent=1) + "\n")
            manifests = [*_manifests(divisions, planned)]
            for path, lines in manifests:
                (unfinished / path).write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}", hint="Give another folder.") from None
    yield Finished(
        manifests=tuple(folder / path for path, _ in manifests),
        left_out={request.seconds: dict(plans.left_out) for request, plans in planned.items()},
    )


def _sources(divisions: Sequence[Corpus]) -> list[Source]:
    """Return every recording once, with its split in each division."""
    every: dict[str, Utterance] = {}
    for corpus in divisions:
        every |= {each.name: each for each in corpus.utterances}
    with ThreadPoolExecutor() as pool:  # a header may state a sample more than there is at 16 kHz
        lengths = list(pool.map(lambda each: read_recording(each.audio).shape[0], every.values()))
    splits = [{each.name: each.split for each in corpus.utterances} for corpus in divisions]
    return [
        Source(utterance=each, samples=samples, splits=tuple(found.get(each.name, "") for found in splits))
        for each, samples in zip(every.values(), lengths, strict=True)
    ]


def _write(folder: Path, plans: Plans, request: Request) -> Iterator[Written]:
    """Write the recordings of one length; say after each how many there are."""
    with ThreadPoolExecutor() as pool:
        for done, _ in enumerate(pool.map(partial(_write_one, folder, request=request), plans.plans), 1):
            yield Written(done=done, total=len(plans.plans), seconds=request.seconds)


def _write_one(folder: Path, plan: Plan, *, request: Request) -> None:
    encoded = io.BytesIO()  # so that a full disk raises an OSError, which soundfile's errors are not
    waveform = _assemble(plan.pieces, request)
    soundfile.write(encoded, waveform, SAMPLE_RATE, subtype="PCM_16", format="FLAC")
    (folder / f"{plan.name}.flac").write_bytes(encoded.getvalue())


def _assemble(pieces: Sequence[Piece], request: Request) -> NDArray[np.float32]:
    """Return the composed waveform, (samples,)."""
    waveform = np.zeros(request.samples, dtype=np.float32)
    for piece in pieces:
        whole_source: NDArray[np.float32] = read_recording(piece.source.utterance.audio).numpy()
        part = whole_source[piece.offset : piece.offset + piece.samples]
        if request.match_levels:
            part = part * _gain(whole_source)
        waveform[piece.start : piece.start + piece.samples] = part
    return waveform


def _gain(waveform: NDArray[np.float32]) -> float:
    """Return what brings a recording to the common level, or as near as its highest sample allows."""
    level, peak = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))), float(np.abs(waveform).max())
    return min(_LEVEL / level, _LARGEST / peak) if peak else 1.0


def _folder(request: Request) -> str:
    return f"{request.seconds:g}s"


def _manifests(divisions: Sequence[Corpus], planned: Mapping[Request, Plans]) -> Iterator[tuple[Path, list[str]]]:
    """Yield the place of each manifest and its lines: what is learned at one length, and the tests of every length."""
    for own in (request for request in planned if request.learned):
        for number, corpus in enumerate(divisions):
            fold = parse_reference(corpus.spec).fold
            lines: list[str] = []
            for request, plans in planned.items():
                for plan in plans.plans:
                    split = plan.splits[number]
                    if split in (TRAIN, DEVELOPMENT) and request is own:
                        lines.append(_line(plan, split, folder=_folder(request)))
                    elif split not in ("", TRAIN, DEVELOPMENT):
                        lines.append(_line(plan, f"{split}-{_folder(request)}", folder=_folder(request)))
            yield Path(_folder(own), MANIFEST if fold is None else fold_file(fold)), lines


def _line(plan: Plan, split: str, *, folder: str) -> str:
    text = " ".join(piece.source.utterance.text for piece in plan.pieces if piece.source.utterance.text)
    fields = {
        "audio": f"../{folder}/{plan.name}.flac",
        "text": text,
        "label": plan.label,
        "speaker": plan.speaker,
        "split": split,
    }
    return json.dumps(fields) + "\n"


def _card(divisions: Sequence[Corpus], plans: Plans, request: Request) -> dict[str, Any]:
    """Return how recordings were composed, and what each of them consists of, in seconds."""
    return {
        "sbench": versions()["sbench"],
        "corpus": [corpus.spec for corpus in divisions],
        "utterances": [digest(corpus.utterances) for corpus in divisions],
        **vars(request),
        "left_out": dict(plans.left_out),
        "recordings": {
            f"{plan.name}.flac": [
                {
                    "recording": piece.source.utterance.name,
                    "start_s": piece.start / SAMPLE_RATE,
                    "from_s": piece.offset / SAMPLE_RATE,
                    "seconds": piece.samples / SAMPLE_RATE,
                }
                for piece in plan.pieces
            ]
            for plan in plans.plans
        },
    }
