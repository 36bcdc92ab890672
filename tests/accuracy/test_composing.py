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
from bench.accuracy.composing import writing
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
        "hours": None,
        "test_hours": None,
        "learned": True,
        "tested": True,
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
            splits=(split, {"train": "test", "test": "train"}.get(split, split)),
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
        assert {(each.speaker, each.split) for each in spoken} == {(plan.speaker, plan.splits[0])}
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
    options = ("--kind", kind, "--seconds", "2,3.5")
    code, out, err = sbench("compose", short, "long", *options, "--test-seconds", "1.5,3.5")
    assert (code, out) == (0, "long/2s/manifest.jsonl\nlong/3.5s/manifest.jsonl\n"), err
    assert not (tmp_path / "long" / "1.5s" / "manifest.jsonl").exists()
    for seconds in (2, 3.5):
        folder = tmp_path / "long" / f"{seconds:g}s"
        found = corpora.load(f"manifest:{folder / 'manifest.jsonl'}")
        lengths = {"train": seconds, "development": seconds, "test-1.5s": 1.5, "test-3.5s": 3.5}
        assert set(found.splits) == set(lengths)
        assert {(each.split, soundfile.info(each.audio).frames) for each in found.utterances} == {
            (split, round(length * RATE)) for split, length in lengths.items()
        }
        voices = {(each.speaker, each.split.partition("-")[0]) for each in found.utterances}
        assert len(voices) == len({speaker for speaker, _ in voices})
        levels = set()
        for each in found.utterances:
            card = json.loads((each.audio.parent / "card.json").read_text())
            assert (card["corpus"], card["kind"], card["seed"]) == ([short], kind, 0)
            waveform, _ = soundfile.read(each.audio)
            for piece in card["recordings"][each.audio.name]:
                start, samples = round(piece["start_s"] * RATE), round(piece["seconds"] * RATE)
                source, _ = soundfile.read(Path(short.partition(":")[2]).parent / piece["recording"])
                begin = round(piece["from_s"] * RATE)
                part, original = waveform[start : start + samples], source[begin : begin + samples]
                if samples > 1000:
                    assert np.corrcoef(part, original)[0, 1] > 0.999
                    levels.add(round(float(np.sqrt(np.mean(part**2))), 2))
        assert levels == {0.05}
    short_options = ("--kind", kind, "--seconds", "2", "--test-seconds", "2")
    assert sbench("compose", short, "again", *options, "--test-seconds", "1.5,3.5")[0] == 0
    assert sbench("compose", short, "other", *options, "--test-seconds", "1.5,3.5", "--seed", 1)[0] == 0
    assert sbench("compose", short, "less", *short_options)[0] == 0
    files = [
        {str(file.relative_to(tmp_path / name)): file.read_bytes() for file in (tmp_path / name).rglob("*.[fj]*")}
        for name in ("long", "again", "other", "less")
    ]
    assert files[0] == files[1]
    manifest = "2s/manifest.jsonl"
    assert files[0][manifest] != files[2][manifest]
    for name in files[3].keys() & files[0].keys():  # what is composed does not depend on what else is
        assert files[3][name] == files[0][name] or name in (manifest, "2s/card.json")


def test_what_training_will_refuse_is_said_before_anything_is_written(
    sbench: Sbench, tmp_path: Path, short: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Path(short.partition(":")[2])
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        line["audio"] = str(manifest.parent / line["audio"])
    heard = next(line["speaker"] for line in lines if line["split"] == "train")
    tested = next(line["speaker"] for line in lines if line["split"] == "test")
    shared = [line | {"speaker": heard} if line["speaker"] == tested else line for line in lines]
    rest = [line for line in lines if line["split"] != "development"]
    monkeypatch.setattr(writing, "compose", lambda *_: iter(()))
    for name, own, said in (
        (
            "shared",
            shared,
            f"test of manifest:shared shares 1 speaker ({heard}) with training, so `sbench train --eval",
        ),
        ("rest", rest, "manifest:rest has no split 'development', so `sbench train` refuses what is composed of it\n"),
    ):
        (tmp_path / name).write_text("".join(f"{json.dumps(line)}\n" for line in own))
        code, _, err = sbench("compose", f"manifest:{name}", "long")
        assert (code, said in err, len(err.splitlines())) == (0, True, 2), err
    assert "refuses" not in sbench("compose", short, "long")[2]


def test_folds_share_what_they_compose(sbench: Sbench, tmp_path: Path, short: str) -> None:
    source = Path(short.partition(":")[2])
    utterances = [json.loads(line) for line in source.read_text().splitlines()]
    (tmp_path / "short").mkdir()
    for fold in (1, 2, 3):
        turned = dict(zip(SPLITS, (*SPLITS[fold - 1 :], *SPLITS[: fold - 1]), strict=True))
        lines = [
            json.dumps(each | {"audio": str(source.parent / each["audio"]), "split": turned[each["split"]]})
            for each in utterances
        ]
        (tmp_path / "short" / f"fold-{fold}.jsonl").write_text("\n".join(lines))
    options = ("--kind", "salient", "--seconds", "1", "--test-seconds", "1,2", "--fold", "1,3")
    code, out, err = sbench("compose", "manifest:short", "long", *options)
    assert (code, out) == (0, "long/1s/fold-1.jsonl\nlong/1s/fold-3.jsonl\n"), err
    one, other = (corpora.load(f"manifest@{fold}:{tmp_path}/long/1s") for fold in (1, 3))
    assert one.folds == other.folds == 3
    assert one.splits == other.splits == ("train", "development", "test-1s", "test-2s")
    assert not {each.name for each in one.split("test-1s")} & {each.name for each in other.split("test-1s")}
    names = {each.audio.name for each in (*one.utterances, *other.utterances)}
    assert names == {file.name for file in (tmp_path / "long").rglob("*.flac")}
    for corpus, after in ((one, SPLITS), (other, ("test", "train", "development"))):
        split_of = dict(zip(SPLITS, after, strict=True))
        for each in corpus.utterances:
            assert split_of[each.speaker.partition("-")[0]] == each.split.partition("-")[0]


def test_options_change_what_is_composed(sbench: Sbench, tmp_path: Path, short: str) -> None:
    lengths = ("--seconds", "2", "--test-seconds", "2", "--hours", 3 * 2 / 3600, "--test-hours", 2 * 2 / 3600)
    options = (*lengths, "--keep-levels", "--silence", 0, "--kind", "change")
    assert sbench("compose", short, "long", *options, "--label", "earlier")[0] == 0
    found = corpora.load(f"manifest:{tmp_path / 'long' / '2s' / 'manifest.jsonl'}")
    assert [len(found.split(split)) for split in ("train", "development", "test-2s")] == [3, 2, 2]
    card = json.loads((tmp_path / "long" / "2s" / "card.json").read_text())
    for each in found.utterances:
        pieces = card["recordings"][each.audio.name]
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
    "no test": (["--test-seconds", "0"], "--test-seconds 0: 0 s cannot be composed", "1 to 3600 s"),
    "no hours": (["--hours", "-1"], "--hours -1 is no amount", "more than 0"),
    "no test hours": (["--test-hours", "0"], "--test-hours 0 is no amount", "more than 0"),
    "no fold": (["--fold", "1"], "is not a folder", "fold-1.jsonl"),
    "twice": (["--seconds", "2,2.0"], "names a length twice", "once"),
    "too little": (["--seconds", "60", "--without-repeats"], "nothing can be composed in test", "shorter"),
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
