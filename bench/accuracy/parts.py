"""The parts of a model and its loss that the paper's text does not state. Imports no torch.

Where the text is silent, its code is the only evidence, so new runs of every preset have what the code has. run.json
holds each part. Runs of before these fields have what their preset had then.
"""

from typing import Any, Literal

from mixers.support.errors import UserError

Layer = int | Literal["last", "weighted"]

_NAMED_LAYERS: tuple[Literal["last", "weighted"], ...] = ("last", "weighted")

DEFAULT_LAYER: Layer = "weighted"

# As the code has them: trained layer norms on both streams, the classifier's hidden layers, weights of the classes.
PARTS: dict[str, Any] = {"stream_norms": True, "classifier_layers": 5, "class_weights": True}

# What is missing in the run.json of an earlier run, by preset.
FORMER_PARTS: dict[str, dict[str, Any]] = {
    "matched": {"layer": "last", "stream_norms": False, "classifier_layers": 1, "class_weights": False},
    "released": {"layer": "weighted"} | PARTS,
}


def is_number(name: str) -> bool:
    """Tell whether a user names a number of a layer or fold, of at most nine digits."""
    return name.isascii() and name.isdigit() and len(name) < 10


def choose_layer(name: str) -> Layer:
    """Return the layer of the speech encoder that a user names: a number, ``last`` or ``weighted``.

    Raises:
        UserError: It is none of them.
    """
    for known in _NAMED_LAYERS:
        if known == name:
            return known
    if is_number(name):
        return int(name)
    hint = "Give the number of a hidden layer, last, or weighted: a trained sum of all."
    raise UserError(f"no such layer: {name!r}", hint=hint)
