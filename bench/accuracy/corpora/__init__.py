"""Corpora of emotional speech on disk: ``NAME:PATH`` says which corpus and where it is.

Each file in readers/ reads one corpus and is found by its name. Nothing is dropped silently. What is on disk is an
utterance, is listed as left out with the reason, or is an error that names it. Importing this package imports no torch.
"""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.accuracy.corpora import readers
from bench.accuracy.corpora.base import UNKNOWN_SPEAKER, Corpus, LeftOut, Reading, Utterance
from mixers.support.errors import UserError, unknown_name

__all__ = ["UNKNOWN_SPEAKER", "Corpus", "LeftOut", "Reading", "Utterance", "load", "names", "read"]

MISSING_TEXT = ("error", "empty")


def names() -> list[str]:
    """Return the names of all corpora, in alphabetical order: those of the files in readers/, with ``-`` for ``_``."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(readers.__path__))


def load(spec: str, *, missing_text: str = "error") -> Corpus:
    """Read a corpus and check that it is complete. No audio is decoded; `check` does that.

    Args:
        spec: ``NAME:PATH``, for instance ``"msp-podcast:/data/MSP-Podcast-2.0"`` or ``"manifest:mine.jsonl"``.
        missing_text: Whether a missing transcript is an ``"error"`` or an ``"empty"`` text.

    Raises:
        UserError: The corpus is unknown, missing or only partly copied. Or it has an invalid line, name or code, has
            only one class, or lacks a transcript.
    """
    if missing_text not in MISSING_TEXT:
        raise unknown_name("treatment of missing text", missing_text, MISSING_TEXT)
    found = read(spec)
    if found.without_audio:
        total = len(found.utterances) + len(found.without_audio)
        message = f"{_share(found.without_audio, total)} utterances in {found.source} have no recording"
        hint = "The corpus is only partly copied: copy its audio again."
        raise UserError(f"{message}: {found.without_audio[0]}", hint=hint)
    labels = {utterance.label for utterance in found.utterances}
    if len(labels) == 1:
        message = f"{found.source} has only one class: {labels.pop()}"
        raise UserError(message, hint="Training needs two classes or more.")
    corpus = Corpus(spec=spec, classes=found.classes, utterances=found.utterances, left_out=found.left_out)
    if corpus.without_text and missing_text == "error":
        without = [utterance.name for utterance in corpus.without_text]
        message = f"{_share(without, len(corpus.utterances))} utterances in {found.source} have no transcript"
        hint = "Add the transcripts, or treat them as empty with --missing-text empty."
        raise UserError(f"{message}: {without[0]}", hint=hint)
    return corpus


def read(spec: str) -> Reading:
    """Read a corpus that may lack transcripts and some, but not all, recordings.

    Raises:
        UserError: As in `load`, except for these.
    """
    name, separator, path = spec.partition(":")
    if not (separator and path):
        hint = f"Give NAME:PATH, for instance msp-podcast:/data/MSP-Podcast-2.0. Names: {', '.join(names())}."
        raise UserError(f"{spec!r} names no corpus", hint=hint)
    if name not in names():
        raise unknown_name("corpus", name, names())
    module = importlib.import_module(f"{readers.__name__}.{name.replace('-', '_')}")
    reader: Callable[[Path], Reading] = module.read
    found = reader(Path(path).expanduser())
    if found.utterances:
        return found
    if found.without_audio:
        message = f"no label in {found.source} matches a recording: {found.without_audio[0]} has none"
        raise UserError(message, hint="Labels and audio must be of one release, and both must be copied completely.")
    raise UserError(f"{found.source} has no utterance with a label", hint="Check that it was copied completely.")


def _share(names: Sequence[str], total: int) -> str:
    return f"{len(names):,} of {total:,}"
