"""The tables of accuracy and of training on the Markdown pages, from the committed records. Needs no torch."""

import functools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

_REPORTS = Path(__file__).parent / "nvidia-h100"


def table(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    return tabulate([list(row) for row in rows], headers=list(headers), tablefmt="github", disable_numparse=True)


def training() -> str:
    """Return how fast the mixers train and score together, and one after another as the paper's code trains."""
    measured = json.loads((_REPORTS / "training" / "throughput.json").read_text())
    together, scoring = measured["rates"]["together"], measured["scoring"]
    trained, scored = together["utterances_per_s"], scoring["together"]["utterances_per_s"]
    singly = scoring["one recording at a time"]["utterances_per_s"]
    mixers, faster = len(together["step_ms"]), measured["times_faster"]
    rates = {
        f"training {mixers} mixers together, bfloat16": (trained, measured["hours_of_training"]),
        "training one after another, float32, as the paper's code does": (
            trained / faster,
            measured["hours_of_training"] * faster,
        ),
        f"scoring {mixers} mixers in batches of similar length": (scored, measured["hours_of_scoring"]),
        f"scoring {mixers} mixers one recording at a time": (singly, measured["hours_of_scoring"] * scored / singly),
    }
    rows = [(name, f"{rate:.0f}", f"{hours:.0f} hours") for name, (rate, hours) in rates.items()]
    return table(("H100", "utterances per second", "for Table 1 with 3 seeds"), rows)


def gpus() -> str:
    """Return how fast several GPUs train and score together, and whether their models score as those of one do."""
    measured = {count: json.loads((_REPORTS / "gpus" / f"throughput-{count}.json").read_text()) for count in (1, 2, 4)}
    scores = pd.read_csv(_REPORTS / "gpus" / "scores.csv", index_col="learner")
    hours = {count: each["hours_of_training"] + each["hours_of_scoring"] for count, each in measured.items()}
    rows = [
        (
            str(count),
            f"{each['rates']['together']['utterances_per_s']:.0f}",
            f"{each['scoring']['together']['utterances_per_s']:.0f}",
            f"{hours[count]:.1f}",
            f"{hours[1] / hours[count]:.2f}",
            f"{100 * scores[str(count)].mean():.1f} %",
            str(int((scores[str(count)] == scores["1"]).sum())),
        )
        for count, each in measured.items()
    ]
    headers = ("H100s", "trained per second", "scored per second", "hours for Table 1 with 3 seeds", "times faster")
    return table((*headers, "macro-F in development, mean of 24 models", "models that score the same as on one"), rows)


def ravdess() -> str:
    """Return what each mixer scores on acted speech, with its interval, and what a linear model does."""
    scores = pd.read_csv(_REPORTS / "ravdess" / "table" / "accuracy.csv").query("split == 'test'")
    intervals = scores[["macro_f_percent", "low_percent", "high_percent"]].itertuples(index=False)
    keys = zip(scores["mixer"], scores["direction"], strict=True)
    found = {key: "{:.1f} ({:.1f} to {:.1f})".format(*each) for key, each in zip(keys, intervals, strict=True)}
    directions = ("causal", "alternating", "both", "-")
    rows = [(name, *(found.get((name, each), "") for each in directions)) for name in dict.fromkeys(scores["mixer"])]
    return table(("macro-F in % (95 %)", *(f"`{each}`" for each in directions[:-1]), "without mixing"), rows)


def tries() -> str:
    """Return what the settings that were tried scored on development speakers, as a mean over mixers."""
    scores = pd.read_csv(_REPORTS / "ravdess" / "tries.csv")
    settings = ["schedule", "learning_rate", "classifier_layers", "epochs"]
    means = scores.groupby(settings, as_index=False)[["highest", "last"]].mean().to_dict("records")
    rows = [(*(f"{row[name]}" for name in settings), f"{row['highest']:.1%}", f"{row['last']:.1%}") for row in means]
    return table(("schedule", "learning rate", "classifier layers", "epochs", "best epoch", "last epoch"), rows)


_KINDS = ("salient", "change", "sustained")
_LEARNED, _TESTED = ("5.5", "30", "120"), ("10", "30", "60", "120", "240")


def lengths(kind: str) -> str:
    """Return what each mixer scores on recordings of each length, by the length of those it learned from."""
    columns: dict[str, dict[tuple[str, str], str]] = {}
    for learned, tested, scores in _lengths(kind):
        keys = zip(scores["mixer"], scores["direction"], strict=True)
        figures = [f"{value:.0f}" for value in scores["macro_f_percent"]]
        columns[f"{learned} s: {tested} s"] = dict(zip(keys, figures, strict=True))
    every = dict.fromkeys(key for column in columns.values() for key in column)
    rows = [(*key, *(column.get(key, "") for column in columns.values())) for key in every]
    return table(("mixer", "direction", *columns), rows)


def lengths_highest(kind: str) -> str:
    """Return who scores highest at each length, and how many others have an interval that lies wholly below."""
    rows = []
    for learned, tested, scores in _lengths(kind):
        mixers = scores[scores["direction"] != "-"]
        first, below = _first(mixers)
        name = f"{first['mixer']}, `{first['direction']}`"
        linear = scores.loc[scores["direction"] == "-", "macro_f_percent"].item()
        others = f"{below} of {len(mixers) - 1}"
        rows.append((f"{learned} s", f"{tested} s", name, _interval(first), others, f"{linear:.0f}"))
    return table(("learned from", "tested at", "highest", "macro-F in % (95 %)", "others wholly below", "linear"), rows)


def highest_at(kind: str, seconds: float) -> str:
    """Return the highest score at the tested length nearest to this one, and how many others are surely below it.

    It is the highest over all lengths learned from. The others learned from the same length.
    """
    nearest = min(_TESTED, key=lambda tested: abs(float(tested) - seconds))
    tables = [scores[scores["direction"] != "-"] for _, tested, scores in _lengths(kind) if tested == nearest]
    highest = max(tables, key=lambda mixers: mixers["macro_f_percent"].max())
    first, below = _first(highest)
    at = "" if float(nearest) == seconds else f" at {nearest} s"
    return f"{first['mixer']}, `{first['direction']}`: {_interval(first)}{at}, above {below} of {len(highest) - 1}"


def _first(mixers: pd.DataFrame) -> "tuple[pd.Series[Any], int]":
    """Return the row with the highest score, and how many others have an interval that lies wholly below its own."""
    first = mixers.iloc[mixers["macro_f_percent"].argmax()]
    return first, int((mixers["high_percent"] < first["low_percent"]).sum())


def _interval(row: "pd.Series[Any]") -> str:
    return f"{row['macro_f_percent']:.0f} ({row['low_percent']:.0f} to {row['high_percent']:.0f})"


def _lengths(kind: str) -> Iterable[tuple[str, str, pd.DataFrame]]:
    """Yield the length learned from, the length tested and the rows of the accuracy table, of those that there are."""
    for learned in _LEARNED:
        path = _REPORTS / "lengths" / f"table-{kind}-{learned}" / "accuracy.csv"
        if not path.is_file():
            continue
        scores = pd.read_csv(path)
        for tested in _TESTED:
            yield learned, tested, scores[scores["split"] == f"test-{tested}s"]


TABLES: dict[str, Callable[[], str]] = {
    "training": training,
    "gpus": gpus,
    "ravdess": ravdess,
    "tries": tries,
    **{f"lengths {kind}": functools.partial(lengths, kind) for kind in _KINDS},
    **{f"highest {kind}": functools.partial(lengths_highest, kind) for kind in _KINDS},
}
