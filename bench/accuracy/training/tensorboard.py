"""Writes losses and scores for TensorBoard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.accuracy.training.events import Scored, Stepped

Write = Callable[[Stepped | Scored], None]


@contextmanager
def tensorboard(folder: Path, *, first_step: int, enabled: bool) -> Iterator[Write]:
    """Return a function that writes an event.

    Args:
        folder: The folder of the log.
        first_step: What an interrupted run logged after this step is discarded.
        enabled: False in all processes but one, where the function does nothing.
    """
    if not enabled:
        yield lambda _: None
        return
    from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

    writer = SummaryWriter(str(folder), purge_step=first_step)

    def write(event: Stepped | Scored) -> None:
        if isinstance(event, Stepped):
            figures = {f"loss/{name}": loss for name, loss in event.losses.items()}
        else:
            figures = {f"development macro-F/{name}": score for name, score in event.scores.items()}
        for name, value in figures.items():
            writer.add_scalar(name, value, event.done_steps)

    try:
        yield write
    finally:
        writer.close()
