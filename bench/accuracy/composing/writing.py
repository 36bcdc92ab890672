"""Writes composed recordings as a corpus: FLAC files, a manifest that all commands read, a card of their parts.

FOLDER/30s/manifest.jsonl
FOLDER/30s/card.json
FOLDER/30s/train/salient-30s-train-00000.flac
"""

import io
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.accuracy.composing.filling import Piece, Source
from bench.accuracy.composing.plans import Plan, Plans, Request, make_plans
from bench.accuracy.corpora.base import Corpus, digest
from bench.audio import read_recording
from bench.files import whole
from bench.speech import SAMPLE_RATE
from mixers.support.errors import UserError

CARD, MANIFEST = "card.json", "manifest.jsonl"

_LEVEL = 0.05  # root mean square of each recording if levels are matched, -26 dB of full scale: usual for speech
_LARGEST = 0.99


@dataclass(frozen=True, kw_only=True)
class Written:
    """Some composed recordings are on disk.

    Attributes:
        done, total: Of one length, in recordings.
        seconds: The length.
        manifest: The manifest; None before all of the length are written.
        left_out: Why short recordings began none, with their numbers.
    """

    done: int
    total: int
    seconds: float
    manifest: Path | None
    left_out: dict[str, int]


def compose(corpus: Corpus, folder: Path, requests: Sequence[Request]) -> Iterator[Written]:
    """Write a corpus of each request into a folder of its own, named after its length.

    Everything is planned before anything is written. A corpus gets its folder once it is whole.

    Args:
        corpus: The short recordings.
        folder: Where the folders go; new.
        requests: Of different lengths.

    Raises:
        UserError: Nothing can be composed, a recording cannot be read, or the folder cannot be written.
    """
    if os.path.lexists(folder):  # unlike Path.exists, it takes names of any length
        raise UserError(f"{folder} exists", hint="Give a new folder.")
    with ThreadPoolExecutor() as pool:  # a header may state a sample more than there is at 16 kHz
        lengths = list(pool.map(lambda each: read_recording(each.audio).shape[0], corpus.utterances))
    sources = [
        Source(utterance=each, samples=samples) for each, samples in zip(corpus.utterances, lengths, strict=True)
    ]
    planned = [(request, make_plans(sources, request)) for request in requests]
    for request, plans in planned:
        own = folder / f"{request.seconds:g}s"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with whole(own) as unfinished:
                yield from _write(unfinished, plans, request)
                (unfinished / CARD).write_text(json.dumps(_card(corpus, plans, request), indent=1) + "\n")
                (unfinished / MANIFEST).write_text("".join(map(_line, plans.plans)), encoding="utf-8")
        except OSError as error:
            raise UserError(f"{own} cannot be written: {error.strerror}", hint="Give another folder.") from None
        count = len(plans.plans)
        yield Written(
            done=count,
            total=count,
            seconds=request.seconds,
            manifest=own / MANIFEST,
            left_out=dict(plans.left_out),
        )


def _write(folder: Path, plans: Plans, request: Request) -> Iterator[Written]:
    """Write the recordings of one length; say after each how many there are."""
    for split in dict.fromkeys(plan.split for plan in plans.plans):
        (folder / split).mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        for done, _ in enumerate(pool.map(partial(_write_one, folder, request=request), plans.plans), 1):
            yield Written(done=done, total=len(plans.plans), seconds=request.seconds, manifest=None, left_out={})


def _write_one(folder: Path, plan: Plan, *, request: Request) -> None:
    encoded = io.BytesIO()  # so that a full disk raises an OSError, which soundfile's errors are not
    waveform = _assemble(plan.pieces, request)
    soundfile.write(encoded, waveform, SAMPLE_RATE, subtype="PCM_16", format="FLAC")
    (folder / _audio(plan)).write_bytes(encoded.getvalue())


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


def _audio(plan: Plan) -> str:
    return f"{plan.split}/{plan.name}.flac"


def _line(plan: Plan) -> str:
    text = " ".join(piece.source.utterance.text for piece in plan.pieces if piece.source.utterance.text)
    fields = {
        "audio": _audio(plan),
        "text": text,
        "label": plan.label,
        "speaker": plan.speaker,
        "split": plan.split,
    }
    return json.dumps(fields) + "\n"


def _card(corpus: Corpus, plans: Plans, request: Request) -> dict[str, Any]:
    """Return how a corpus was composed, and what each of its recordings consists of, in seconds."""
    return {
        "sbench": version("sbench"),
        "corpus": corpus.spec,
        "utterances": digest(corpus.utterances),
        **vars(request),
        "left_out": dict(plans.left_out),
        "recordings": {
            _audio(plan): [
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
