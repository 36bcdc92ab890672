"""Which recordings are in two sets of utterances, such as two splits or the releases of a corpus.

Recordings are compared by name without suffix. A name is a file name, or a path where file names repeat. So two are the
same if the name of each ends the path of the other: ``a/1`` is not ``b/1``, but it is the ``1`` of another manifest in
a folder ``a``.

Corpora that number their recordings have equal names by chance. So two that are named by a number, ``0017`` or
``clip_17``, are not the same if both their lengths and their known speakers differ.
"""

import re
from collections.abc import Iterable

from bench.accuracy.corpora.base import UNKNOWN_SPEAKER, Utterance
from bench.audio import samples_at_16_khz

_NUMBER = re.compile(r"[A-Za-z]{0,8}[-_ ]?[0-9]{1,8}")

_SAME_LENGTH = 1_600  # samples at 16 kHz, 0.1 s: copies in other formats may differ by a block


def shared_recordings(ours: Iterable[Utterance], theirs: Iterable[Utterance]) -> list[Utterance]:
    """Return the utterances among theirs whose recording is also among ours."""
    by_file: dict[str, list[Utterance]] = {}
    for each in ours:
        by_file.setdefault(_name(each).rpartition("/")[2], []).append(each)
    return [each for each in theirs if any(_same(each, one) for one in by_file.get(_name(each).rpartition("/")[2], ()))]


def _same(one: Utterance, other: Utterance) -> bool:
    alike = _name(one) == _name(other) or (_ends(_name(one), other) and _ends(_name(other), one))
    return alike and not _by_chance(one, other)


def _by_chance(one: Utterance, other: Utterance) -> bool:
    """Tell whether both are named by a number, and both speaker and length differ, as far as they are known."""
    if UNKNOWN_SPEAKER in (one.speaker, other.speaker) or one.speaker == other.speaker:
        return False
    if not (_NUMBER.fullmatch(one.audio.stem) and _NUMBER.fullmatch(other.audio.stem)):
        return False
    lengths = [samples_at_16_khz(each.audio) for each in (one, other)]
    return all(lengths) and abs(lengths[0] - lengths[1]) > _SAME_LENGTH


def _ends(name: str, utterance: Utterance) -> bool:
    path = f"/{utterance.audio}".removesuffix(utterance.audio.suffix)
    return path.endswith(f"/{name}")


def _name(utterance: Utterance) -> str:
    return utterance.name.removesuffix(utterance.audio.suffix)
