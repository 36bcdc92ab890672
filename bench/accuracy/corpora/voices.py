"""The voices of the demonstration corpus: a buzz of harmonics with the resonances of three vowels, in syllables.

An emotion sets pitch, melody, rate, level, timbre and words. Each varies enough for the classes to overlap. A speaker
sets the pitch and the resonances that these are relative to.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.speech import SAMPLE_RATE

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Manner:
    """How an emotion sounds.

    Attributes:
        pitch: Relative to the speaker's own.
        melody: How far pitch moves within an utterance, in natural logarithms.
        rate: Syllables per second.
        level_db: Root mean square below full scale.
        tilt: How fast harmonics fade: the k-th has amplitude k to the minus tilt.
        breath: Level of noise relative to the voice.
        attributes: MSP-Podcast's arousal, valence and dominance, from 1 to 7.
        words: The words that are more frequent than in other emotions.
    """

    pitch: float
    melody: float
    rate: float
    level_db: float
    tilt: float
    breath: float
    attributes: tuple[float, float, float]
    words: str


_WORDS = {
    "A": "stop enough never wrong ridiculous furious liar blame",
    "S": "lost alone gone miss tears sorry empty goodbye",
    "H": "great love wonderful fun laugh awesome party smile",
    "U": "wow really what suddenly unbelievable wait seriously how",
    "F": "afraid run hide danger scared dark help panic",
    "D": "gross rotten smell sick nasty awful filthy vomit",
    "C": "whatever pathetic obviously fools please typical sure amateur",
    "N": "about report table monday number office usual average",
}

# By MSP-Podcast's letter; the columns are the attributes of `Manner`.
MANNERS = {
    "A": Manner(1.20, 0.16, 5.4, -15, 0.90, 0.04, (5.8, 2.2, 5.7), _WORDS["A"]),
    "S": Manner(0.86, 0.05, 2.8, -29, 1.90, 0.14, (2.6, 2.3, 3.0), _WORDS["S"]),
    "H": Manner(1.28, 0.22, 4.8, -19, 1.20, 0.06, (5.1, 6.0, 4.9), _WORDS["H"]),
    "U": Manner(1.50, 0.30, 3.9, -21, 1.35, 0.08, (5.2, 4.4, 4.2), _WORDS["U"]),
    "F": Manner(1.38, 0.08, 5.8, -25, 1.60, 0.18, (4.9, 2.6, 2.9), _WORDS["F"]),
    "D": Manner(0.90, 0.13, 3.2, -20, 1.00, 0.10, (4.2, 2.2, 4.6), _WORDS["D"]),
    "C": Manner(0.97, 0.11, 3.7, -23, 1.40, 0.05, (3.9, 2.9, 4.8), _WORDS["C"]),
    "N": Manner(1.00, 0.08, 4.3, -22, 1.50, 0.06, (3.9, 4.0, 4.0), _WORDS["N"]),
}

_COMMON_WORDS = "i you we they it the a this that was is have had do did go said think know with and but so then there"

_EMOTION_WORD_SHARE = 0.15  # how often a word is one of the emotion's own

# The first three resonances of /a/, /i/ and /u/ in an average voice, and their bandwidths, in Hz.
_VOWELS = ((730.0, 1240.0, 2550.0), (300.0, 2200.0, 2900.0), (320.0, 920.0, 2250.0))
_BANDWIDTHS = (90.0, 120.0, 180.0)

_POINTS = 2048  # in one period
_HIGHEST_HZ = 4500.0  # harmonic; a rising melody then does not alias it
_ROOM_NOISE = 10 ** (-60 / 20)


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A made-up speaker.

    Attributes:
        number: From 1 on.
        hertz: The pitch of the neutral voice.
        tract: The resonances relative to the average voice's.
    """

    number: int
    hertz: float
    tract: float

    @property
    def gender(self) -> str:
        """As MSP-Podcast writes it."""
        return "Male" if self.number % 2 else "Female"


def make_speakers(count: int, *, seed: int) -> list[Speaker]:
    """Return speakers, men and women in turn."""
    random = np.random.default_rng([seed, 0])
    return [
        Speaker(
            number=number,
            hertz=float((115 if number % 2 else 205) * np.exp(0.1 * random.standard_normal())),
            tract=float((1.0 if number % 2 else 1.15) * np.exp(0.04 * random.standard_normal())),
        )
        for number in range(1, count + 1)
    ]


def say(manner: Manner, count: int, random: np.random.Generator) -> str:
    """Return a transcript of so many words."""
    return " ".join(
        random.choice(manner.words.split() if random.random() < _EMOTION_WORD_SHARE else _COMMON_WORDS.split())
        for _ in range(count)
    )


def make_waveform(manner: Manner, speaker: Speaker, samples: int, random: np.random.Generator) -> Samples:
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
    """Return loudness, vowel and melody at each time.

    The loudness of a syllable rises and falls; pitch glides from one syllable to the next.
    """
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
    """Return one period of each vowel (vowels, _POINTS): fading harmonics, louder at the vowel's resonances.

    Only one period is shaped, not the whole sound. That is fast, and resonances glide with the pitch.
    """
    harmonics = np.arange(1, _HIGHEST_HZ / pitch)
    spectra = np.zeros((len(_VOWELS), _POINTS // 2 + 1), dtype=np.complex128)
    for spectrum, resonances in zip(spectra, _VOWELS, strict=True):
        gain = _gain(harmonics * pitch, tract * np.array(resonances))
        spectrum[1 : len(harmonics) + 1] = -1j * gain * harmonics**-tilt
    periods = np.fft.irfft(spectra)
    return np.asarray(periods / np.sqrt(np.mean(periods**2, axis=1, keepdims=True)), dtype=np.float64)


def _gain(hertz: Samples, centres: Samples) -> Samples:
    """Return the summed gain of resonances at each frequency; each resonance has gain 1 at its centre."""
    frequency, centre, width = hertz[:, None], centres, np.array(_BANDWIDTHS)  # (frequencies, 1), (3,), (3,)
    gains = centre * width / np.hypot(centre**2 - frequency**2, frequency * width)
    return np.asarray(gains.sum(axis=1), dtype=np.float64)
