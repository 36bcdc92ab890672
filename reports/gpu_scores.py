"""Writes scores.csv, what models trained on 1, 2 and 4 GPUs score: ``python reports/gpu_scores.py FOLDER``.

A row is a mixer and a seed: the macro-F of each run ``train-N`` of gpus.sh on the test speakers of one fold.
"""

import json
import sys
from pathlib import Path

import pandas as pd

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    rows = [
        {"learner": path.stem, "gpus": int(run.name.partition("-")[2]), "score": json.loads(path.read_text())}
        for run in sorted(folder.glob("train-?"))
        for path in sorted((run / "evaluation" / "test").glob("*-?.json"))
    ]
    scores = pd.DataFrame([row | {"score": row["score"]["macro_f"]["value"]} for row in rows])
    scores.pivot_table(index="learner", columns="gpus", values="score").to_csv(folder / "scores.csv")
