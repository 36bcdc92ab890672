"""A small synthetic corpus in MSP-Podcast's layout, to try everything on where no corpus is at hand.

An utterance is a buzz of harmonics with the resonances of three vowels, in syllables, with breath and room noise.
Its emotion sets its pitch, melody, rate, level, timbre and words, but each varies enough for classes to overlap; its
speaker sets the pitch and the resonances that all this is relative to. None of it is speech: scores say nothing
about people.
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
from numpy.typing import NDArray

from bench.accuracy.corpora.msp_podcast import CLASSES
from bench.files import whole
from bench.speech import SAMPLE_RATE, samples_of
from mixers.support.errors import UserError

Samples = NDArray[np.float64]

# The part of utterances and of speakers that each split has; train has the rest.
_SHARES = {"Development": 0.14, "Test1": 0.13, "Test2": 0.13}

_NOTICE = "A demonstration: synthetic sounds in the layout of MSP-Podcast, made by sbench. No person speaks here.\n"


@dataclass(frozen=True, kw_only=True)
class _Manner:
    """How an emotion sounds.

    Attributes:
        pitch: Relative to the speaker's own.
        melody: How far pitch moves within an utterance, in natural logarithms.
        rate: Syllables per second.
        level_db: Root mean square below full scale.
        tilt: How fast harmonics fade: the k-th has amplitude k to the minus tilt.
        breath: Level of noise relative to the voice.
        attributes: MSP-Podcast's arousal, valence and dominance, from 1 to 7.
        words: Those said more often than in other emotions.
    """

    pitch: float
    melody: float
    rate: float
    level_db: float
    tilt: float
    breath: float
    attributes: tuple[float, float, float]
    words: str


_MANNERS = {
    "A": _Manner(
        pitch=1.2,
        melody=0.16,
        rate=5.4,
        level_db=-15,
        tilt=0.9,
        breath=0.04,
        attributes=(5.8, 2.2, 5.7),
        words="stop enough never wrong ridiculous furious liar blame",
    ),
    "S": _Manner(
        pitch=0.86,
        melody=0.05,
        rate=2.8,
        level_db=-29,
        tilt=1.9,
        breath=0.14,
        attributes=(2.6, 2.3, 3.0),
        words="lost alone gone miss tears sorry empty goodbye",
    ),
    "H": _Manner(
        pitch=1.28,
        melody=0.22,
        rate=4.8,
        level_db=-19,
        tilt=1.2,
        breath=0.06,
        attributes=(5.1, 6.0, 4.9),
        words="great love wonderful fun laugh awesome party smile",
    ),
    "U": _Manner(
        pitch=1.5,
        melody=0.3,
        rate=3.9,
        level_db=-21,
        tilt=1.35,
        breath=0.08,
        attributes=(5.2, 4.4, 4.2),
        words="wow really what suddenly unbelievable wait seriously how",
    ),
    "F": _Manner(
        pitch=1.38,
        melody=0.08,
        rate=5.8,
        level_db=-25,
        tilt=1.6,
        breath=0.18,
        attributes=(4.9, 2.6, 2.9),
        words="afraid run hide danger scared dark help panic",
    ),
    "D": _Manner(
        pitch=0.9,
        melody=0.13,
        rate=3.2,
        level_db=-20,
        tilt=1.0,
        breath=0.1,
        attributes=(4.2, 2.2, 4.6),
        words="gross rotten smell sick nasty awful filthy vomit",
    ),
    "C": _Manner(
        pitch=0.97,
        melody=0.11,
        rate=3.7,
        level_db=-23,
        tilt=1.4,
        breath=0.05,
        attributes=(3.9, 2.9, 4.8),
        words="whatever pathetic obviously fools please typical sure amateur",
    ),
    "N": _Manner(
        pitch=1.0,
        melody=0.08,
        rate=4.3,
        level_db=-22,
        tilt=1.5,
        breath=0.06,
        attributes=(3.9, 4.0, 4.0),
        words="about report table monday number office usual average",
    ),
}

_COMMON_WORDS = "i you we they it the a this that was is have had do did go said think know with and but so then there"

# How often a word is one of the emotion's own.
_TELLING = 0.15

# First three resonances of /a/, /i/ and /u/ in an average voice, in Hz, and how broad they are.
_VOWELS = ((730.0, 1240.0, 2550.0), (300.0, 2200.0, 2900.0), (320.0, 920.0, 2250.0))
_BANDWIDTHS = (90.0, 120.0, 180.0)

_POINTS = 2048  # of a period
_HIGHEST_HZ = 4500.0  # harmonic; a melody that rises does not fold it back
_ROOM_NOISE = 10 ** (-60 / 20)


@dataclass(frozen=True, kw_only=True)
class _Speaker:
    number: int
    hertz: float  # the pitch of a neutral voice
    tract: float  # resonances relative to the average voice's

    @property
    def gender(self) -> str:
        return "Male" if self.number % 2 else "Female"


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """An utterance before it is made: its own seed makes it the same in any order of work."""

    number: int
    speaker: _Speaker
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
        folder: Where to; it must not exist, and does only when all is written.
        utterances: How many have one of the eight classes, 64 or more; each split has one of class O and one of X too.
        speakers: How many there are, 4 or more.
        seed: The same one gives the same files.
        seconds: The shortest and the longest utterance.

    Raises:
        UserError: The folder exists or cannot be written, or a number is out of range.
    """
    _check(folder, utterances=utterances, speakers=speakers, seed=seed, seconds=seconds)
    turns = _turns(utterances=utterances, speakers=_speakers(speakers, seed=seed), seed=seed)
    try:
        with whole(folder) as partial:
            _write(partial, turns, seed=seed, seconds=seconds)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}", hint="Give another folder.") from None


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
        raise UserError(f"{folder} exists", hint="Give a folder that does not, for the demonstration's corpus.")
    fewest = 64  # with which the smallest split has one of each class
    if utterances < fewest:
        raise UserError(f"{utterances} utterances are too few", hint=f"Each split needs all classes: give {fewest}.")
    if not len(_SHARES) + 1 <= speakers <= utterances:
        hint = "No speaker is in two of the four splits: give 4 or more, and no more than utterances."
        raise UserError(f"{speakers} speakers cannot be shared out", hint=hint)
    if seed < 0:
        raise UserError(f"the seed {seed} is negative", hint="Give 0 or more.")
    shortest, longest = seconds
    if not 0.5 <= shortest <= longest <= 60:
        hint = "Give the shortest and the longest utterance, from 0.5 to 60 s."
        raise UserError(f"no utterance lasts from {shortest:g} to {longest:g} s", hint=hint)


def _speakers(count: int, *, seed: int) -> list[_Speaker]:
    """Return speakers, men and women in turn."""
    random = np.random.default_rng([seed, 0])
    return [
        _Speaker(
            number=number,
            hertz=float((115 if number % 2 else 205) * np.exp(0.1 * random.standard_normal())),
            tract=float((1.0 if number % 2 else 1.15) * np.exp(0.04 * random.standard_normal())),
        )
        for number in range(1, count + 1)
    ]


def _turns(*, utterances: int, speakers: Sequence[_Speaker], seed: int) -> list[_Turn]:
    """Share utterances out: in each split to the classes in turn, and to its own speakers equally but by chance."""
    random = np.random.default_rng([seed, 1])
    turns: list[_Turn] = []
    rest = list(speakers)
    sizes = {split: max(len(CLASSES), round(share * utterances)) for split, share in _SHARES.items()}
    for split, size in {**sizes, "Train": utterances - sum(sizes.values())}.items():
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
    manner = _MANNERS[turn.letter] if turn.letter in _MANNERS else _MANNERS[str(random.choice(list(_MANNERS)))]
    duration = float(random.uniform(*seconds))
    waveform = _waveform(manner, turn.speaker, samples_of(duration), random)
    encoded = io.BytesIO()  # so that a disk that is full is an OSError, which soundfile's own errors are not
    soundfile.write(encoded, waveform, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    (folder / "Audios" / f"{turn.name}.wav").write_bytes(encoded.getvalue())
    words = max(3, round(0.6 * manner.rate * duration))
    said = [
        random.choice(manner.words.split() if random.random() < _TELLING else _COMMON_WORDS.split())
        for _ in range(words)
    ]
    (folder / "Transcripts" / f"{turn.name}.txt").write_text(" ".join(said) + "\n", encoding="utf-8")
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


def _waveform(manner: _Manner, speaker: _Speaker, samples: int, random: np.random.Generator) -> Samples:
    """Return an utterance's sound (samples,), full scale at 1."""
    rate = manner.rate * np.exp(0.14 * random.standard_normal())
    pitch = speaker.hertz * manner.pitch * np.exp(0.08 * random.standard_normal())
    level = 10 ** ((manner.level_db + 2.5 * random.standard_normal()) / 20)
    tilt = manner.tilt + 0.15 * random.standard_normal()
    noise = random.standard_normal(samples)
    time_s = np.arange(samples) / SAMPLE_RATE
    envelope, vowels, melody = _syllables(time_s, rate, random)
    vibrato = 0.01 * np.sin(2 * np.pi * random.uniform(4, 6) * time_s)
    phase = np.cumsum(pitch * np.exp(manner.melody * melody + vibrato)) / SAMPLE_RATE  # in periods
    points = (phase * _POINTS).astype(np.intp) % _POINTS
    voice = _periods(pitch, tilt=tilt, tract=speaker.tract)[vowels, points]
    sound = envelope * (voice + manner.breath * noise)
    sound *= level / np.sqrt(np.mean(sound**2))
    return np.clip(sound + _ROOM_NOISE * noise, -1, 1)


def _syllables(time_s: Samples, rate: float, random: np.random.Generator) -> tuple[Samples, NDArray[np.intp], Samples]:
    """Return loudness, vowel and melody at each time: syllables rise and fall, pitch glides from one to the next."""
    count = int(2 * rate * time_s[-1]) + 4  # more than enough
    ends = np.cumsum(np.exp(0.25 * random.standard_normal(count)) / rate)
    starts = np.concatenate([[0.0], ends[:-1]])
    current = np.minimum(np.searchsorted(ends, time_s, side="right"), count - 1)
    within = np.clip((time_s - starts[current]) / (ends - starts)[current], 0, 1)
    stress = np.exp(0.3 * random.standard_normal(count))
    envelope = stress[current] * np.sqrt(np.sin(np.pi * within))
    vowels = random.integers(len(_VOWELS), size=count)
    fall = np.linspace(0.5, -0.5, len(time_s))
    melody = np.interp(time_s, (starts + ends) / 2, random.standard_normal(count)) + fall
    return envelope, vowels[current], melody


def _periods(pitch: float, *, tilt: float, tract: float) -> Samples:
    """Return one period of each vowel (vowels, _POINTS): harmonics that fade, louder where the vowel resonates.

    Shaping a period and not the whole sound lets resonances glide with the pitch, and takes no time.
    """
    harmonics = np.arange(1, _HIGHEST_HZ / pitch)
    spectra = np.zeros((len(_VOWELS), _POINTS // 2 + 1), dtype=np.complex128)
    for spectrum, resonances in zip(spectra, _VOWELS, strict=True):
        gain = _gain(harmonics * pitch, tract * np.array(resonances))
        spectrum[1 : len(harmonics) + 1] = -1j * gain * harmonics**-tilt
    periods = np.fft.irfft(spectra)
    return np.asarray(periods / np.sqrt(np.mean(periods**2, axis=1, keepdims=True)), dtype=np.float64)


def _gain(hertz: Samples, centres: Samples) -> Samples:
    """Return the gain at each frequency of resonances side by side, each 1 at its centre."""
    frequency, centre, width = hertz[:, None], centres, np.array(_BANDWIDTHS)  # (frequencies, 1), (3,), (3,)
    gains = centre * width / np.hypot(centre**2 - frequency**2, frequency * width)
    return np.asarray(gains.sum(axis=1), dtype=np.float64)
