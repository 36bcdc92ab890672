"""One row of the table in the making: a mixer with one seed, its optimiser and its learning rate.

Many learn from the same batch, each by itself: what one draws at random depends on its own seed and step alone, so it
learns the same whoever learns beside it, and after an interruption as without one.
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
PATIENCE = 5  # epochs without a better score, after which the learning rate is halved

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # what AdamW keeps for each parameter


@dataclass(kw_only=True)
class Progress:
    """What a learner has come to; it changes with every evaluation.

    Attributes:
        best: The highest macro-F on the development set so far; below 0 before the first.
        best_epoch: When that was, from 0.
        waited: Epochs without a better score since the learning rate was last halved or the score last better.
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
            config: Of the classifier.
            seed: Of its weights and of what it draws while it learns.
            learning_rate: At the beginning.
            precision: ``bfloat16``: products in it, weights in float32; or ``float32``.
            class_weights: Of the loss; None for equal ones.
            accelerator: Spreads the work over its processes.
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
        on_gpu = accelerator.device.type == "cuda"  # where it saves the host hundreds of launches a step
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY, fused=on_gpu)
        self._model, self._optimizer = accelerator.prepare(model, optimizer)
        alone = accelerator.num_processes == 1  # else gradients are averaged as the backward pass makes them
        self._replayed = Replayed(self.name) if on_gpu and alone else None

    @property
    def model(self) -> EmotionModel:
        """The classifier itself, whatever was wrapped around it."""
        model: EmotionModel = self._accelerator.unwrap_model(self._model)
        return model

    @property
    def learning_rate(self) -> float:
        """The one in force."""
        return float(self._optimizer.param_groups[0]["lr"])

    def step(self, inputs: Inputs, *, moment: str) -> Tensor:
        """Take one step down the gradient and return the loss before it.

        Args:
            inputs: Features and labels, of which each process has its share.
            moment: Names the step, with the seed all that dropout depends on.

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
        """Return the loss, and the gradients of all parameters; None of those that have no part in it."""
        loss = self._forward(inputs)
        return loss.detach(), torch.autograd.grad(loss, list(self._model.parameters()), allow_unused=True)

    def check(self, losses: Mapping[str, float], *, epoch: int) -> None:
        """Refuse to go on where the loss has diverged.

        Raises:
            UserError: It is not finite.
        """
        loss = losses[self.name]
        if not loss < float("inf"):
            hint = "Begin a new run with a lower --learning-rate, in --precision float32, or without it."
            raise UserError(f"the loss of {self.name} is {loss} in epoch {epoch + 1}", hint=hint)

    @torch.no_grad()
    def predict(self, speech: Float[Tensor, "B *Z M D"], text: Float[Tensor, "B N D"] | None) -> Float[Tensor, "B C"]:
        """Return the probability of each class, in float32."""
        self.model.eval()
        with self._autocast():
            logits: Tensor = self.model(speech, text)
        return logits.float().softmax(-1)

    def judge(self, score: float, *, epoch: int) -> bool:
        """Take note of a macro-F on the development set; halve the learning rate where none was better for long.

        Returns:
            Whether it is the best so far.
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
        """Write the weights alone.

        Raises:
            OSError: They cannot be written; an older file stays.
        """
        weights = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        write_atomically(path, safetensors.torch.save(weights))

    def save(self, folder: Path) -> None:
        """Write all that going on needs.

        Raises:
            OSError: It cannot be written.
        """
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        for index, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{key}": state[key] for key in _MOMENTS}
        content = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        write_atomically(folder / f"{self.name}.safetensors", safetensors.torch.save(content))
        progress = {"learning_rate": self.learning_rate, **vars(self.progress)}
        write_atomically(folder / f"{self.name}.json", json.dumps(progress).encode())

    def load(self, folder: Path) -> None:
        """Go on from what `save` wrote.

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
            whole = self._optimizer.state_dict()
            self._optimizer.load_state_dict({"state": states, "param_groups": whole["param_groups"]})
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = next(iter(str(error).splitlines()), "")
            raise UserError(
                f"{folder} cannot be gone on from: {reason}", hint="Begin a new run, or mend the folder."
            ) from None
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def _loss(self, logits: Float[Tensor, "B C"], labels: Int[Tensor, " B"]) -> Tensor:
        """Return the mean over the utterances of all processes, weighted by class, of which this has its share.

        Gradients are averaged over processes, which is why its share is multiplied by their number.
        """
        total = F.cross_entropy(logits, labels, weight=self._weights, reduction="sum")
        weight = torch.ones_like(labels, dtype=logits.dtype) if self._weights is None else self._weights[labels]
        everyones: Tensor = self._accelerator.reduce(weight.sum(), reduction="sum")
        share: Tensor = total * self._accelerator.num_processes / everyones
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
        raise UserError(f"{path} is damaged", hint="It may have been cut while it was copied.") from None
