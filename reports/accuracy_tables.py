"""The tables of accuracy and of training on the Markdown pages, from the committed records. Needs no torch."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

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
    return table((*headers, "macro-F, mean of 24 models", "models that score the same as on one"), rows)


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


TABLES: dict[str, Callable[[], str]] = {"training": training, "gpus": gpus, "ravdess": ravdess, "tries": tries}
