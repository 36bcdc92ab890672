"""Reads a corpus end to end and decodes every recording: what it contains, what is wrong, who speaks in which split.

Scores are too good if training and testing share speakers or recordings. The check looks for them between the splits of
each corpus, and between the training of one corpus and the tests of another.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.accuracy.corpora import read
from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, UNKNOWN_SPEAKER, Reading, Utterance, ordered_splits
from bench.accuracy.corpora.sharing import shared_recordings
from bench.audio import read_recording
from bench.speech import SAMPLE_RATE
from mixers.support.errors import UserError

# A recording within this part of full scale is silent: -60 dB, 33 steps of 16 bits.
SILENCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A recording that cannot be used, with the reason and what the user can do."""

    name: str
    reason: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """What one split contains.

    Attributes:
        name: The name of the split.
        utterances: Their number, including those with a bad recording.
        seconds: Total length of the readable recordings; like the next two, 0 if there is none.
        shortest_s: Length of the shortest one.
        longest_s: Length of the longest one.
        classes: The number of utterances of each class, in the corpus's order, including empty classes.
        speakers: The number of known speakers.
        of_unknown_speaker: The number of utterances whose speaker is unknown.
        without_text: The number of utterances without a transcript.
    """

    name: str
    utterances: int
    seconds: float
    shortest_s: float
    longest_s: float
    classes: Mapping[str, int]
    speakers: int
    of_unknown_speaker: int
    without_text: int


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What two splits share.

    Attributes:
        first: A split; with the spec of its corpus if the other is of another corpus.
        second: The other split.
        names: The names of utterances in both.
        speakers: The known speakers in both.
        of_unknown_speaker: The number of utterances in either by unknown speakers, who may be in both.
        of_tests: Whether both are tests. Nothing is learned from them, so they may share what they like.
    """

    first: str
    second: str
    names: tuple[str, ...]
    speakers: tuple[str, ...]
    of_unknown_speaker: int
    of_tests: bool


@dataclass(frozen=True, kw_only=True)
class CorpusReport:
    """What one corpus contains.

    Attributes:
        spec: The specification that it was read by.
        splits: One report for each split.
        left_out: The number of items left out, by split and reason.
        without_audio: The names of utterances whose recording is missing.
        faults: The recordings that cannot be used.
        silent: The names of silent utterances.
        overlaps: What pairs of its splits share or may share; other pairs are absent.
        remarks: What makes training impossible or scores lower, in sentences: a split or a class that is missing, and
            labels or speakers that differ only in case or spaces.
    """

    spec: str
    splits: tuple[SplitReport, ...]
    left_out: Mapping[tuple[str, str], int]
    without_audio: tuple[str, ...]
    faults: tuple[Fault, ...]
    silent: tuple[str, ...]
    overlaps: tuple[Overlap, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What all corpora contain, and what two of them share."""

    corpora: tuple[CorpusReport, ...]
    overlaps: tuple[Overlap, ...]

    @property
    def sound(self) -> bool:
        """Whether every recording can be used, and training and tests share no speaker and no utterance."""
        overlaps = itertools.chain(self.overlaps, *(corpus.overlaps for corpus in self.corpora))
        return not (
            any(corpus.faults or corpus.without_audio for corpus in self.corpora)
            or any((overlap.names or overlap.speakers) and not overlap.of_tests for overlap in overlaps)
        )


def check(specs: Sequence[str], *, tell: Callable[[int, int], object] | None = None) -> Report:
    """Read corpora end to end.

    Args:
        specs: Their specifications. With several corpora, the training of each is compared with the others' tests.
        tell: Called after each recording, with the number decoded and the total.

    Raises:
        UserError: No corpus was given, one was given twice, or labels cannot be read. Missing or bad recordings and
            transcripts are in the report instead.
    """
    if not specs:
        raise UserError("no corpus was given", hint="Give one, for instance msp-podcast:/data/MSP-Podcast-2.0.")
    if len(set(specs)) < len(specs):
        raise UserError("a corpus was given twice", hint="Give each corpus once.")
    readings = {spec: read(spec) for spec in specs}
    total = sum(len(reading.utterances) for reading in readings.values())
    pool = ThreadPoolExecutor()
    done = itertools.count(1)
    try:
        corpora = []
        for spec, reading in readings.items():
            recordings = []
            for recording in pool.map(_examine, reading.utterances):
                recordings.append(recording)
                if tell is not None:
                    tell(next(done), total)
            corpora.append(_report(spec, reading, recordings))
    finally:
        pool.shutdown(cancel_futures=True)  # after an interruption the rest need not be decoded
    return Report(corpora=tuple(corpora), overlaps=tuple(_across(readings)))


@dataclass(frozen=True, kw_only=True)
class _Recording:
    seconds: float
    silent: bool


def _examine(utterance: Utterance) -> _Recording | Fault:
    """Decode a recording."""
    path = utterance.audio
    try:
        waveform = read_recording(path)  # (samples,), at 16 kHz
    except UserError as error:
        return Fault(name=utterance.name, reason=str(error).removeprefix(f"{path} "), hint=error.hint)
    silent = float(waveform.max() - waveform.min()) < 2 * SILENCE
    return _Recording(seconds=waveform.shape[0] / SAMPLE_RATE, silent=silent)


def _report(spec: str, reading: Reading, recordings: Sequence[_Recording | Fault]) -> CorpusReport:
    found = dict(zip(reading.utterances, recordings, strict=True))
    splits = _by_split(reading)
    return CorpusReport(
        spec=spec,
        splits=tuple(
            _split_report(name, reading.classes, {utterance: found[utterance] for utterance in utterances})
            for name, utterances in splits.items()
        ),
        left_out=Counter((left_out.split, left_out.reason) for left_out in reading.left_out),
        without_audio=reading.without_audio,
        faults=tuple(recording for recording in recordings if isinstance(recording, Fault)),
        silent=tuple(
            utterance.name
            for utterance, recording in found.items()
            if isinstance(recording, _Recording) and recording.silent
        ),
        overlaps=tuple(_shared(itertools.combinations(splits.items(), 2))),
        remarks=tuple(_remarks(reading, splits)),
    )


def _remarks(reading: Reading, splits: Mapping[str, Sequence[Utterance]]) -> Iterator[str]:
    labels = {split: {each.label for each in utterances} for split, utterances in splits.items()}
    for split in (TRAIN, DEVELOPMENT):
        if split not in splits:
            yield f"there is no split {split}, which training needs"
    if len(reading.classes) == 1:
        yield f"every label is {reading.classes[0]}: training needs two classes or more"
    taught = labels.get(TRAIN, set(reading.classes))
    if untaught := sorted(set(reading.classes) - taught):
        yield f"{TRAIN} has no utterance of {', '.join(untaught)}: no model learns {_it(untaught)}"
    for split in [each for each in splits if each != TRAIN]:
        if absent := sorted(taught - labels[split]):
            count = "counts" if len(absent) == 1 else "count"
            yield f"{split} has no utterance of {', '.join(absent)}, which {count} 0 in its macro-F and recall"
    for what, names in (
        ("labels", reading.classes),
        ("speakers", sorted({each.speaker for each in reading.utterances})),
    ):
        alike: dict[str, list[str]] = {}
        for name in names:
            alike.setdefault(name.strip().casefold(), []).append(name)
        if found := [" and ".join(map(repr, each)) for each in alike.values() if len(each) > 1]:
            yield f"{what} that differ only in case or in spaces around them: {', '.join(found)}"


def _it(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _split_report(name: str, classes: Sequence[str], recordings: Mapping[Utterance, _Recording | Fault]) -> SplitReport:
    lengths = [recording.seconds for recording in recordings.values() if isinstance(recording, _Recording)]
    counts = Counter(utterance.label for utterance in recordings)
    speakers = Counter(utterance.speaker for utterance in recordings)
    return SplitReport(
        name=name,
        utterances=len(recordings),
        seconds=math.fsum(lengths),
        shortest_s=min(lengths, default=0.0),
        longest_s=max(lengths, default=0.0),
        classes={label: counts[label] for label in classes},
        speakers=len(speakers.keys() - {UNKNOWN_SPEAKER}),
        of_unknown_speaker=speakers[UNKNOWN_SPEAKER],
        without_text=sum(not utterance.text for utterance in recordings),
    )


def _by_split(reading: Reading) -> dict[str, list[Utterance]]:
    splits: dict[str, list[Utterance]] = {
        name: [] for name in ordered_splits(utterance.split for utterance in reading.utterances)
    }
    for utterance in reading.utterances:
        splits[utterance.split].append(utterance)
    return splits


_NamedSplit = tuple[str, Sequence[Utterance]]


def _across(readings: Mapping[str, Reading]) -> Iterator[Overlap]:
    """Yield what the training and development splits of each corpus share with the tests of the other corpora."""
    splits = {spec: _by_split(reading) for spec, reading in readings.items()}
    pairs = (
        ((f"{first} {trained}", splits[first][trained]), (f"{second} {tested}", splits[second][tested]))
        for first, second in itertools.permutations(splits, 2)
        for trained, tested in itertools.product(splits[first], splits[second])
        if trained in (TRAIN, DEVELOPMENT) and tested not in (TRAIN, DEVELOPMENT)
    )
    yield from _shared(pairs)


def _shared(pairs: Iterable[tuple[_NamedSplit, _NamedSplit]]) -> Iterator[Overlap]:
    """Yield the pairs that share something, or may share an unknown speaker."""
    for (first, ours), (second, theirs) in pairs:
        learned = {utterance.split for utterance in itertools.chain(ours, theirs)} & {TRAIN, DEVELOPMENT}
        speakers = {utterance.speaker for utterance in ours} & {utterance.speaker for utterance in theirs}
        overlap = Overlap(
            first=first,
            second=second,
            names=tuple(sorted(utterance.name for utterance in shared_recordings(ours, theirs))),
            speakers=tuple(sorted(speakers - {UNKNOWN_SPEAKER})),
            of_unknown_speaker=sum(utterance.speaker == UNKNOWN_SPEAKER for utterance in itertools.chain(ours, theirs)),
            of_tests=not learned,
        )
        if overlap.names or overlap.speakers or overlap.of_unknown_speaker:
            yield overlap
