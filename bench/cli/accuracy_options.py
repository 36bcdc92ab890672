"""Options that several commands about accuracy share."""

import os
from pathlib import Path
from typing import Annotated

import typer

from bench.accuracy import corpora

MIXERS = "sa,retnet,lightnet,gsa,fox,kda"

GROUPS = "Groups: all, paper, linear, attention."

DEMONSTRATION = "A demonstration: a synthetic corpus, and encoders that were never trained"

CORPUS = f"NAME:PATH, for instance msp-podcast:/data/MSP-Podcast-2.0. Names: {', '.join(corpora.names())}."

DIRECTION = "Which frames a frame may see: causal, alternating, both or paper"

_SPEECH = "wavlm-large, wav2vec2-xlsr, wav2vec2-large, hubert-large, an id (openai/whisper-base) or a folder."

Speech = Annotated[str, typer.Option(help=_SPEECH)]
Precision = Annotated[str | None, typer.Option(help="bfloat16 (default on a GPU) or float32.", show_default=False)]
Fold = Annotated[int | None, typer.Option(help="A fold of the corpus, from 1.", min=1, max=999, show_default=False)]
Seeds = Annotated[int, typer.Option(help="The number of seeds for each mixer.", min=1, max=1000)]
Workers = Annotated[int, typer.Option(help="Additional processes that read audio.", min=0, max=256)]
WORKERS = min(4, os.cpu_count() or 1)

Device = Annotated[str, typer.Option(help="auto, cuda or cpu.")]
MissingText = Annotated[str, typer.Option(help="How to treat a missing transcript: error or empty.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `sbench train` made.")]
