"""A learner: a mixer's classifier with one seed, its optimiser and its learning rate.

Many learners share a batch but are independent. Their random draws depend only on their own seed and step. So the other
learners do not change the result, and neither does an interruption.
"""

import json
import random
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from bench.accuracy.inputs.feed import Inputs
from bench.accuracy.run import ModelConfig
from bench.accuracy.training.model import build
from bench.accuracy.training.replay import Replayed
from bench.files import write_atomically
from mixers.support.errors import UserError

WEIGHT_DECAY = 0.01
PATIENCE = 5  # epochs without a better score until the learning rate is halved

BEST_FILE = "best.safetensors"  # in a learner's folder: the weights with the best score

_COPY = "It may have been cut off by a copy: copy the whole folder of the run again."

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
        device: torch.device,
    ) -> None:
        """Build it with seeded weights.

        Args:
            config: The configuration of the classifier.
            seed: Seed of the weights and of the dropout.
            learning_rate: At the beginning.
            precision: ``bfloat16`` (bfloat16 products, float32 weights) or ``float32``.
            class_weights: The weights of the classes in the loss; None for equal weights.
            device: Where it computes.
        """
        self.name = f"{config.mixer}-{seed}"
        self.config = config
        self.seed = seed
        self.progress = Progress()
        self._autocast = partial(torch.autocast, device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
        self._weights = None if class_weights is None else class_weights.to(device)
        self.model = build(config, seed=seed).to(device)
        self._rate = learning_rate
        on_gpu = device.type == "cuda"
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=torch.tensor(learning_rate, device=device) if on_gpu else learning_rate,  # a graph reads it there
            weight_decay=WEIGHT_DECAY,
            fused=on_gpu,
            capturable=on_gpu,
        )
        self._replayed = Replayed(self.name, self.model, self._differentiate, self._update) if on_gpu else None

    @property
    def learning_rate(self) -> float:
        """The current learning rate."""
        return self._rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._rate = rate
        for group in self._optimizer.param_groups:
            if torch.is_tensor(group["lr"]):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def step(self, inputs: Inputs, *, moment: str) -> Tensor:
        """Take one optimiser step and return the loss before it.

        Args:
            inputs: Features and labels.
            moment: The name of the step. Dropout depends only on it and the seed.
        """
        torch.manual_seed(random.Random(f"{self.seed}/{moment}").getrandbits(63))
        if not self.model.training:
            self.model.train()
        if self._replayed is not None:
            return self._replayed(inputs).clone()
        loss = self._differentiate(inputs)
        self._update()
        return loss

    def _forward(self, inputs: Inputs) -> Float[Tensor, "B C"]:
        """Return the logits, in float32."""
        with self._autocast():
            logits: Tensor = self.model(inputs.speech, inputs.text, inputs.text_mask, inputs.speech_mask)
        return logits.float()

    def _differentiate(self, inputs: Inputs) -> Tensor:
        """Set the gradients of all parameters that the loss depends on, and return the loss."""
        loss = F.cross_entropy(self._forward(inputs), inputs.labels, weight=self._weights)  # a weighted mean
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _update(self) -> None:
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def predict(self, inputs: Inputs) -> Float[Tensor, "B C"]:
        """Return the probability of each class, in float32."""
        self.model.eval()
        return self._forward(inputs).softmax(-1)

    def record_score(self, score: float, *, epoch: int, halve: bool) -> bool:
        """Record a macro-F on the development set.

        Args:
            score: The macro-F.
            epoch: After which epoch, from 0.
            halve: Whether to halve the learning rate after `PATIENCE` epochs without a better score.

        Returns:
            Whether the score is the best so far.
        """
        progress = self.progress
        if score > progress.best:
            self.progress = Progress(best=score, best_epoch=epoch)
            return True
        progress.waited += 1
        if halve and progress.waited == PATIENCE:
            progress.waited = 0
            self.learning_rate /= 2
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
            fields = json.loads((folder / f"{self.name}.json").read_bytes())
            rate = float(fields["learning_rate"])
            self.progress = Progress(
                best=float(fields["best"]), best_epoch=int(fields["best_epoch"]), waited=int(fields["waited"])
            )
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
            words = {KeyError: f"its {self.name}.json lacks {error}", RuntimeError: f"{self.name} is another model"}
            reason = words.get(type(error), str(error))
            raise UserError(f"{folder} cannot be resumed from: {reason}", hint=_COPY) from None
        self.learning_rate = rate


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        UserError: It is missing or damaged.
    """
    try:
        return safetensors.torch.load(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", hint=_COPY) from None
    except safetensors.SafetensorError as error:
        reason = next(iter(str(error).splitlines()), "")
        raise UserError(f"{path} is damaged: {reason}", hint=_COPY) from None
