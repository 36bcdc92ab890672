"""Corpora of emotional speech on disk, each read by a file of its own: ``NAME:PATH`` says which and where.

Nothing is dropped in silence: what is on disk is an utterance, is listed as left out with the reason, or is an error
that names it. Importing this package imports no torch.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.accuracy.corpora import crema_d, manifest, msp_podcast, ravdess
from bench.accuracy.corpora.base import UNKNOWN_SPEAKER, Corpus, LeftOut, Reading, Utterance
from mixers.support.errors import UserError, unknown_name

__all__ = ["UNKNOWN_SPEAKER", "Corpus", "LeftOut", "Reading", "Utterance", "load", "names", "read"]

MISSING_TEXT = ("error", "empty")

_READERS: dict[str, Callable[[Path], Reading]] = {
    "crema-d": crema_d.read,
    "manifest": manifest.read,
    "msp-podcast": msp_podcast.read,
    "ravdess": ravdess.read,
}


def names() -> list[str]:
    """Return the names of all corpora, in alphabetical order."""
    return sorted(_READERS)


def load(spec: str, *, missing_text: str = "error") -> Corpus:
    """Read a corpus and see that it is whole; no audio is decoded, which `check` does.

    Args:
        spec: ``NAME:PATH``, for instance ``"msp-podcast:/data/MSP-Podcast-2.0"`` or ``"manifest:mine.jsonl"``.
        missing_text: Whether a missing transcript is an ``"error"`` or an ``"empty"`` text.

    Raises:
        UserError: The corpus is unknown, missing or half copied, has a line, name or code that it should not, one
            class only, or lacks a transcript.
    """
    if missing_text not in MISSING_TEXT:
        raise unknown_name("way with missing text", missing_text, MISSING_TEXT)
    found = read(spec)
    if found.without_audio:
        total = len(found.utterances) + len(found.without_audio)
        message = f"{_some(found.without_audio, total)} utterances in {found.source} have no recording"
        raise UserError(f"{message}: {found.without_audio[0]}", hint="The corpus is half copied: copy its audio again.")
    labels = {utterance.label for utterance in found.utterances}
    if len(labels) == 1:
        message = f"{found.source} has one class only: {labels.pop()}"
        raise UserError(message, hint="There is nothing to tell apart; take a corpus with two classes or more.")
    corpus = Corpus(spec=spec, classes=found.classes, utterances=found.utterances, left_out=found.left_out)
    if corpus.without_text and missing_text == "error":
        without = [utterance.name for utterance in corpus.without_text]
        message = f"{_some(without, len(corpus.utterances))} utterances in {found.source} have no transcript"
        hint = "Add the transcripts, or take them as empty with --missing-text empty."
        raise UserError(f"{message}: {without[0]}", hint=hint)
    return corpus


def read(spec: str) -> Reading:
    """Read a corpus that may lack recordings and transcripts; some recordings, not all.

    Raises:
        UserError: As `load`, but for those.
    """
    name, separator, path = spec.partition(":")
    if not (separator and path):
        hint = f"Give NAME:PATH, for instance msp-podcast:/data/MSP-Podcast-2.0. Names: {', '.join(names())}."
        raise UserError(f"{spec!r} names no corpus", hint=hint)
    if name not in _READERS:
        raise unknown_name("corpus", name, names())
    found = _READERS[name](Path(path).expanduser())
    if found.utterances:
        return found
    if found.without_audio:
        message = f"no label in {found.source} matches a recording: {found.without_audio[0]} has none"
        raise UserError(message, hint="Labels and audio must be of one release, and both be copied whole.")
    raise UserError(f"{found.source} has no utterance with a label", hint="Check that it was copied whole.")


def _some(names: Sequence[str], total: int) -> str:
    return f"{len(names):,} of {total:,}"
