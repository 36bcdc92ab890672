"""Corpora of emotional speech on disk: ``NAME:PATH`` says which corpus and where it is; ``NAME@2:PATH`` is its fold 2.

Each file in readers/ reads one corpus and is found by its name. Nothing is dropped silently. What is on disk is an
utterance, is listed as left out with the reason, or is an error that names it. Importing this package imports no torch.
"""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.accuracy.corpora import readers
from bench.accuracy.corpora.base import TRAIN, UNKNOWN_SPEAKER, Corpus, LeftOut, Reading, Utterance, ordered_splits
from bench.accuracy.corpora.reference import parse_reference
from mixers.support.errors import UserError, unknown_name

__all__ = ["UNKNOWN_SPEAKER", "Corpus", "LeftOut", "Reading", "Utterance", "load", "names", "read"]

MISSING_TEXT = ("error", "empty")


def names() -> list[str]:
    """Return the names of all corpora, in alphabetical order: those of the files in readers/, with ``-`` for ``_``."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(readers.__path__))


def load(spec: str, *, missing_text: str = "error") -> Corpus:
    """Read a corpus and check that it is complete. No audio is decoded; `check` does that.

    Args:
        spec: ``NAME:PATH``, for instance ``"msp-podcast:/data/MSP-Podcast-2.0"`` or ``"manifest:mine.jsonl"``, or a
            fold, ``NAME@FOLD:PATH``.
        missing_text: Whether a missing transcript is an ``"error"`` or an ``"empty"`` text.

    Raises:
        UserError: The corpus is unknown, missing or only partly copied. Or it has an invalid line, name or code, has
            only one class, lacks a transcript or the fold, or a speaker is in two splits of the fold.
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
    _check_speakers(spec, found)
    corpus = Corpus(
        spec=spec,
        classes=found.classes,
        utterances=found.utterances,
        left_out=found.left_out,
        folds=found.folds,
    )
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
    if not all(spec.partition(":")):
        hint = f"Give NAME:PATH, for instance msp-podcast:/data/MSP-Podcast-2.0. Names: {', '.join(names())}."
        raise UserError(f"{spec!r} names no corpus", hint=hint)
    reference = parse_reference(spec)
    if reference.name not in names():
        raise unknown_name("corpus", reference.name, names())
    module = importlib.import_module(f"{readers.__name__}.{reference.name.replace('-', '_')}")
    if reference.fold is not None and not hasattr(module, "read_fold"):
        raise UserError(f"{reference.name} has no folds", hint="Leave --fold out: it has splits of its own.")
    reader: Callable[..., Reading] = module.read if reference.fold is None else module.read_fold
    fold = () if reference.fold is None else (reference.fold,)
    try:
        found = reader(Path(reference.path).expanduser(), *fold)
    except (OSError, RuntimeError) as error:  # a name that is too long, a folder that may not be listed, no such home
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{reference.path} cannot be read: {reason}", hint="Check the path and its permissions."
        ) from None
    if found.utterances:
        return found
    if found.without_audio:
        message = f"no label in {found.source} matches a recording: {found.without_audio[0]} has none"
        raise UserError(message, hint="Labels and audio must be of one release, and both must be copied completely.")
    raise UserError(f"{found.source} has no utterance with a label", hint="Check that it was copied completely.")


def _check_speakers(spec: str, found: Reading) -> None:
    """Refuse a fold with a speaker in training and in another split, unless its reference allows that."""
    reference = parse_reference(spec)
    if reference.fold is None or reference.shared:
        return
    voices: dict[str, set[str]] = {}
    for utterance in found.utterances:
        voices.setdefault(utterance.split, set()).add(utterance.speaker)
    heard = voices.get(TRAIN, set()) - {UNKNOWN_SPEAKER}
    for split in ordered_splits(voices):
        if split != TRAIN and (both := heard & voices[split]):
            message = f"fold {reference.fold} of {found.source} has {len(both)} speakers in {TRAIN} and in {split}"
            hint = f"Its scores say nothing about new speakers. To accept this, write {reference.name}@{reference.fold}"
            raise UserError(f"{message}: {min(both)}", hint=f"{hint}+shared:{reference.path}")


def _share(names: Sequence[str], total: int) -> str:
    return f"{len(names):,} of {total:,}"
