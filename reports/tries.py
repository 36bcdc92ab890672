"""Writes tries.csv, what the tries of ravdess.sh scored on development speakers: ``python reports/tries.py FOLDER``.

A row is a try and a mixer: its highest macro-F over the epochs, and the last, each a mean over folds.
"""

import json
import sys
from pathlib import Path

import pandas as pd

SETTINGS = ["schedule", "learning_rate", "classifier_layers", "epochs"]


def scores(run: Path) -> list[dict[str, object]]:
    """Return what each mixer of a run scored."""
    settings = json.loads((run / "run.json").read_text())
    steps = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    epochs = pd.DataFrame([step["development_macro_f"] for step in steps if "development_macro_f" in step])
    common = {name: settings[name] for name in SETTINGS}
    return [
        {**common, "mixer": str(name).rpartition("-")[0], "highest": epochs[name].max(), "last": epochs[name].iloc[-1]}
        for name in epochs
    ]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    rows = pd.DataFrame([row for run in sorted(folder.glob("try-*/")) for row in scores(run)])
    grouped = rows.groupby([*SETTINGS, "mixer"], sort=True)
    means = grouped.agg(highest=("highest", "mean"), last=("last", "mean"), folds=("last", "size"))
    means.reset_index().to_csv(folder / "tries.csv", index=False, float_format="%.4f")
