"""The demonstration: a synthetic corpus, small random encoders and a short schedule."""

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError

from bench.accuracy.corpora.demo import write_demo_corpus
from bench.accuracy.inputs.random_encoders import WIDTH, write_speech_encoder, write_text_encoder
from bench.accuracy.parts import DEFAULT_LAYER
from bench.accuracy.run import Direction
from bench.accuracy.training.implementations import check_mixers
from bench.accuracy.training.setup import Request
from bench.files import whole
from mixers.support.errors import UserError


def prepare_demonstration(
    folder: Path, *, mixers: Sequence[str], seeds: int, direction: Direction, device: str, write: bool
) -> Request:
    """Write a synthetic corpus and small encoders, and return the request to train on them.

    Args:
        folder: The run's; corpus and encoders go beside it.
        mixers: With or without implementations.
        seeds: The number of seeds for each mixer.
        direction: Which frames a frame may see.
        device: ``cuda`` or ``cpu``.
        write: Whether to write them; exactly one of several processes must.

    Raises:
        UserError: They exist already or cannot be written, or a mixer cannot be trained here.
    """
    check_mixers(mixers, "matched", direction, device=device, width=WIDTH)
    materials = folder.with_name(f"{folder.name}-materials")
    if write:
        _write_materials(materials)
    return Request(
        corpus=f"msp-podcast:{materials / 'corpus'}",
        speech=str(materials / "speech"),
        text=str(materials / "text"),
        mixers=tuple(mixers),
        seeds=seeds,
        preset="matched",
        direction=direction,
        layer=DEFAULT_LAYER,
        epochs=8,
        batch=16,
        learning_rate=5e-4,
        schedule="plateau",
        crop_seconds=2.0,
        data_seed=0,
        shared_data=False,
        missing_text="error",
        demo=True,
    )


def _write_materials(materials: Path) -> None:
    """Write corpus and encoders, all or nothing."""
    if materials.exists():
        raise UserError(f"the folder {materials} exists", hint="Give another --output.")
    try:
        with whole(materials) as partial:
            write_speech_encoder(partial / "speech", seed=0)
            write_text_encoder(partial / "text", seed=0)
            write_demo_corpus(partial / "corpus", utterances=480, speakers=24, seed=0)
    except (OSError, SafetensorError, UserError) as error:
        reason = getattr(error, "strerror", None) or str(error).replace(str(partial), str(materials))
        raise UserError(f"{materials} cannot be written: {reason}", hint="Give another --output.") from None
