"""Predicts whole files, one at a time; each is encoded once for all mixers and seeds."""

from collections.abc import Sequence
from typing import Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from jaxtyping import Float
from torch import Tensor

from bench.accuracy.corpora.base import Utterance
from bench.accuracy.inputs.batches import WholeFiles, load
from bench.accuracy.inputs.features import SpeechFeatures, TextFeatures


class Classifier(Protocol):
    """What can be scored."""

    @property
    def name(self) -> str:
        """The mixer and seed: ``kda-0``."""

    def predict(self, speech: Float[Tensor, "B *Z M D"], text: Float[Tensor, "B N D"] | None) -> Float[Tensor, "B C"]:
        """Return the probability of each class, in float32."""


def predict(
    learners: Sequence[Classifier],
    utterances: Sequence[Utterance],
    *,
    classes: Sequence[str],
    speech: SpeechFeatures,
    text: TextFeatures | None,
    accelerator: Accelerator,
    workers: int,
) -> dict[str, Float[Tensor, "utterances C"]]:
    """Return the probabilities of each learner, in the order of the utterances.

    Each file is encoded once for all learners. Several processes share the files.

    Raises:
        UserError: A recording cannot be read.
    """
    own_utterances = utterances[accelerator.process_index :: accelerator.num_processes]
    found: list[tuple[int, list[list[float]]]] = []
    for number, batch in enumerate(load(WholeFiles(own_utterances), None, classes=classes, workers=workers)):
        features = speech(batch.waveforms, batch.names)
        tokens = None if text is None else text(batch.texts)[0].to(accelerator.device)
        rows = torch.cat([learner.predict(features, tokens) for learner in learners])  # (learners, C)
        found.append((number * accelerator.num_processes + accelerator.process_index, rows.tolist()))
    gathered = sorted(gather_object(found)) if accelerator.num_processes > 1 else found
    table = torch.tensor([rows for _, rows in gathered])  # (utterances, learners, C)
    return {learner.name: table[:, column] for column, learner in enumerate(learners)}
