"""A small synthetic corpus in MSP-Podcast's layout, for trying everything without a real corpus.

None of it is speech, so scores on it say nothing about people.
"""

import csv
import io
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from bench.accuracy.corpora.readers.msp_podcast import CLASSES
from bench.accuracy.corpora.voices import MANNERS, Speaker, make_speakers, make_waveform, say
from bench.files import whole
from bench.speech import SAMPLE_RATE, samples_of
from mixers.support.errors import UserError

# The share of utterances and of speakers in each split; train has the rest.
_SHARES = {"Development": 0.14, "Test1": 0.13, "Test2": 0.13}

LONGEST_S = 60  # an utterance

_FEWEST_UTTERANCES = 64  # with which the smallest split has one of each class

_NOTICE = "A demonstration: synthetic sounds in the layout of MSP-Podcast, made by sbench. No person speaks here.\n"


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """An utterance to be made. Its number is part of its seed, so it is the same in any order of work."""

    number: int
    speaker: Speaker
    letter: str
    split: str

    @property
    def name(self) -> str:
        return f"DEMO_{self.speaker.number:04d}_{self.number:04d}"


def write_demo_corpus(
    folder: Path, *, utterances: int, speakers: int, seed: int, seconds: tuple[float, float] = (2.0, 4.0)
) -> None:
    """Write a synthetic corpus: eight classes in each of Train, Development, Test1 and Test2, no speaker in two.

    Args:
        folder: A new folder. It gets its name once everything is written.
        utterances: The number with one of the eight classes, 64 or more. Each split also has one of class O and one of
            class X.
        speakers: Their number, 4 or more.
        seed: The same seed gives the same files.
        seconds: The shortest and the longest utterance.

    Raises:
        UserError: The folder exists or cannot be written, or a number is out of range.
    """
    try:
        _check(folder, utterances=utterances, speakers=speakers, seed=seed, seconds=seconds)
        turns = _turns(utterances=utterances, speakers=make_speakers(speakers, seed=seed), seed=seed)
        with whole(folder) as partial:
            _write(partial, turns, seed=seed, seconds=seconds)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}", hint="Give another folder.") from None


def split_sizes(utterances: int) -> dict[str, int]:
    """Return how many utterances of the eight classes each split of a corpus of so many has."""
    sizes = {split: max(len(CLASSES), round(share * utterances)) for split, share in _SHARES.items()}
    return {**sizes, "Train": utterances - sum(sizes.values())}


def _write(folder: Path, turns: Sequence[_Turn], *, seed: int, seconds: tuple[float, float]) -> None:
    for name in ("Audios", "Transcripts", "Labels"):
        (folder / name).mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        rows = list(pool.map(lambda turn: _write_turn(turn, folder, seed=seed, seconds=seconds), turns))
    with (folder / "Labels" / "labels_consensus.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    lines = [f"{turn.split}; {turn.name}.wav\n" for turn in turns]
    (folder / "Partitions.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "DEMONSTRATION.txt").write_text(_NOTICE, encoding="utf-8")


def _check(folder: Path, *, utterances: int, speakers: int, seed: int, seconds: tuple[float, float]) -> None:
    if folder.exists():
        raise UserError(f"{folder} exists", hint="Give a new folder for the demonstration corpus.")
    if utterances < _FEWEST_UTTERANCES:
        hint = f"Each split needs all classes: give {_FEWEST_UTTERANCES} or more."
        raise UserError(f"{utterances} utterances are too few", hint=hint)
    if not len(_SHARES) + 1 <= speakers <= utterances:
        hint = "No speaker may be in two of the four splits: give 4 or more, and at most as many as utterances."
        raise UserError(f"{speakers} speakers do not fit the splits", hint=hint)
    if seed < 0:
        raise UserError(f"the seed {seed} is negative", hint="Give 0 or more.")
    shortest, longest = seconds
    if not 0.5 <= shortest <= longest <= LONGEST_S:
        hint = f"Give the shortest, then the longest utterance, from 0.5 to {LONGEST_S} s."
        raise UserError(f"utterances cannot last from {shortest:g} to {longest:g} s", hint=hint)


def _turns(*, utterances: int, speakers: Sequence[Speaker], seed: int) -> list[_Turn]:
    """Return the utterances: in each split the classes take turns, and its speakers get equal shares at random."""
    random = np.random.default_rng([seed, 1])
    turns: list[_Turn] = []
    rest = list(speakers)
    for split, size in split_sizes(utterances).items():
        share = max(1, round(_SHARES[split] * len(speakers))) if split in _SHARES else len(rest)
        own, rest = rest[:share], rest[share:]
        letters = [*itertools.islice(itertools.cycle(CLASSES), size), "O", "X"]
        voices = random.permutation(np.resize(np.arange(len(own)), len(letters)))
        for letter, voice in zip(letters, voices.tolist(), strict=True):
            turns.append(_Turn(number=len(turns) + 1, speaker=own[voice], letter=letter, split=split))
    return turns


def _write_turn(turn: _Turn, folder: Path, *, seed: int, seconds: tuple[float, float]) -> dict[str, str]:
    """Write an utterance and its transcript, and return its labels."""
    random = np.random.default_rng([seed, 2, turn.number])
    manner = MANNERS[turn.letter] if turn.letter in MANNERS else MANNERS[str(random.choice(list(MANNERS)))]
    duration = float(random.uniform(*seconds))
    waveform = make_waveform(manner, turn.speaker, samples_of(duration), random)
    encoded = io.BytesIO()  # so that a full disk raises an OSError, which soundfile's errors are not
    soundfile.write(encoded, waveform, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    (folder / "Audios" / f"{turn.name}.wav").write_bytes(encoded.getvalue())
    words = max(3, round(0.6 * manner.rate * duration))
    (folder / "Transcripts" / f"{turn.name}.txt").write_text(f"{say(manner, words, random)}\n", encoding="utf-8")
    arousal, valence, dominance = np.clip(manner.attributes + 0.6 * random.standard_normal(3), 1, 7)
    return {
        "FileName": f"{turn.name}.wav",
        "EmoClass": turn.letter,
        "EmoAct": f"{arousal:.2f}",
        "EmoVal": f"{valence:.2f}",
        "EmoDom": f"{dominance:.2f}",
        "SpkrID": str(turn.speaker.number),
        "Gender": turn.speaker.gender,
        "Split_Set": turn.split,
    }
