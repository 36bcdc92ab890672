"""Long recordings composed of short ones: lengths exact, labels right, speakers and splits apart, deterministic."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.accuracy import corpora
from bench.accuracy.composing.filling import Source
from bench.accuracy.composing.plans import KINDS, Kind, Request, make_plans
from bench.accuracy.corpora.base import Utterance
from tests.conftest import Sbench

LABELS = ("joy", "neutral", "rage")
SPLITS = ("train", "development", "test")
RATE = 16_000


def request(**changed: object) -> Request:
    fields: dict[str, object] = {
        "kind": "sustained",
        "seconds": 5.0,
        "earlier": False,
        "neutral": ("neutral",),
        "silence_s": 0.25,
        "repeats": True,
        "match_levels": True,
        "per_split": None,
        "seed": 0,
    }
    return Request(**(fields | changed))  # type: ignore[arg-type]


def sources(lengths: list[int], takes: int = 3) -> list[Source]:
    """Recordings of two speakers in each split, some of each label."""
    turns = itertools.product(SPLITS, "ab", LABELS, range(takes))
    return [
        Source(
            utterance=Utterance(
                name=f"{split}-{speaker}-{label}-{take}",
                audio=Path(),
                text="",
                label=label,
                speaker=f"{split}-{speaker}",
                split=split,
            ),
            samples=lengths[number % len(lengths)],
        )
        for number, (split, speaker, label, take) in enumerate(turns)
    ]


LENGTHS = st.lists(st.integers(400, 2 * RATE), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    lengths=LENGTHS,
    seconds=st.floats(2, 12),
    silence=st.floats(0, 1),
    seed=st.integers(0, 9),
    earlier=st.booleans(),
)
def test_pieces_fill_a_recording_and_carry_its_label(
    kind: Kind, lengths: list[int], seconds: float, silence: float, seed: int, earlier: bool
) -> None:
    wanted = request(kind=kind, seconds=seconds, silence_s=silence, seed=seed, earlier=earlier)
    plans = make_plans(sources(lengths), wanted).plans
    assert plans == make_plans(sources(lengths), wanted).plans
    assert len({plan.name for plan in plans}) == len(plans) > 0
    for plan in plans:
        spoken = [piece.source.utterance for piece in plan.pieces]
        assert {(each.speaker, each.split) for each in spoken} == {(plan.speaker, plan.split)}
        labels = [each.label for each in spoken]
        if kind == "sustained":
            assert set(labels) == {plan.label}
        elif kind == "salient":
            (carrier,) = (piece for piece in plan.pieces if piece.source.utterance.label != "neutral")
            assert carrier.source.utterance.label == plan.label
            assert carrier.samples == carrier.source.samples
        else:
            assert len([*itertools.groupby(labels)]) == 2
            assert labels[0 if earlier else -1] == plan.label
        silent = 0
        place = 0
        for piece in plan.pieces:
            assert 0 <= piece.offset <= piece.offset + piece.samples <= piece.source.samples
            assert piece.samples > 0
            assert place <= piece.start <= place + wanted.silence
            silent += piece.start - place
            place = piece.start + piece.samples
        assert wanted.samples - wanted.silence <= place <= wanted.samples
        for before, after in itertools.pairwise(plan.pieces):
            assert after.start - before.start - before.samples == wanted.silence


@settings(max_examples=30, deadline=None)
@given(kind=st.sampled_from(KINDS), lengths=LENGTHS, seconds=st.floats(2, 4))
def test_without_repeats_a_recording_occurs_once(kind: Kind, lengths: list[int], seconds: float) -> None:
    wanted = request(kind=kind, seconds=seconds, repeats=False)
    found = make_plans(sources([*lengths, 2 * RATE], takes=12), wanted)
    for plan in found.plans:
        names = [piece.source.utterance.name for piece in plan.pieces]
        assert len(set(names)) == len(names)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A corpus of noise whose level tells the recordings apart."""
    folder = tmp_path_factory.mktemp("short")
    rng = np.random.default_rng(0)
    lines = []
    for number, (split, speaker, label, take) in enumerate(itertools.product(SPLITS, "ab", LABELS, range(2))):
        name = f"{split}-{speaker}-{label}-{take}.wav"
        samples = int(RATE * rng.uniform(0.4, 0.8))
        soundfile.write(folder / name, 0.01 * (1 + number % 7) * rng.normal(size=samples), RATE)
        fields = {"audio": name, "text": label, "label": label, "speaker": f"{split}-{speaker}", "split": split}
        lines.append(json.dumps(fields))
    (folder / "short.jsonl").write_text("\n".join(lines))
    return f"manifest:{folder / 'short.jsonl'}"


@pytest.mark.parametrize("kind", KINDS)
def test_composed_corpora_are_corpora(sbench: Sbench, tmp_path: Path, short: str, kind: Kind) -> None:
    code, out, err = sbench("compose", short, "long", "--kind", kind, "--seconds", "2,3.5")
    assert (code, out) == (0, "long/2s/manifest.jsonl\nlong/3.5s/manifest.jsonl\n"), err
    for seconds in (2, 3.5):
        folder = tmp_path / "long" / f"{seconds:g}s"
        found = corpora.load(f"manifest:{folder / 'manifest.jsonl'}")
        assert found.splits == SPLITS
        assert {soundfile.info(each.audio).frames for each in found.utterances} == {round(seconds * RATE)}
        assert len({(each.speaker, each.split) for each in found.utterances}) == len(
            {each.speaker for each in found.utterances}
        )
        card = json.loads((folder / "card.json").read_text())
        assert (card["corpus"], card["kind"], card["seed"]) == (short, kind, 0)
        levels = set()
        for each in found.utterances:
            waveform, _ = soundfile.read(each.audio)
            for piece in card["recordings"][f"{each.split}/{each.audio.name}"]:
                start, samples = round(piece["start_s"] * RATE), round(piece["seconds"] * RATE)
                source, _ = soundfile.read(Path(short.partition(":")[2]).parent / piece["recording"])
                begin = round(piece["from_s"] * RATE)
                part, original = waveform[start : start + samples], source[begin : begin + samples]
                if samples > 1000:
                    assert np.corrcoef(part, original)[0, 1] > 0.999
                    levels.add(round(float(np.sqrt(np.mean(part**2))), 2))
        assert levels == {0.05}
    assert sbench("compose", short, "again", "--kind", kind, "--seconds", "2")[0] == 0
    assert sbench("compose", short, "other", "--kind", kind, "--seconds", "2", "--seed", 1)[0] == 0
    manifests = [(tmp_path / name / "2s" / "manifest.jsonl").read_bytes() for name in ("long", "again", "other")]
    audio = [
        {file.name: file.read_bytes() for file in (tmp_path / name / "2s").rglob("*.flac")}
        for name in ("long", "again")
    ]
    assert audio[0] == audio[1]
    assert manifests[0] == manifests[1] != manifests[2]


def test_options_change_what_is_composed(sbench: Sbench, tmp_path: Path, short: str) -> None:
    options = ("--seconds", "2", "--keep-levels", "--per-split", 3, "--silence", 0, "--kind", "change")
    assert sbench("compose", short, "long", *options, "--label", "earlier")[0] == 0
    found = corpora.load(f"manifest:{tmp_path / 'long' / '2s' / 'manifest.jsonl'}")
    assert [len(found.split(split)) for split in SPLITS] == [3, 3, 3]
    card = json.loads((tmp_path / "long" / "2s" / "card.json").read_text())
    for each in found.utterances:
        pieces = card["recordings"][f"{each.split}/{each.audio.name}"]
        assert f"-{each.label}-" in pieces[0]["recording"]
        assert f"-{each.label}-" not in pieces[-1]["recording"]
        assert sum(piece["seconds"] for piece in pieces) == pytest.approx(2)


BAD = {
    "kind": (["--kind", "sustain"], "unknown kind 'sustain'", "sustained"),
    "label": (["--kind", "change", "--label", "last"], "unknown label 'last'", "later"),
    "neutral": (["--kind", "salient", "--neutral", "calm"], "unknown neutral class 'calm'", "neutral"),
    "no number": (["--seconds", "2,x"], "--seconds x is no number", "10,30"),
    "too long": (["--seconds", "1e9"], "cannot be composed", "1 to 3600 s"),
    "nan": (["--seconds", "nan"], "cannot be composed", "1 to 3600 s"),
    "all silent": (["--seconds", "2", "--silence", "1.5"], "silence leave too little of 2 s", "--silence"),
    "twice": (["--seconds", "2,2.0"], "names a length twice", "once"),
    "too little": (["--seconds", "60", "--without-repeats"], "nothing can be composed in train", "shorter"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(sbench: Sbench, tmp_path: Path, short: str, case: str) -> None:
    arguments, message, hint = BAD[case]
    code, out, err = sbench("compose", short, "long", *arguments)
    assert (code, out) == (2, "")
    first, second = err.strip().splitlines()[-2:]
    assert message in first
    assert hint in second
    assert not (tmp_path / "long").exists()


def test_an_existing_folder_is_kept(sbench: Sbench, tmp_path: Path, short: str) -> None:
    (tmp_path / "long").mkdir()
    code, _, err = sbench("compose", short, "long")
    assert code == 2
    assert "long exists" in err
