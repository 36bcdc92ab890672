"""The flow of a training, from top to bottom. Each function trains and yields events as they happen."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from bench.accuracy import run as runs
from bench.accuracy.corpora.base import DEVELOPMENT, TRAIN, Corpus, ordered_splits
from bench.accuracy.corpora.reference import parse_reference
from bench.accuracy.evaluation.metrics import not_learned, without_utterance
from bench.accuracy.evaluation.overlap import counted, describe, separate
from bench.accuracy.evaluation.writing import check_replaceable
from bench.accuracy.inputs.features import Encoders, open_encoders
from bench.accuracy.progress import epochs_done
from bench.accuracy.run import Direction, Run
from bench.accuracy.training.checkpoints import BEGINNING, last_place
from bench.accuracy.training.compiling import compiling_ahead
from bench.accuracy.training.computing import Resources, choose_precision, share_folder
from bench.accuracy.training.demonstration import prepare_demonstration
from bench.accuracy.training.events import Event, Finished, Noted, Preparing, Started
from bench.accuracy.training.loop import Training
from bench.accuracy.training.setup import Request, prepare, reopen
from bench.accuracy.training.tensorboard import tensorboard
from bench.files import check_new
from bench.locking import writing
from bench.speech import frames_of, samples_of
from mixers.autotuning import compiling_side_by_side
from mixers.support.errors import UserError

_USUAL_SECONDS = 5.0  # of a whole recording, for compiling: kernels hardly depend on it


def train(
    request: Request, folder: Path, *, precision: str | None, resources: Resources, splits: Sequence[str] = ()
) -> Iterator[Event]:
    """Train a new run.

    Args:
        request: What to train.
        folder: A new folder for the run.
        precision: ``bfloat16`` or ``float32``; None for the default of the device.
        resources: What to use of the machine.
        splits: Splits that are to be scored in the end, which the corpus must have and keep apart from training.

    Raises:
        UserError: The request cannot be met, a split is missing, the folder exists, or training fails as in `Training`.
    """
    accelerator = resources.accelerator
    precision = choose_precision(precision, device=accelerator.device.type)
    folder = _new_folder(folder, resources)
    yield Preparing(task="Reading the corpus and loading the encoders")
    run, corpus, encoders = prepare(request, splits=splits, precision=precision, device=str(accelerator.device))
    _refuse_shared(corpus, splits)
    yield from _shared_speakers(corpus)
    if missing := without_utterance(corpus.classes, corpus.split(TRAIN)):
        yield Noted(line=not_learned(missing))
    if not run.demo:  # which scores all splits
        yield from _unused(corpus, splits)
    if accelerator.is_main_process:
        runs.start(run, folder)
    with _locked(folder, resources):
        accelerator.wait_for_everyone()
        yield from _train(run, folder, corpus, encoders, resources=resources)


def train_demonstration(
    folder: Path,
    mixers: Sequence[str],
    *,
    seeds: int,
    direction: Direction,
    precision: str | None,
    resources: Resources,
) -> Iterator[Event]:
    """Train a new run on a synthetic corpus with small encoders, which are written beside its folder.

    Args:
        folder: A new folder for the run.
        mixers: With or without implementations.
        seeds: The number of seeds for each mixer.
        direction: Which frames a frame may see.
        precision: As in `train`.
        resources: As in `train`.

    Raises:
        UserError: As in `train`.
    """
    accelerator = resources.accelerator
    precision = choose_precision(precision, device=accelerator.device.type)
    folder = _new_folder(folder, resources)
    yield Preparing(task="Making a corpus and encoders")
    request = prepare_demonstration(
        folder,
        mixers=mixers,
        seeds=seeds,
        direction=direction,
        device=accelerator.device.type,
        write=accelerator.is_main_process,
    )
    accelerator.wait_for_everyone()
    yield from train(request, folder, precision=precision, resources=resources)


def resume(folder: Path, *, resources: Resources, splits: Sequence[str] = ()) -> Iterator[Event]:
    """Continue an interrupted run.

    Args:
        folder: The run's.
        resources: As in `train`.
        splits: As in `train`.

    Raises:
        UserError: The folder is no run, another process trains in it, its corpus has changed, or training fails as in
            `Training`.
    """
    yield Preparing(task="Reading the corpus")
    with _locked(folder, resources):
        run, corpus = reopen(folder, device=resources.accelerator.device.type)
        yield from _begins_anew(folder)
        for split in splits:
            corpus.split(split)
            check_replaceable(corpus, split, classes=run.classes, folder=folder)
        _refuse_shared(corpus, splits)
        yield from _train(run, folder, corpus, None, resources=resources)


def _begins_anew(folder: Path) -> Iterator[Noted]:
    """Yield that a run has no checkpoint to continue from, if so."""
    if last_place(folder) == BEGINNING:
        done = epochs_done(folder)
        lost = f", and {counted(done, 'complete epoch')} will be trained again" if done else ""
        yield Noted(line=f"{folder} has no checkpoint yet, so its training begins anew{lost}")


def _refuse_shared(corpus: Corpus, splits: Sequence[str]) -> None:
    """Refuse splits that share speakers or recordings with training, and so could not be scored in the end.

    Raises:
        UserError: One does, and the corpus is not named with ``+shared``, which accepts it.
    """
    if parse_reference(corpus.spec).shared:
        return
    try:
        separate(corpus, splits, learned=corpus, treatment="refuse")
    except UserError as error:
        hint = "Leave it out of --evaluate. `sbench evaluate --overlap leave-out` can score what was not heard."
        raise UserError(str(error), hint=hint) from None


def _shared_speakers(corpus: Corpus) -> Iterator[Noted]:
    """Yield which splits share speakers or recordings with those that are learned from."""
    _, found = separate(corpus, corpus.splits, learned=corpus, treatment="accept")
    for split, overlap in found.items():
        if overlap.utterances:
            line = f"{split} shares {describe(overlap)} with training: {counted(overlap.utterances, 'utterance')}"
            yield Noted(line=f"{line}. `sbench corpus` lists them.")


def _unused(corpus: Corpus, splits: Sequence[str]) -> Iterator[Noted]:
    """Yield how many utterances are in splits that are neither learned from nor scored in the end."""
    counts = Counter(each.split for each in corpus.utterances if each.split not in (TRAIN, DEVELOPMENT, *splits))
    if counts:
        rest = ", ".join(f"{counted(counts[split], 'utterance')} of {split}" for split in ordered_splits(counts))
        yield Noted(line=f"not used by this training: {rest}. `sbench evaluate` scores them.")


def _new_folder(folder: Path, resources: Resources) -> Path:
    """Return the folder that all processes use, after checking that it is new."""
    folder = share_folder(folder, resources.accelerator)
    if resources.accelerator.is_main_process:
        check_new(folder, resumable_with=runs.RUN_FILE)
    return folder


def _locked(folder: Path, resources: Resources) -> AbstractContextManager[None]:
    """Keep other trainings out of a folder; the main process does so for all."""
    return writing(folder) if resources.accelerator.is_main_process else nullcontext()


def _train(
    run: Run, folder: Path, corpus: Corpus, encoders: Encoders | None, *, resources: Resources
) -> Iterator[Event]:
    """Compile, build the models and train; ``encoders`` are loaded if they are None."""
    accelerator = resources.accelerator
    # A run that is resumed, whose encoders are not loaded yet, finds its kernels where it left them.
    frames = encoders[0].frames if encoders else frames_of
    ahead = compiling_ahead(
        [config for config, _ in run.models()] if accelerator.is_local_main_process else [],
        precisions=[run.precision],
        products=run.precision,
        batch=run.batch,
        frames=frames(samples_of(run.crop_seconds or _USUAL_SECONDS)),
        text=run.text is not None,
        whole=run.crop_seconds is None,
        device=accelerator.device,
    )
    yield Preparing(task="Compiling" if encoders else "Loading the encoders and compiling")
    with ahead:
        speech, text = encoders or open_encoders(run, device=str(accelerator.device))
    accelerator.wait_for_everyone()
    yield Preparing(task="Building the models")
    training = Training(
        run,
        folder,
        corpus,
        speech=speech,
        text=text,
        accelerator=accelerator,
        workers=resources.workers,
        checkpoint_steps=resources.checkpoint_steps,
    )
    yield Started(done_steps=training.done_steps, total_steps=training.total_steps)
    log = tensorboard(folder / "tensorboard", first_step=training.done_steps, enabled=accelerator.is_main_process)
    with log as write, compiling_side_by_side(settling=True):
        for event in training.train():
            write(event)
            yield event
    yield Finished(run=run, folder=folder, corpus=corpus)
