"""Writes scores.csv, what models trained on 1, 2 and 4 GPUs score: ``python reports/gpu_scores.py FOLDER``.

A row is a mixer and a seed, by run ``train-N`` of gpus.sh: macro-F on development speakers after the last epoch.
"""

import json
import sys
from pathlib import Path

import pandas as pd

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    last: dict[str, dict[str, float]] = {}
    for run in sorted(folder.glob("train-?")):
        steps = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        last[run.name.partition("-")[2]] = [step["development_macro_f"] for step in steps if "loss" not in step][-1]
    pd.DataFrame(last).rename_axis("learner").to_csv(folder / "scores.csv")
