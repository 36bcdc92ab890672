"""Numbers that no training can use are refused in one line, before anything is loaded."""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.accuracy.corpora.base import Corpus
from tests.accuracy.made_up import write_run
from tests.conftest import Sbench

COUNTS = st.integers(max_value=0) | st.integers(10**9 + 1, 10**40) | st.just("9" * 5000)
NO_NUMBER = st.sampled_from(["", " ", "two", "1,5", "1e", "0x10", "--", "½", "nan", "inf"])
NO_COUNT = COUNTS | NO_NUMBER | st.sampled_from([1.5, "1e3"])
NO_SECONDS = st.floats(max_value=0.0249) | st.floats(min_value=1000.1) | st.just(float("nan"))
NO_RATE = st.floats(max_value=0) | st.floats(min_value=1) | st.just(float("nan"))
NO_C = st.floats(max_value=0) | st.sampled_from([float("nan"), float("inf")])

NUMBERS = {
    "train": {
        "--learning-rate": NO_RATE | NO_NUMBER,
        "--crop": NO_SECONDS | NO_NUMBER,
        "--data-seed": st.integers(min_value=2**63) | st.integers(max_value=-(2**63) - 1) | NO_NUMBER,
        "--workers": NO_COUNT.filter(lambda number: number != 0),
        "--layer": COUNTS.filter(lambda number: number != 0) | NO_NUMBER,
        **dict.fromkeys(("--seeds", "--epochs", "--batch", "--classifier-layers", "--checkpoint-steps"), NO_COUNT),
        "--fold": NO_COUNT,
    },
    "probe": {
        "--regularisation": NO_C | NO_NUMBER,
        "--layer": COUNTS.filter(lambda number: number != 0) | NO_NUMBER,
        "--fold": NO_COUNT,
        "--workers": NO_COUNT.filter(lambda number: number != 0),
    },
    "throughput": {
        "--crop": NO_SECONDS | st.floats(min_value=40.1) | NO_NUMBER,
        "--workers": NO_COUNT.filter(lambda number: number != 0),
        **dict.fromkeys(("--seeds", "--steps", "--batch", "--utterances"), NO_COUNT),
    },
    "evaluate": {"--fold": NO_COUNT, "--workers": NO_COUNT.filter(lambda number: number != 0)},
    "demo-corpus": {
        "--utterances": NO_COUNT,
        "--speakers": NO_COUNT,
        "--seed": st.integers(max_value=-1) | st.integers(min_value=2**63) | NO_NUMBER,
    },
}


@pytest.mark.parametrize(("command", "option"), [(command, each) for command in NUMBERS for each in NUMBERS[command]])
def test_a_number_that_cannot_be_is_named(
    sbench: Sbench, tmp_path: Path, corpus: Corpus, command: str, option: str
) -> None:
    given_corpus = ("--corpus", corpus.spec)
    base: dict[str, tuple[object, ...]] = {
        "train": (*given_corpus, "--no-text", "--mixers", "sa", "--speech", "nowhere/at-all", "--output", "made"),
        "probe": (*given_corpus, "--speech", "nowhere/at-all", "--output", "made"),
        "throughput": ("--mixers", "sa", "--speech", "nowhere/at-all", "--output", "made/throughput.json"),
        "evaluate": (write_run(tmp_path / "run", {}), *given_corpus),
        "demo-corpus": ("made",),
    }

    @given(NUMBERS[command][option])
    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def check(number: object) -> None:
        shutil.rmtree(tmp_path / "made", ignore_errors=True)  # throughput's folder
        code, out, err = sbench(command, *base[command], f"{option}={number}")
        (line,) = (each for each in err.splitlines() if each.startswith(("sbench: ", "Error: ")))
        assert (code, out) == (2, ""), err
        assert option.removeprefix("--") in line or str(number) in line
        assert "Traceback" not in err

    check()
