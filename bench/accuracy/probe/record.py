"""What a probe is, and the probe.json that holds it. Imports no torch.

A probe's folder:

probe.json                      what was fitted, and on what
evaluation/<split>/             predictions and scores, as `sbench evaluate` writes them, of the learner ``linear-0``
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.validation import STRICT, first_fault, parse
from mixers.support.errors import UserError

PROBE_FILE = "probe.json"
VERSION = 1

NAME = "linear"
LEARNER = f"{NAME}-0"  # it has no seeds, but a file of predictions is named by one

ProbeLayer = int | Literal["last"]

_HINT = "Make it again with `sbench probe`."


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A logistic regression on the pooled features of one layer.

    Attributes:
        corpus: Its specification, with the fold: ``ravdess@1:/data/RAVDESS``.
        classes: All classes of the corpus.
        speech: Name of the encoder.
        width: D of the encoder.
        speech_layers: Z of the encoder.
        precision: The encoder's: ``bfloat16`` or ``float32``. The pooling and the fit are never in less than float32.
        layer: The layer that was fitted, a number from 1 or ``last``.
        layer_chosen: Whether the development split chose it.
        development_scores: Macro-F on the development split of a fit on train, by layer; empty without that split.
        regularisation: C, the inverse strength of the L2 penalty.
        with_development: Whether the tests were predicted by a fit on train and development together.
        missing: Classes without an utterance in training, which are never predicted.
        converged: Whether all fits reached scikit-learn's tolerance.
        parameters: Coefficients and intercepts. The standardisation is part of them: it can be multiplied into them.
        utterances: A digest of the training and development utterances.
    """

    __pydantic_config__ = STRICT

    corpus: str
    classes: tuple[str, ...]
    speech: str
    width: int
    speech_layers: int
    precision: str
    layer: ProbeLayer
    layer_chosen: bool
    development_scores: dict[str, float]
    regularisation: float
    with_development: bool
    missing: tuple[str, ...]
    converged: bool
    parameters: int
    utterances: str


def is_probe(folder: Path) -> bool:
    """Return whether a folder is a probe's."""
    return (folder / PROBE_FILE).is_file()


def write(probe: Probe, folder: Path) -> None:
    """Write probe.json.

    Raises:
        OSError: It cannot be written.
    """
    fields = {"version": VERSION} | dataclasses.asdict(probe)
    (folder / PROBE_FILE).write_text(f"{json.dumps(fields, indent=1)}\n", encoding="utf-8")


def read(folder: Path) -> Probe:
    """Return the probe of a folder.

    Raises:
        UserError: There is no probe.json, it is damaged, or it is of another version.
    """
    path = folder / PROBE_FILE
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from None
    try:
        fields = parse(dict[str, Any], text)
        version = fields.pop("version", None)
        if version == VERSION:
            return parse(Probe, json.dumps(fields))
    except ValueError as error:
        raise UserError(f"{path} is damaged: {first_fault(error)}", hint=_HINT) from None
    raise UserError(f"{folder} is a probe of version {version}, this sbench reads {VERSION}", hint=_HINT)
