"""A corpus read end to end, every recording decoded: what it holds, what is wrong with it, who speaks where.

Speakers and recordings that training and testing share make the scores too good, so they are looked for between the
splits of each corpus, and between what one corpus is trained on and what another tests with.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.accuracy.corpora import read
from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, UNKNOWN_SPEAKER, Reading, Utterance, ordered_splits
from bench.audio import is_cut_off, read_encodable
from bench.speech import SAMPLE_RATE
from mixers.support.errors import UserError

# A recording that stays within this part of full scale holds nothing to hear: -60 dB, 33 steps of 16 bits.
SILENCE = 1e-3

_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A recording that nothing can be trained on, with the reason and what can be done."""

    name: str
    reason: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """What one split holds.

    Attributes:
        name: The split's.
        utterances: How many it has, those with a bad recording included.
        seconds: Its recordings' length in all, of those that can be read; like the next two, 0 if none can.
        shortest_s: The shortest one's.
        longest_s: The longest one's.
        classes: How many utterances each class has, in the corpus's order, those with none included.
        speakers: How many speakers are known.
        of_unknown_speaker: How many utterances have a speaker whom nobody knows.
        without_text: How many have no transcript.
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
        first: A split, with its corpus's spec if the other is of another corpus.
        second: The other one.
        names: The names of utterances that are in both.
        speakers: The known speakers who are in both.
        of_unknown_speaker: How many utterances of either have a speaker whom nobody knows, and who may be in both.
    """

    first: str
    second: str
    names: tuple[str, ...]
    speakers: tuple[str, ...]
    of_unknown_speaker: int


@dataclass(frozen=True, kw_only=True)
class CorpusReport:
    """What one corpus holds.

    Attributes:
        spec: What it was asked for by.
        splits: One report for each split.
        left_out: How many were left out, for each split and reason.
        without_audio: The names of utterances whose recording is missing.
        faults: The recordings that cannot be used.
        silent: The names of utterances in which nothing is heard.
        overlaps: What each pair of its splits shares, where it shares anything or may.
    """

    spec: str
    splits: tuple[SplitReport, ...]
    left_out: Mapping[tuple[str, str], int]
    without_audio: tuple[str, ...]
    faults: tuple[Fault, ...]
    silent: tuple[str, ...]
    overlaps: tuple[Overlap, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found in all corpora, and what two of them share."""

    corpora: tuple[CorpusReport, ...]
    overlaps: tuple[Overlap, ...]

    @property
    def sound(self) -> bool:
        """Whether every recording is there and can be used, and no two splits share a speaker or an utterance."""
        overlaps = itertools.chain(self.overlaps, *(corpus.overlaps for corpus in self.corpora))
        return not (
            any(corpus.faults or corpus.without_audio for corpus in self.corpora)
            or any(overlap.names or overlap.speakers for overlap in overlaps)
        )


def check(specs: Sequence[str], *, tell: Callable[[int, int], object] | None = None) -> Report:
    """Read corpora end to end.

    Args:
        specs: What they are asked for by; of two or more, each one's training is held against the others' tests.
        tell: Called with how many recordings were decoded and how many there are, after each.

    Raises:
        UserError: No corpus was given, one twice, or one has labels that cannot be read. Recordings and transcripts
            that are missing or bad are reported instead.
    """
    if not specs:
        raise UserError("no corpus was given", hint="Give one, for instance msp-podcast:/data/MSP-Podcast-2.0.")
    if len(set(specs)) < len(specs):
        raise UserError("a corpus was given twice", hint="Give each one once.")
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
        pool.shutdown(cancel_futures=True)  # an interruption is not to decode the rest
    return Report(corpora=tuple(corpora), overlaps=tuple(_across(readings)))


def render(report: Report) -> Group:
    """Return a report for the terminal."""
    parts: list[RenderableType] = []
    for corpus in report.corpora:
        parts += [Text(corpus.spec, style="bold"), _table(corpus), *_lines(corpus)]
    parts += _overlap_lines(report.overlaps)
    return Group(*parts)


@dataclass(frozen=True, kw_only=True)
class _Recording:
    seconds: float
    silent: bool


def _examine(utterance: Utterance) -> _Recording | Fault:
    """Decode a recording."""
    path = utterance.audio
    try:
        waveform = read_encodable(path)  # (samples,), at 16 kHz
    except UserError as error:
        empty = path.is_file() and path.stat().st_size == 0  # which a decoder calls an unknown format
        reason = "is empty" if empty else str(error).removeprefix(f"{path} ")
        return Fault(name=utterance.name, reason=reason, hint=error.hint)
    if is_cut_off(path):
        reason = "ends before the length that its header states"
        return Fault(name=utterance.name, reason=reason, hint="Copy the file again.")
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
    )


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


_Named = tuple[str, Sequence[Utterance]]


def _across(readings: Mapping[str, Reading]) -> Iterator[Overlap]:
    """Yield what the training and development splits of each corpus share with the tests of each other one."""
    splits = {spec: _by_split(reading) for spec, reading in readings.items()}
    pairs = (
        ((f"{first} {trained}", splits[first][trained]), (f"{second} {tested}", splits[second][tested]))
        for first, second in itertools.permutations(splits, 2)
        for trained, tested in itertools.product(splits[first], splits[second])
        if trained in (TRAIN, DEVELOPMENT) and tested not in (TRAIN, DEVELOPMENT)
    )
    yield from _shared(pairs)


def _shared(pairs: Iterable[tuple[_Named, _Named]]) -> Iterator[Overlap]:
    """Yield the pairs that share something, or of which nobody can tell."""
    for (first, ours), (second, theirs) in pairs:
        speakers = {utterance.speaker for utterance in ours} & {utterance.speaker for utterance in theirs}
        overlap = Overlap(
            first=first,
            second=second,
            names=tuple(sorted({utterance.name for utterance in ours} & {utterance.name for utterance in theirs})),
            speakers=tuple(sorted(speakers - {UNKNOWN_SPEAKER})),
            of_unknown_speaker=sum(utterance.speaker == UNKNOWN_SPEAKER for utterance in itertools.chain(ours, theirs)),
        )
        if overlap.names or overlap.speakers or overlap.of_unknown_speaker:
            yield overlap


def _table(corpus: CorpusReport) -> Table:
    """Return a column for each split, which fits a terminal where one for each class does not."""
    table = Table()
    table.add_column("split")
    for split in corpus.splits:
        table.add_column(split.name, justify="right")
    table.add_row("utterances", *(f"{split.utterances:,}" for split in corpus.splits))
    table.add_row("hours", *(f"{split.seconds / 3600:.2f}" for split in corpus.splits))
    table.add_row("shortest (s)", *(f"{split.shortest_s:.2f}" for split in corpus.splits))
    table.add_row("longest (s)", *(f"{split.longest_s:.2f}" for split in corpus.splits))
    table.add_row("speakers", *(f"{split.speakers:,}" for split in corpus.splits))
    table.add_row("of unknown speaker", *(f"{split.of_unknown_speaker:,}" for split in corpus.splits))
    table.add_row("without text", *(f"{split.without_text:,}" for split in corpus.splits), end_section=True)
    for label in corpus.splits[0].classes:
        table.add_row(label, *(f"{split.classes[label]:,}" for split in corpus.splits))
    return table


def _lines(corpus: CorpusReport) -> Iterator[Text]:
    """Say in words what the table does not."""
    for (split, reason), count in corpus.left_out.items():
        yield Text(f"left out of {split or 'no split'}: {count:,}, {reason}")
    if corpus.without_audio:
        yield Text(f"recording missing: {_listed(corpus.without_audio)}", style="red")
    reasons: dict[tuple[str, str], list[str]] = {}
    for fault in corpus.faults:
        reasons.setdefault((fault.reason, fault.hint), []).append(fault.name)
    for (reason, hint), names in reasons.items():
        yield Text(f"{reason}: {_listed(names)}. {hint}", style="red")
    if corpus.silent:
        yield Text(f"silent: {_listed(corpus.silent)}", style="yellow")
    yield from _overlap_lines(corpus.overlaps)


def _overlap_lines(overlaps: Iterable[Overlap]) -> Iterator[Text]:
    for overlap in overlaps:
        pair = f"{overlap.first} and {overlap.second}"
        if overlap.names:
            yield Text(f"{pair} share utterances: {_listed(overlap.names)}", style="red")
        if overlap.speakers:
            yield Text(f"{pair} share speakers: {_listed(overlap.speakers)}", style="red")
        if overlap.of_unknown_speaker:
            count = f"{overlap.of_unknown_speaker:,}"
            yield Text(f"{pair}: utterances by unknown speakers, who may be in both: {count}", style="yellow")


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names):,} ({', '.join(names[:_SHOWN])}{more})"
