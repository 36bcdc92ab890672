"""Which recordings are in two sets of utterances, such as two splits or the releases of a corpus.

Recordings are compared by name without suffix. A name is a file name, or a path where file names repeat. So two are the
same if the name of each ends the path of the other: ``a/1`` is not ``b/1``, but it is the ``1`` of another manifest in
a folder ``a``.

Corpora that number their recordings have equal names by chance. So two of different length by different known speakers
are not the same, whatever their names.
"""

from collections.abc import Iterable

from bench.accuracy.corpora.base import UNKNOWN_SPEAKER, Utterance
from bench.audio import samples_at_16_khz

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
    """Tell whether both speaker and length differ, as far as they are known."""
    if UNKNOWN_SPEAKER in (one.speaker, other.speaker) or one.speaker == other.speaker:
        return False
    lengths = [samples_at_16_khz(each.audio) for each in (one, other)]
    return all(lengths) and abs(lengths[0] - lengths[1]) > _SAME_LENGTH


def _ends(name: str, utterance: Utterance) -> bool:
    path = f"/{utterance.audio}".removesuffix(utterance.audio.suffix)
    return path.endswith(f"/{name}")


def _name(utterance: Utterance) -> str:
    return utterance.name.removesuffix(utterance.audio.suffix)
