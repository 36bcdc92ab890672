"""A learner: a mixer's classifier with one seed, its optimiser and its learning rate.

Many learners share a batch but are independent. Their random draws depend only on their own seed and step. So the other
learners do not change the result, and neither does an interruption.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from accelerate import Accelerator
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from bench.accuracy.inputs.batches import Inputs
from bench.accuracy.run import ModelConfig
from bench.accuracy.training.model import EmotionModel, build
from bench.accuracy.training.replay import Gradients, Replayed
from bench.files import write_atomically
from mixers.support.errors import UserError

WEIGHT_DECAY = 0.01
PATIENCE = 5  # epochs without a better score until the learning rate is halved

_ADAMW_STATE = ("exp_avg", "exp_avg_sq", "step")  # for each parameter


@dataclass(kw_only=True)
class Progress:
    """A learner's scores so far; they change with every evaluation.

    Attributes:
        best: The highest macro-F on the development set so far; below 0 before the first evaluation.
        best_epoch: The epoch of that score, from 0.
        waited: Epochs since the last better score or, if later, since the learning rate was halved.
    """

    best: float = -1.0
    best_epoch: int = -1
    waited: int = 0


class Learner:
    """A classifier and its optimiser."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        seed: int,
        learning_rate: float,
        precision: str,
        class_weights: Float[Tensor, " C"] | None,
        accelerator: Accelerator,
    ) -> None:
        """Build it with seeded weights, on the accelerator's device.

        Args:
            config: The configuration of the classifier.
            seed: Seed of the weights and of the dropout.
            learning_rate: At the beginning.
            precision: ``bfloat16`` (bfloat16 products, float32 weights) or ``float32``.
            class_weights: The weights of the classes in the loss; None for equal weights.
            accelerator: Distributes the work over its processes.
        """
        self.name = f"{config.mixer}-{seed}"
        self.config = config
        self.seed = seed
        self.progress = Progress()
        self._accelerator = accelerator
        self._autocast = partial(
            torch.autocast, accelerator.device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"
        )
        self._weights = None if class_weights is None else class_weights.to(accelerator.device)
        model = build(config, seed=seed)
        on_gpu = accelerator.device.type == "cuda"
        # On a GPU, fused saves the host hundreds of launches a step.
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY, fused=on_gpu)
        self._model, self._optimizer = accelerator.prepare(model, optimizer)
        # With several processes, gradients are averaged during the backward pass, which no graph here captures.
        one_process = accelerator.num_processes == 1
        self._replayed = Replayed(self.name) if on_gpu and one_process else None

    @property
    def model(self) -> EmotionModel:
        """The classifier itself, without the accelerator's wrapper."""
        model: EmotionModel = self._accelerator.unwrap_model(self._model)
        return model

    @property
    def learning_rate(self) -> float:
        """The current learning rate."""
        return float(self._optimizer.param_groups[0]["lr"])

    def step(self, inputs: Inputs, *, moment: str) -> Tensor:
        """Take one optimiser step and return the loss before it.

        Args:
            inputs: Features and labels; each process has its share.
            moment: The name of the step. Dropout depends only on it and the seed.

        Raises:
            UserError: The loss is not finite.
        """
        process = self._accelerator.process_index
        torch.manual_seed(random.Random(f"{self.seed}/{moment}/{process}").getrandbits(63))
        self._model.train()
        if self._replayed is None:
            loss = self._forward(inputs)
            self._accelerator.backward(loss)
        else:
            loss, gradients = self._replayed(self._differentiate, inputs)
            for parameter, gradient in zip(self._model.parameters(), gradients, strict=True):
                parameter.grad = gradient
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss.detach().clone()

    def _forward(self, inputs: Inputs) -> Tensor:
        """Return the loss."""
        with self._autocast():
            logits = self._model(inputs.speech, inputs.text, inputs.text_mask)
        return self._loss(logits.float(), inputs.labels)

    def _differentiate(self, inputs: Inputs) -> tuple[Tensor, Gradients]:
        """Return the loss and the gradients of all parameters; None for parameters that the loss does not depend on."""
        loss = self._forward(inputs)
        return loss.detach(), torch.autograd.grad(loss, list(self._model.parameters()), allow_unused=True)

    def check(self, losses: Mapping[str, float], *, epoch: int) -> None:
        """Check that the loss has not diverged.

        Raises:
            UserError: The loss is not finite.
        """
        loss = losses[self.name]
        if not loss < float("inf"):
            hint = "Begin a new run with a lower --learning-rate, in --precision float32, or without this mixer."
            raise UserError(f"the loss of {self.name} is {loss} in epoch {epoch + 1}", hint=hint)

    @torch.no_grad()
    def predict(self, speech: Float[Tensor, "B *Z M D"], text: Float[Tensor, "B N D"] | None) -> Float[Tensor, "B C"]:
        """Return the probability of each class, in float32."""
        self.model.eval()
        with self._autocast():
            logits: Tensor = self.model(speech, text)
        return logits.float().softmax(-1)

    def record_score(self, score: float, *, epoch: int) -> bool:
        """Record a macro-F on the development set; halve the learning rate after `PATIENCE` epochs without a better.

        Returns:
            Whether the score is the best so far.
        """
        progress = self.progress
        if score > progress.best:
            self.progress = Progress(best=score, best_epoch=epoch)
            return True
        progress.waited += 1
        if progress.waited == PATIENCE:
            progress.waited = 0
            for group in self._optimizer.param_groups:
                group["lr"] /= 2
        return False

    def save_model(self, path: Path) -> None:
        """Write only the weights.

        Raises:
            OSError: They cannot be written; an older file is kept.
        """
        weights = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        write_atomically(path, safetensors.torch.save(weights))

    def save(self, folder: Path) -> None:
        """Write everything that resuming needs.

        Raises:
            OSError: It cannot be written.
        """
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{key}": state[key] for key in _ADAMW_STATE}
        content = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        write_atomically(folder / f"{self.name}.safetensors", safetensors.torch.save(content))
        progress = {"learning_rate": self.learning_rate, **vars(self.progress)}
        write_atomically(folder / f"{self.name}.json", json.dumps(progress).encode())

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote.

        Raises:
            UserError: It is damaged or of another model.
        """
        tensors = read_tensors(folder / f"{self.name}.safetensors")
        try:
            fields: dict[str, Any] = json.loads((folder / f"{self.name}.json").read_text())
            rate = float(fields.pop("learning_rate"))
            self.progress = Progress(**fields)
            self.model.load_state_dict(
                {key.removeprefix("model/"): value for key, value in tensors.items() if key.startswith("model/")}
            )
            states: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith("optimizer/"):
                    _, index, name = key.split("/")
                    states.setdefault(int(index), {})[name] = value
            groups = self._optimizer.state_dict()["param_groups"]
            self._optimizer.load_state_dict({"state": states, "param_groups": groups})
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = next(iter(str(error).splitlines()), "")
            raise UserError(
                f"{folder} cannot be resumed from: {reason}", hint="Restore the folder, or begin a new run."
            ) from None
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def _loss(self, logits: Float[Tensor, "B C"], labels: Int[Tensor, " B"]) -> Tensor:
        """Return this process's share of the class-weighted mean over the utterances of all processes.

        Gradients are averaged over processes, so the share is multiplied by their number.
        """
        total = F.cross_entropy(logits, labels, weight=self._weights, reduction="sum")
        weight = torch.ones_like(labels, dtype=logits.dtype) if self._weights is None else self._weights[labels]
        total_weight: Tensor = self._accelerator.reduce(weight.sum(), reduction="sum")
        share: Tensor = total * self._accelerator.num_processes / total_weight
        return share


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        UserError: It is missing or damaged.
    """
    try:
        return safetensors.torch.load(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", hint="Is this the folder of a run?") from None
    except safetensors.SafetensorError:
        raise UserError(f"{path} is damaged", hint="It may have been truncated by a copy.") from None
